// Package notify tells people: by mail, by a signed webhook and by syslog over
// TLS. What is to be told lies in an outbox that survives a restart until it was
// delivered or is two days old; a channel that hangs holds up no other.
//
// The package is a hand: it is told what to say by whoever has it, and knows
// nothing of calls.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Config says where notices go. A channel that is nil is none.
type Config struct {
	Mail    *Mail
	Webhook *Webhook
	Syslog  *Syslog
}

// Spool keeps the outbox over a restart. Names are file names.
type Spool interface {
	// Put writes one item, whole or not at all.
	Put(name string, data []byte) error
	// All returns every item by name.
	All() (map[string][]byte, error)
	// Drop removes one; that there is none is no error.
	Drop(name string) error
}

// Channel names a way to people: "mail", "webhook" or "syslog".
type Channel string

// The channels.
const (
	ByMail    Channel = "mail"
	ByWebhook Channel = "webhook"
	BySyslog  Channel = "syslog"
)

// sender delivers one notice, or says why not.
type sender interface {
	send(context.Context, appliance.Notice) error
}

// Notifier is the outbox with its channels. Build one with New; it delivers while
// Run runs.
type Notifier struct {
	spool  Spool
	report func(appliance.Event)
	now    func() time.Time
	queues map[Channel]*queue

	mu      sync.Mutex
	senders map[Channel]sender
}

// New reads the outbox. report hears of notices that could not be delivered, and
// must not block.
func New(config Config, spool Spool, report func(appliance.Event), now func() time.Time) (*Notifier, error) {
	n := &Notifier{spool: spool, report: report, now: now, queues: make(map[Channel]*queue)}
	for _, channel := range [...]Channel{ByMail, ByWebhook, BySyslog} {
		n.queues[channel] = newQueue()
	}
	if err := n.Configure(config); err != nil {
		return nil, err
	}
	return n, n.load()
}

// Configure puts other channels in force for everything that is not delivered yet.
// A channel that can't work as it is told is in force all the same: notices wait
// for it to be mended, and the error says what is wrong. What waits for a channel
// that is gone waits on.
func (n *Notifier) Configure(config Config) error {
	senders := make(map[Channel]sender)
	var mistakes []error
	set := func(channel Channel, one sender, err error) {
		if err != nil {
			err = fmt.Errorf("configure %s: %w", channel, err)
			mistakes = append(mistakes, err)
			one = broken{err}
		}
		senders[channel] = one
	}
	if config.Mail != nil {
		set(ByMail, *config.Mail, config.Mail.check())
	}
	if config.Webhook != nil {
		hook, err := newHook(*config.Webhook)
		set(ByWebhook, hook, err)
	}
	if config.Syslog != nil {
		log, err := newCollector(*config.Syslog)
		set(BySyslog, log, err)
	}
	n.mu.Lock()
	n.senders = senders
	n.mu.Unlock()
	for _, q := range n.queues {
		q.again(n.now())
	}
	return errors.Join(mistakes...)
}

// broken is a channel that was told nonsense.
type broken struct{ why error }

func (b broken) send(context.Context, appliance.Notice) error { return b.why }

// Add puts a notice into the outbox of every channel there is. It returns nil once
// the notice would survive a power cut. With an error it is delivered all the same,
// if the power stays on.
func (n *Notifier) Add(notice appliance.Notice) error {
	n.mu.Lock()
	channels := make([]Channel, 0, len(n.senders))
	for channel := range n.senders {
		channels = append(channels, channel)
	}
	n.mu.Unlock()
	var failed error
	for _, channel := range channels {
		one := item{Notice: notice, Channel: channel, Added: n.now()}
		if err := n.spool.Put(one.name(), one.encode()); err != nil {
			failed = fmt.Errorf("keep notice %s: %w", notice.ID, err)
		}
		if old := n.queues[channel].add(one); old != nil {
			n.lose(*old, "the outbox is full")
		}
	}
	return failed
}

// Waiting returns how many notices each channel still has to deliver.
func (n *Notifier) Waiting() map[Channel]int {
	waiting := make(map[Channel]int)
	for channel, q := range n.queues {
		if count := q.len(); count > 0 {
			waiting[channel] = count
		}
	}
	return waiting
}

// Run delivers until ctx ends.
func (n *Notifier) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	for channel, q := range n.queues {
		tasks.Go(func() { n.deliver(ctx, channel, q) })
	}
	tasks.Wait()
	return nil
}

// attempt bounds one delivery.
const attempt = 45 * time.Second

// deliver empties one queue, an item at a time, the one that is due first.
func (n *Notifier) deliver(ctx context.Context, channel Channel, q *queue) {
	for {
		one, wait := q.due(n.now())
		if one == nil || n.sender(channel) == nil {
			if !q.sleep(ctx, wait) {
				return
			}
			continue
		}
		within, cancel := context.WithTimeout(ctx, attempt)
		err := n.sender(channel).send(within, one.Notice)
		cancel()
		if ctx.Err() != nil {
			return
		}
		n.settle(q, one, err)
	}
}

func (n *Notifier) sender(channel Channel) sender {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.senders[channel]
}

// settle takes a delivered item out of the outbox, or puts it off.
func (n *Notifier) settle(q *queue, one *item, err error) {
	switch {
	case err == nil:
		q.remove(one)
		n.drop(*one)
	case n.now().Sub(one.Added) > patience:
		q.remove(one)
		n.lose(*one, err.Error())
	default:
		slog.Warn("notice not delivered yet", "channel", one.Channel, "notice", one.Notice.ID, "cause", err)
		q.putOff(one, n.now())
	}
}

func (n *Notifier) drop(one item) {
	if err := n.spool.Drop(one.name()); err != nil {
		slog.Warn("delivered notice stays in the outbox", "notice", one.Notice.ID, "cause", err)
	}
}

// lose gives a notice up, and says so.
func (n *Notifier) lose(one item, why string) {
	n.drop(one)
	n.report(appliance.Event{
		Time: n.now(), Kind: appliance.EventDaemon, Subject: string(one.Channel),
		Message: fmt.Sprintf("the notice %q was not delivered: %s", one.Notice.Title, why),
	})
}

// load fills the queues from the outbox. What can't be read is dropped, and said.
func (n *Notifier) load() error {
	all, err := n.spool.All()
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	for name, data := range all {
		one, err := decodeItem(data)
		if err != nil || one.name() != name || n.queues[one.Channel] == nil {
			slog.Warn("outbox item dropped", "name", name, "cause", err)
			_ = n.spool.Drop(name)
			continue
		}
		n.queues[one.Channel].add(one)
	}
	return nil
}
