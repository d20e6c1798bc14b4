package fraud

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const day = 24 * time.Hour

var monday10 = Moment{Wall: monday, Up: time.Hour}

// said are the names and oddities of a count.
func said(all []Counted) (out []string) {
	for _, one := range all {
		for _, odd := range one.Oddities {
			out = append(out, one.Name+" "+string(odd.Kind))
		}
	}
	return out
}

// desk is an extension that was there long before and calls all the time.
func phone(name string, at Moment) Seen {
	return Seen{Name: name, First: monday10.Wall.Add(-365 * day), Last: at.Wall, Called: at.Wall, Registered: true}
}

func TestCensusTellsEachOddityOnce(t *testing.T) {
	c := NewCensus()
	took := func(at Moment, want []string, all ...Seen) {
		t.Helper()
		if got := said(c.Take(at, all)); !slices.Equal(got, want) {
			t.Errorf("after %v: told %q; want %q", at.Wall.Sub(monday10.Wall), got, want)
		}
	}
	fresh := Seen{Name: "203@pbx", First: monday10.Wall, Last: monday10.Wall, Called: monday10.Wall, Registered: true}
	took(monday10, []string{"203@pbx new", "test7@pbx guessable"}, phone("201@pbx", monday10), fresh, phone("test7@pbx", monday10))
	took(monday10.After(time.Minute), nil, phone("201@pbx", monday10.After(time.Minute)), fresh, phone("test7@pbx", monday10))
	// Nobody was looking at 201 and 203 for a month: one is registered, one is gone.
	quiet := fresh
	quiet.Registered = false
	busy := phone("201@pbx", monday10)
	for n := 1; n <= 31; n++ {
		at := monday10.After(time.Duration(n) * day)
		busy.Last = at.Wall
		var want []string
		if n == 31 {
			want = []string{"201@pbx unused", "203@pbx dormant"}
		}
		took(at, want, busy, quiet)
	}
	month := monday10.After(31 * day)
	busy.Registered = false // over night
	took(month.After(time.Hour), nil, busy, quiet)
	busy.Registered = true
	took(month.After(2*time.Hour), nil, busy, quiet)
	woken := phone("203@pbx", month.After(3*time.Hour))
	took(month.After(3*time.Hour), []string{"203@pbx woke"}, phone("201@pbx", month.After(3*time.Hour)), woken)
	took(month.After(4*time.Hour), nil, woken)
	// It falls silent once more: that is news.
	woken.Registered = false
	for n := range 40 {
		at := month.After(time.Duration(n) * day)
		if got := said(c.Take(at, []Seen{woken})); len(got) > 0 && (n < 30 || got[0] != "203@pbx dormant") {
			t.Errorf("day %d: %q", n, got)
		} else if len(got) > 0 {
			return
		}
	}
	t.Error("nobody heard that 203 fell silent again")
}

func TestCensusKnowsNothingOfTheTimeThatItSlept(t *testing.T) {
	c := NewCensus()
	c.Take(monday10, []Seen{phone("201@pbx", monday10)})
	data, err := c.Keep()
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]Moment{
		"off for 90 days":    {monday10.Wall.Add(90 * day), time.Minute},
		"off, an early date": {monday10.Wall.Add(-90 * day), time.Minute},
	} {
		off := NewCensus()
		if err := off.Restore(data); err != nil {
			t.Fatal(err)
		}
		if got := said(off.Take(at, []Seen{phone("201@pbx", monday10)})); got != nil {
			t.Errorf("%s: %q", name, got)
		}
		if got := said(off.Take(at.After(time.Minute), []Seen{phone("201@pbx", at.After(time.Minute))})); got != nil {
			t.Errorf("%s, when it registers: %q", name, got)
		}
	}
	for _, jump := range []time.Duration{90 * day, -90 * day} {
		c := NewCensus()
		c.Take(monday10, []Seen{phone("201@pbx", monday10)})
		at := Moment{monday10.Wall.Add(jump), monday10.Up + time.Minute}
		if got := said(c.Take(at, []Seen{phone("201@pbx", monday10)})); got != nil {
			t.Errorf("the calendar jumped by %v: %q", jump, got)
		}
		if got := said(c.Take(at.After(time.Minute), []Seen{phone("201@pbx", at.After(time.Minute))})); got != nil {
			t.Errorf("the calendar jumped by %v, when it registers: %q", jump, got)
		}
	}
}

func TestCensusIsKept(t *testing.T) {
	c := NewCensus()
	c.Take(monday10, []Seen{phone("1000@pbx", monday10)})
	data, err := c.Keep()
	if err != nil {
		t.Fatal(err)
	}
	again := NewCensus()
	if err := again.Restore(data); err != nil {
		t.Fatal(err)
	}
	if got := said(again.Take(monday10.After(time.Minute), []Seen{phone("1000@pbx", monday10)})); got != nil || again.Changed() {
		t.Errorf("told again after a restart: %q, changed %v", got, again.Changed())
	}
	// To look at it tells nothing: it is shown as often as somebody asks.
	for range 2 {
		if got := said(again.Look(monday10.Wall, []Seen{phone("201@pbx", monday10), phone("1000@pbx", monday10)})); !slices.Equal(got, []string{"1000@pbx guessable"}) {
			t.Errorf("looked: %q", got)
		}
	}
	for _, bad := range []string{"", "{}", `{"extensions":3}`} {
		if again.Restore([]byte(bad)) == nil || len(again.known) != 1 {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCensusIsBounded(t *testing.T) {
	c := NewCensus()
	for n := range maxCensus + 10 {
		one := phone(fmt.Sprintf("e%d", n), monday10)
		one.Last = monday10.Wall.Add(time.Duration(n) * time.Second)
		c.of(one, monday10.Wall)
	}
	if len(c.known) != maxCensus || c.known["e0"] != nil || c.known[fmt.Sprintf("e%d", maxCensus+9)] == nil {
		t.Errorf("%d are known", len(c.known))
	}
}

func TestGuessableNames(t *testing.T) {
	for name, want := range map[string]bool{
		"test": true, "Test-1@pbx": true, "demo": true, "100": true, "1000@a.example": true, "1111": true, "1234": true, "4321": true, "0000": true, "guest": true,
		"201": false, "111": false, "1235": false, "anna": false, "testarossa": false, "0252615550": false, "": false, "9000": false, "4000": false,
	} {
		if got := guessable(name) != ""; got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestEngineKnowsWhoCalled(t *testing.T) {
	e := newDesk(t).Engine
	e.Begin(Attempt{ID: "a", At: monday10, Extension: "201@pbx", Trunk: "main", Number: "102", Class: Internal})
	e.Register(Registration{At: monday10.After(time.Hour), Extension: "201@pbx", Local: true})
	data, err := e.Snapshot(monday10.After(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	again := newDesk(t).Engine
	if err := again.Restore(monday10.After(time.Hour), data, nil); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*Engine{e, again} {
		all := e.Extensions()
		if len(all) != 1 || all[0].Name != "201@pbx" || !all[0].Called.Equal(monday10.Wall) || !all[0].Last.Equal(monday10.Wall.Add(time.Hour)) {
			t.Errorf("%+v", all)
		}
	}
}
