package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/notify"
	"github.com/ringfence/ringfence/appliance/watch"
)

// post is the notifier with what it is told by the settings in force, and the
// secrets that no document holds.
type post struct {
	box      *control.Control
	notifier *notify.Notifier
	keep     watch.Keeper
	report   func(appliance.Event)
	now      func() time.Time
	log      *slog.Logger
	changed  chan struct{} // a secret has

	mu      sync.Mutex
	secrets map[string]string
}

const keptSecrets = "secrets"

// secretNames are the secrets that there can be.
var secretNames = map[string]bool{"mail": true, "webhook": true}

// newPost opens the outbox. What the settings say of channels is in force from run
// on.
func newPost(box *control.Control, outbox notify.Spool, keep watch.Keeper, report func(appliance.Event), e env, log *slog.Logger) (*post, error) {
	notifier, err := notify.New(notify.Config{}, outbox, report, e.now)
	if err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	p := &post{box: box, notifier: notifier, keep: keep, report: report, now: e.now, log: log, changed: make(chan struct{}, 1), secrets: make(map[string]string)}
	_, err = keep.Kept(keptSecrets, func(data []byte) error { return json.Unmarshal(data, &p.secrets) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("read secrets", "err", err) // mail then goes nowhere, and says so
	}
	p.configure(box.State())
	return p, nil
}

// run delivers until ctx ends, and follows the settings.
func (p *post) run(ctx context.Context) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { p.follow(ctx) })
	return p.notifier.Run(ctx)
}

func (p *post) follow(ctx context.Context) {
	for {
		state := p.box.State()
		p.configure(state)
		select {
		case <-ctx.Done():
			return
		case <-state.Superseded:
		case <-p.changed:
		}
	}
}

// configure puts the channels of a state in force. One that lacks its secret is
// told of: the notices wait for it.
func (p *post) configure(state *control.State) {
	if err := p.notifier.Configure(p.channels(state)); err != nil {
		p.log.Error("notices", "err", err)
		p.report(appliance.Event{Time: p.now(), Kind: appliance.EventDaemon, Subject: "notices", Message: err.Error()})
	}
}

func (p *post) channels(state *control.State) (config notify.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := state.Settings.Notify
	if told.Mail.Server != "" {
		host, port, _ := net.SplitHostPort(told.Mail.Server) // the settings were checked
		number, _ := strconv.Atoi(port)
		config.Mail = &notify.Mail{
			Host: host, Port: number, Implicit: told.Mail.Implicit, User: told.Mail.User, Password: p.secrets["mail"],
			From: told.Mail.From, To: told.Mail.To,
		}
		if told.Mail.User == "" {
			config.Mail.Password = ""
		}
	}
	if told.Webhook != "" {
		config.Webhook = &notify.Webhook{URL: told.Webhook, Secret: []byte(p.secrets["webhook"])}
	}
	if told.Syslog != "" {
		config.Syslog = &notify.Syslog{Address: told.Syslog}
	}
	return config
}

// Add implements watch.Messenger.
func (p *post) Add(n appliance.Notice) error { return p.notifier.Add(n) }

// Waiting implements watch.Messenger.
func (p *post) Waiting() map[string]int {
	out := make(map[string]int)
	for channel, count := range p.notifier.Waiting() {
		out[string(channel)] = count
	}
	return out
}

// SetSecret implements watch.Messenger.
func (p *post) SetSecret(name, value string) error {
	if !secretNames[name] {
		return &appliance.Error{Code: appliance.CodeNotFound, Field: "name", Message: "want mail or webhook"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next := maps.Clone(p.secrets)
	next[name] = value
	data, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("keep secret: %w", err)
	}
	if err := p.keep.Keep(keptSecrets, data); err != nil {
		return fmt.Errorf("keep secret: %w", err)
	}
	p.secrets = next
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return nil
}
