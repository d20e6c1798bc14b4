package transaction

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWheelKeepsTime sets, moves and retires timers at random, and holds every
// turn against a plain list of them.
func TestWheelKeepsTime(t *testing.T) {
	const timers, turns = 300, 20_000
	random := rand.New(rand.NewPCG(1, 2))
	var w Wheel[int]
	all := make([]Timer[int], timers)
	due := make([]time.Duration, timers)
	for n := range all {
		all[n].Bind(n)
		due[n] = Never
	}
	driven := false
	now := 17 * time.Millisecond
	for range turns {
		for range random.IntN(4) {
			n := random.IntN(timers)
			switch random.IntN(8) {
			case 0:
				due[n] = Never
			default: // up to three rounds ahead, now and then in the past
				due[n] = now + time.Duration(random.Int64N(int64(3*slots*Tick))) - time.Second
			}
			drive := w.Set(&all[n], due[n], now)
			due[n] = max(due[n], now) // what is due already is due now
			if drive == driven && due[n] != Never {
				t.Fatalf("driven %v, and Set asks for a driver: %v", driven, drive)
			}
			driven = driven || drive
		}
		now += time.Duration(random.Int64N(int64(3 * Tick)))
		if random.IntN(1000) == 0 {
			now += time.Minute // the driver was held up
		}
		if !driven {
			continue
		}
		var fired []int
		fired, driven = w.Turn(now, nil)
		for _, n := range fired {
			if due[n] > now {
				t.Fatalf("timer %d fired %v early", n, due[n]-now)
			}
			due[n] = Never
		}
		waiting := 0
		for n := range due {
			if due[n] == Never {
				continue
			}
			waiting++
			if late := now - due[n]; late >= 2*Tick {
				t.Fatalf("timer %d is %v late", n, late)
			}
		}
		if waiting > 0 && !driven || waiting == 0 && len(fired) == 0 && driven {
			t.Fatalf("%d timers wait, driven %v", waiting, driven)
		}
	}
}

// TestWheelRetires: what is over can't be set again.
func TestWheelRetires(t *testing.T) {
	var w Wheel[string]
	var a, b Timer[string]
	a.Bind("a")
	b.Bind("b")
	if !w.Set(&a, time.Second, 0) || w.Set(&b, time.Second, 0) {
		t.Fatal("the first timer alone asks for a driver")
	}
	w.Retire(&a)
	w.Retire(&a)
	w.Set(&a, time.Second, 0)
	if fired, more := w.Turn(2*time.Second, nil); len(fired) != 1 || fired[0] != "b" || !more {
		t.Fatalf("fired %q, %v", fired, more)
	}
	if fired, more := w.Turn(3*time.Second, nil); len(fired) != 0 || more {
		t.Fatalf("an empty wheel fired %q, %v", fired, more)
	}
	if w.Set(&a, time.Minute, 3*time.Second) {
		t.Fatal("a timer that is over asks for a driver")
	}
	if !w.Set(&b, time.Minute, 3*time.Second) {
		t.Fatal("a wheel without a driver does not ask for one")
	}
}

// BenchmarkWheel sets and stops one timer among 100,000.
func BenchmarkWheel(b *testing.B) {
	var w Wheel[int]
	others := make([]Timer[int], 100_000)
	for n := range others {
		w.Set(&others[n], time.Duration(n)*time.Millisecond/4, 0)
	}
	var one Timer[int]
	b.ReportAllocs()
	for b.Loop() {
		w.Set(&one, 500*time.Millisecond, 0)
		w.Set(&one, Never, 0)
	}
}
