package transaction

import (
	"sync"
	"time"
)

// Tick is how exact a Wheel is: a timer fires at most this much late, besides
// what its driver is late.
const Tick = 20 * time.Millisecond

// slots times Tick is more than 64*T1, so that no timer of a transaction goes
// round the wheel more than once.
const slots = 2048

// Timer is one entry of a Wheel, part of what it wakes. The zero Timer is not
// set.
type Timer[T any] struct {
	of         T // what it wakes
	due        time.Duration
	slot       int32 // plus 1, 0 where it is not set
	over       bool  // it can't be set any more
	prev, next *Timer[T]
}

// Wheel holds timers by when they are due: setting and stopping one takes the
// same short time however many there are. It is safe for concurrent use. Time is
// counted as that of the machines is.
type Wheel[T any] struct {
	mu     sync.Mutex
	turned int64 // ticks up to which every slot has been emptied
	count  int
	driven bool // somebody calls Turn again and again
	heads  [slots]*Timer[T]
}

// Bind says what t wakes. It is called once, before t is set.
func (t *Timer[T]) Bind(of T) { t.of = of }

// Set lets t fire at due, instead of when it was to before; never where due is
// Never, or where t has been retired. It reports true where the wheel has no
// driver: then the caller starts one.
func (w *Wheel[T]) Set(t *Timer[T], due, now time.Duration) (drive bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.over || t.slot > 0 && t.due == due {
		return false
	}
	w.take(t)
	if due == Never {
		return false
	}
	if !w.driven {
		w.driven, drive, w.turned = true, true, ticks(now)
	}
	t.due = due
	w.put(t)
	return drive
}

// Retire stops t for good.
func (w *Wheel[T]) Retire(t *Timer[T]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.take(t)
	t.over = true
}

// Turn appends what is due by now to due, and takes it off the wheel. It reports
// false where the wheel is empty: then the driver ends, and Set will ask for
// another.
func (w *Wheel[T]) Turn(now time.Duration, due []T) ([]T, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	until := ticks(now)
	for n := 0; w.turned < until && n < slots; n++ {
		w.turned++
		due = w.empty(int(w.turned%slots), now, due)
	}
	w.turned = max(w.turned, until)
	w.driven = w.count > 0 || len(due) > 0 // what is due now may be set again
	return due, w.driven
}

// empty takes what is due off one slot. What is due in a later round stays.
func (w *Wheel[T]) empty(slot int, now time.Duration, due []T) []T {
	for t := w.heads[slot]; t != nil; {
		next := t.next
		if t.due <= now {
			w.take(t)
			due = append(due, t.of)
		}
		t = next
	}
	return due
}

func ticks(d time.Duration) int64 { return int64(d / Tick) }

// put links t into the first slot that is emptied once it is due, and never into
// one that has been emptied already.
func (w *Wheel[T]) put(t *Timer[T]) {
	at := max(ticks(t.due)+1, w.turned+1)
	t.slot = int32(at%slots) + 1
	head := &w.heads[t.slot-1]
	t.prev, t.next = nil, *head
	if t.next != nil {
		t.next.prev = t
	}
	*head = t
	w.count++
}

// take unlinks t, where it is linked.
func (w *Wheel[T]) take(t *Timer[T]) {
	if t.slot == 0 {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.heads[t.slot-1] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.slot = nil, nil, 0
	w.count--
}
