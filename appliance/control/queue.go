package control

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// Bounds of what the network can make us keep.
const (
	queueLength       = 8192 // events that wait for the disk
	batchLength       = 2048 // records in one transaction
	refusalsPerSecond = 20   // in the journal; calls are bounded by the inspector
	maxText           = 512  // bytes of one text field of a record
	ellipsis          = "…"
)

// groupTime is how long the first event of a group waits for others, so that one
// transaction pays for all of them. It is what a kill may cost; nobody who asks
// ever waits for it or misses it, since every reader writes first what waits (see
// settled).
const groupTime = 250 * time.Millisecond

// Queue takes what the hands report. It is made before them, since they report
// from their first moment on.
type Queue struct {
	mu     sync.Mutex
	events []appliance.Event // in order of arrival
	wake   chan struct{}     // holds one while events has any
	full   chan struct{}     // holds one while events is half full

	lost       atomic.Uint64 // the queue was full
	suppressed atomic.Uint64 // refusals above the rate
	unwritten  atomic.Uint64 // the disk said no
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{wake: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// Report takes an event, never blocking. One that finds the queue full is
// counted and lost.
func (q *Queue) Report(event appliance.Event) {
	q.mu.Lock()
	waiting := len(q.events)
	if waiting == queueLength {
		q.mu.Unlock()
		q.lost.Add(1)
		return
	}
	q.events = append(q.events, event)
	q.mu.Unlock()
	switch waiting {
	case 0:
		signal(q.wake)
	case queueLength / 2:
		signal(q.full)
	}
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// take moves everything that waits into an empty slice, whose memory becomes the
// queue's.
func (q *Queue) take(into []appliance.Event) []appliance.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.events
	q.events = into[:0]
	return taken
}

// writing is the way from the queue to the records: one writer at a time.
type writing struct {
	mu    sync.Mutex
	spare []appliance.Event // what the queue fills next
	rate  refusalRate
}

// settled are records that never lag behind what was reported: to read them is
// to write first what waits.
type settled struct {
	Records
	flush func()
}

// Calls implements Records.
func (s settled) Calls(ctx context.Context, filter appliance.CallFilter) ([]appliance.Call, error) {
	s.flush()
	return s.Records.Calls(ctx, filter)
}

// Events implements Records.
func (s settled) Events(ctx context.Context, filter appliance.EventFilter) ([]appliance.Entry, error) {
	s.flush()
	return s.Records.Events(ctx, filter)
}

// Run writes what is reported to the records until ctx ends, in groups. It is a
// task: it returns nil at the end and never before.
func (c *Control) Run(ctx context.Context) error {
	group := time.NewTimer(groupTime)
	defer group.Stop()
	for {
		select {
		case <-c.queue.wake:
		case <-ctx.Done():
			return nil
		}
		group.Reset(groupTime)
		select {
		case <-group.C:
		case <-c.queue.full:
		case <-ctx.Done():
			return nil
		}
		c.Flush()
	}
}

// Flush writes what waits. Once it has returned, whatever was reported before it
// was called is in the records, or counted as unwritten.
func (c *Control) Flush() {
	c.writing.mu.Lock()
	defer c.writing.mu.Unlock()
	events := c.queue.take(c.writing.spare)
	for rest := events; len(rest) > 0; {
		some := rest[:min(len(rest), batchLength)]
		rest = rest[len(some):]
		c.write(c.gather(some))
	}
	clear(events) // it must not keep the texts alive
	c.writing.spare = events
}

// batch is one transaction: the latest report of each call, and events.
type batch struct {
	calls  []appliance.Call
	events []appliance.Event
}

// gather sorts events into a batch.
func (c *Control) gather(events []appliance.Event) batch {
	b := batch{calls: make([]appliance.Call, 0, len(events))}
	at := make(map[string]int, len(events)) // where in calls each ID is
	for _, event := range events {
		if event.Call == nil {
			c.sort(&b, event)
			continue
		}
		call := clipCall(*event.Call)
		if n, known := at[call.ID]; known {
			b.calls[n] = call
			continue
		}
		at[call.ID] = len(b.calls)
		b.calls = append(b.calls, call)
	}
	return b
}

func (c *Control) sort(b *batch, event appliance.Event) {
	switch {
	case event.Kind == appliance.EventRefusal && !c.writing.rate.admit(event):
		c.queue.suppressed.Add(1)
		return
	case event.Kind == appliance.EventGate || event.Kind == appliance.EventDaemon || event.Kind == appliance.EventFraud:
		c.log.Info(event.Message, "kind", event.Kind, "subject", event.Subject)
	}
	event.Subject, event.Message = clip(event.Subject), clip(event.Message)
	b.events = append(b.events, event)
}

// write hands a batch to the records. Where the disk says no the batch is
// counted and given up: enforcement goes on, and memory stays bounded.
func (c *Control) write(b batch) {
	count := uint64(len(b.calls) + len(b.events))
	if count == 0 {
		return
	}
	err := c.records.Append(b.calls, b.events)
	if err != nil && c.queue.unwritten.Add(count) == count {
		c.log.Error("keep records", "err", err) // the first time; health tells the rest
	}
}

// refusalRate admits so many refusals for each second of their own time.
type refusalRate struct {
	second int64
	count  int
}

func (r *refusalRate) admit(event appliance.Event) bool {
	if second := event.Time.Unix(); second != r.second {
		r.second, r.count = second, 0
	}
	r.count++
	return r.count <= refusalsPerSecond
}

// clipCall bounds the texts that a stranger chose.
func clipCall(call appliance.Call) appliance.Call {
	for _, text := range []*string{&call.CallID, &call.From, &call.Account, &call.Dialled, &call.Source, &call.Number, &call.Label, &call.Trunk, &call.Why} {
		*text = clip(*text)
	}
	return call
}

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	cut := maxText - len(ellipsis)
	for cut > 0 && text[cut]&0xc0 == 0x80 { // not inside a UTF-8 sequence
		cut--
	}
	return text[:cut] + ellipsis
}

// Journal returns how many events are in no record.
func (c *Control) Journal() api.Journal {
	return api.Journal{
		Lost: c.queue.lost.Load(), Suppressed: c.queue.suppressed.Load(), Unwritten: c.queue.unwritten.Load(),
	}
}
