package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

const (
	most     = 500            // items that wait for one channel
	patience = 48 * time.Hour // from the notice until it is given up
	longest  = 30 * time.Minute
	idle     = time.Hour // between two looks at an empty queue
)

// item is one notice on its way by one channel.
type item struct {
	Notice  appliance.Notice `json:"notice"`
	Channel Channel          `json:"channel"`
	Added   time.Time        `json:"added"`
	tries   int
	next    time.Time
}

func (i *item) name() string { return i.Notice.ID + "." + string(i.Channel) }

func (i *item) encode() []byte {
	data, err := json.Marshal(i)
	if err != nil {
		panic(fmt.Sprintf("encode notice: %v", err)) // strings and times: never
	}
	return data
}

func decodeItem(data []byte) (item, error) {
	var one item
	if err := json.Unmarshal(data, &one); err != nil {
		return item{}, fmt.Errorf("read outbox item: %w", err)
	}
	return one, nil
}

// queue is the items of one channel, bounded.
type queue struct {
	mu    sync.Mutex
	items []*item
	bell  chan struct{} // a look is worth while
}

func newQueue() *queue { return &queue{bell: make(chan struct{}, 1)} }

// add appends an item and returns the one that had to go for it. Digests go before
// anything else, then the oldest.
func (q *queue) add(one item) *item {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.wake()
	q.items = append(q.items, &one)
	if len(q.items) <= most {
		return nil
	}
	gone := max(slices.IndexFunc(q.items, func(i *item) bool { return !i.Notice.Urgent }), 0)
	old := q.items[gone]
	q.items = slices.Delete(q.items, gone, gone+1)
	return old
}

// due returns the item to be delivered now, urgent ones first, or how long there is
// nothing to do.
func (q *queue) due(now time.Time) (*item, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var best *item
	wait := idle
	for _, one := range q.items {
		if left := one.next.Sub(now); left > 0 {
			wait = min(wait, left)
		} else if best == nil || one.Notice.Urgent && !best.Notice.Urgent {
			best = one
		}
	}
	return best, wait
}

// putOff doubles the pause before the next try, from ten seconds to half an hour.
func (q *queue) putOff(one *item, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	pause := min(10*time.Second<<min(one.tries, 16), longest)
	one.tries++
	one.next = now.Add(pause)
}

// again lets every item be tried at once.
func (q *queue) again(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, one := range q.items {
		one.next, one.tries = now, 0
	}
	q.wake()
}

func (q *queue) remove(one *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = slices.DeleteFunc(q.items, func(other *item) bool { return other == one })
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

func (q *queue) wake() {
	select {
	case q.bell <- struct{}{}:
	default:
	}
}

// sleep waits for the bell or a while, and reports false at the end of ctx.
func (q *queue) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-q.bell:
	case <-timer.C:
	}
	return true
}
