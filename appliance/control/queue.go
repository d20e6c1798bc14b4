package control

import (
	"context"
	"sync/atomic"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// Bounds of what the network can make us keep.
const (
	queueLength       = 4096 // events in flight: about a second of the worst flood
	batchLength       = 256  // events in one transaction
	refusalsPerSecond = 20   // in the journal; calls are bounded by the inspector
	maxText           = 512  // bytes of one text field of a record
	ellipsis          = "…"
)

// Queue takes what the hands report. It is made before them, since they report
// from their first moment on.
type Queue struct {
	events     chan appliance.Event
	lost       atomic.Uint64 // the queue was full
	suppressed atomic.Uint64 // refusals above the rate
	unwritten  atomic.Uint64 // the disk said no
}

// NewQueue returns an empty queue.
func NewQueue() *Queue { return &Queue{events: make(chan appliance.Event, queueLength)} }

// Report takes an event, never blocking. One that finds the queue full is
// counted and lost.
func (q *Queue) Report(event appliance.Event) {
	select {
	case q.events <- event:
	default:
		q.lost.Add(1)
	}
}

// Run writes what is reported to the records until ctx ends. It is a task: it
// returns nil at the end and never before.
func (c *Control) Run(ctx context.Context) error {
	var rate refusalRate
	for {
		select {
		case event := <-c.queue.events:
			c.write(c.gather(event, &rate))
		case <-ctx.Done():
			return nil
		}
	}
}

// Flush writes what still waits. It is for the end, when Run and everybody who
// reports have returned.
func (c *Control) Flush() {
	var rate refusalRate
	for {
		select {
		case event := <-c.queue.events:
			c.write(c.gather(event, &rate))
		default:
			return
		}
	}
}

// batch is one transaction: the latest report of each call, and events.
type batch struct {
	calls  []appliance.Call
	events []appliance.Event
}

// gather takes first and whatever else waits, without waiting itself.
func (c *Control) gather(first appliance.Event, rate *refusalRate) batch {
	var b batch
	for event, n := first, 0; ; n++ {
		c.sort(&b, event, rate)
		if n == batchLength {
			return b
		}
		select {
		case event = <-c.queue.events:
		default:
			return b
		}
	}
}

func (c *Control) sort(b *batch, event appliance.Event, rate *refusalRate) {
	switch {
	case event.Call != nil:
		b.calls = append(b.calls, clipCall(*event.Call))
		return
	case event.Kind == appliance.EventRefusal && !rate.admit(event):
		c.queue.suppressed.Add(1)
		return
	case event.Kind == appliance.EventGate || event.Kind == appliance.EventDaemon:
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
	for _, text := range []*string{&call.CallID, &call.From, &call.Dialled, &call.Source, &call.Number, &call.Label, &call.Trunk, &call.Why} {
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
