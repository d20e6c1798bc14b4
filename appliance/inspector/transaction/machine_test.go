package transaction

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func (k Kind) String() string {
	return [...]string{"ClientInvite", "Client", "ServerInvite", "Server"}[k]
}

func (s State) String() string {
	return [...]string{"Terminated", "Calling", "Trying", "Proceeding", "Accepted", "Completed", "Confirmed"}[s]
}

func (e Event) String() string {
	return [...]string{"1xx", "2xx", "300+", "request", "ACK", "broken"}[e]
}

func (a Action) String() string {
	var words []string
	for i, word := range []string{"send", "acknowledge", "pass", "timed out", "lost", "end"} {
		if a&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// TestArrows names every arrow of RFC 3261 figures 5 to 8, as RFC 6026 changed
// them. Whatever is not named must change nothing.
func TestArrows(t *testing.T) {
	want := map[string]string{
		// Figure 5, RFC 6026 figure 8: INVITE client.
		"ClientInvite Calling 1xx":       "Proceeding: pass",
		"ClientInvite Calling 2xx":       "Accepted: pass",
		"ClientInvite Calling 300+":      "Completed: acknowledge pass",
		"ClientInvite Calling broken":    "Terminated: lost end",
		"ClientInvite Proceeding 1xx":    "Proceeding: pass",
		"ClientInvite Proceeding 2xx":    "Accepted: pass",
		"ClientInvite Proceeding 300+":   "Completed: acknowledge pass",
		"ClientInvite Proceeding broken": "Terminated: lost end",
		"ClientInvite Accepted 2xx":      "Accepted: pass",
		"ClientInvite Completed 300+":    "Completed: acknowledge",
		"ClientInvite Completed broken":  "Terminated: lost end",
		// Figure 6: any other client.
		"Client Trying 1xx":        "Proceeding: pass",
		"Client Trying 2xx":        "Completed: pass",
		"Client Trying 300+":       "Completed: pass",
		"Client Trying broken":     "Terminated: lost end",
		"Client Proceeding 1xx":    "Proceeding: pass",
		"Client Proceeding 2xx":    "Completed: pass",
		"Client Proceeding 300+":   "Completed: pass",
		"Client Proceeding broken": "Terminated: lost end",
		// Figure 7, RFC 6026 figure 7: INVITE server.
		"ServerInvite Proceeding 1xx":     "Proceeding: send",
		"ServerInvite Proceeding 2xx":     "Accepted: send",
		"ServerInvite Proceeding 300+":    "Completed: send",
		"ServerInvite Proceeding request": "Proceeding: send",
		"ServerInvite Accepted 2xx":       "Accepted: send",
		"ServerInvite Accepted ACK":       "Accepted: pass",
		"ServerInvite Completed request":  "Completed: send",
		"ServerInvite Completed ACK":      "Confirmed: ",
		// Figure 8: any other server.
		"Server Trying 1xx":         "Proceeding: send",
		"Server Trying 2xx":         "Completed: send",
		"Server Trying 300+":        "Completed: send",
		"Server Proceeding 1xx":     "Proceeding: send",
		"Server Proceeding 2xx":     "Completed: send",
		"Server Proceeding 300+":    "Completed: send",
		"Server Proceeding request": "Proceeding: send",
		"Server Proceeding broken":  "Terminated: lost end",
		"Server Completed request":  "Completed: send",
		"Server Completed broken":   "Terminated: lost end",
	}
	timers := Defaults()
	seen := 0
	for kind := range kinds {
		for state := range states {
			for event := range events {
				m := Machine{timers: &timers, kind: kind, state: state, repeat: Never, end: Never}
				name := fmt.Sprintf("%v %v %v", kind, state, event)
				do := m.Handle(event, 0)
				got := fmt.Sprintf("%v: %v", m.State(), do)
				expected, drawn := want[name]
				if !drawn {
					expected = fmt.Sprintf("%v: ", state)
				} else {
					seen++
				}
				if got != expected {
					t.Errorf("%s leads to %q, want %q", name, got, expected)
				}
			}
		}
	}
	if seen != len(want) {
		t.Errorf("%d arrows were tried of %d", seen, len(want))
	}
}

// run ticks m whenever it is due until it is over, and writes down what it did
// when.
func run(m *Machine) string {
	var lines []string
	for m.Due() != Never {
		at := m.Due()
		if do := m.Tick(at - 1); do != 0 {
			lines = append(lines, fmt.Sprintf("early %v", do))
		}
		lines = append(lines, fmt.Sprintf("%v %v", at, m.Tick(at)))
		if len(lines) > 100 {
			break
		}
	}
	return strings.Join(lines, ", ")
}

// TestTimers lets every timer of RFC 3261 table 4 and RFC 6026 run out, with T1
// 500 ms, T2 4 s and T4 5 s.
func TestTimers(t *testing.T) {
	const (
		invite = "500ms send, 1.5s send, 3.5s send, 7.5s send, 15.5s send, 31.5s send, 32s timed out end"
		other  = "500ms send, 1.5s send, 3.5s send, 7.5s send, 11.5s send, 15.5s send, 19.5s send, 23.5s send, 27.5s send, 31.5s send, 32s timed out end"
	)
	for _, c := range []struct {
		timer    string
		kind     Kind
		reliable bool
		events   []Event
		want     string
	}{
		{"A and B", ClientInvite, false, nil, invite},
		{"B", ClientInvite, true, nil, "32s timed out end"},
		{"none: it rings", ClientInvite, false, []Event{Provisional}, ""},
		{"D", ClientInvite, false, []Event{Failure}, "32s end"},
		{"D of none", ClientInvite, true, []Event{Failure}, ""},
		{"M", ClientInvite, false, []Event{Provisional, Success}, "32s end"},
		{"M", ClientInvite, true, []Event{Success, Success}, "32s end"},
		{"E and F", Client, false, nil, other},
		{"F", Client, true, nil, "32s timed out end"},
		{"E at T2 and F", Client, false, []Event{Provisional},
			"500ms send, 4.5s send, 8.5s send, 12.5s send, 16.5s send, 20.5s send, 24.5s send, 28.5s send, 32s timed out end"},
		{"F", Client, true, []Event{Provisional}, "32s timed out end"},
		{"K", Client, false, []Event{Success}, "5s end"},
		{"K of none", Client, true, []Event{Failure}, ""},
		{"none: it rings", ServerInvite, false, []Event{Provisional}, ""},
		{"G and H", ServerInvite, false, []Event{Failure}, other},
		{"H", ServerInvite, true, []Event{Failure}, "32s timed out end"},
		{"I", ServerInvite, false, []Event{Failure, Ack}, "5s end"},
		{"I of none", ServerInvite, true, []Event{Failure, Ack}, ""},
		{"L", ServerInvite, false, []Event{Success}, "32s end"},
		{"L", ServerInvite, true, []Event{Success, Success}, "32s end"},
		{"none: it is handled", Server, false, []Event{Provisional}, ""},
		{"J", Server, false, []Event{Success}, "32s end"},
		{"J of none", Server, true, []Event{Provisional, Failure}, ""},
	} {
		t.Run(fmt.Sprintf("%v %v reliable=%v", c.kind, c.timer, c.reliable), func(t *testing.T) {
			timers := Defaults()
			m := Start(c.kind, c.reliable, &timers, 0)
			var do Action
			for _, event := range c.events {
				do = m.Handle(event, 0)
			}
			if got := run(&m); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if ends := strings.HasSuffix(c.timer, "of none"); ends != do.Has(End) || ends && m.State() != Terminated {
				t.Errorf("after the last event %v: %v", m.State(), do)
			}
		})
	}
}

// TestLateTickSendsOnce: a driver that was held up makes up for nothing.
func TestLateTickSendsOnce(t *testing.T) {
	timers := Defaults()
	m := Start(ClientInvite, false, &timers, 0)
	if do := m.Tick(9 * time.Second); do != Send || m.Due() != 10*time.Second {
		t.Errorf("9 s late: %v, due %v", do, m.Due())
	}
	if do := m.Tick(time.Minute); do != TimedOut|End || m.State() != Terminated {
		t.Errorf("a minute late: %v", do)
	}
	if do := m.Tick(time.Hour) | m.Handle(Success, time.Hour); do != 0 || m.Due() != Never {
		t.Errorf("over, and yet: %v", do)
	}
}

// TestCancel: an INVITE that was cancelled waits for 64*T1 and no longer, whatever
// else is provisional; one that nobody has answered has Timer B, and an answered one
// is none to cancel.
func TestCancel(t *testing.T) {
	timers := Defaults()
	for _, c := range []struct {
		kind          Kind
		before, after Event
		want          string
	}{
		{ClientInvite, Provisional, Provisional, "33s timed out end"},
		{ClientInvite, Provisional, Success, "32s end"},
		{ClientInvite, Success, Success, "32s end"},
		{Client, Provisional, Provisional, "32s timed out end"},
		{ServerInvite, Provisional, Provisional, ""},
	} {
		m := Start(c.kind, true, &timers, 0)
		m.Handle(c.before, 0)
		m.Cancel(time.Second)
		m.Handle(c.after, 0)
		if got := run(&m); got != c.want {
			t.Errorf("%v: got %s, want %s", c, got, c.want)
		}
	}
	m := Start(ClientInvite, true, &timers, 0)
	if m.Cancel(time.Second); m.Due() != 32*time.Second {
		t.Errorf("without an answer: due %v", m.Due())
	}
}

func TestResponse(t *testing.T) {
	for status, want := range map[int]Event{100: Provisional, 199: Provisional, 200: Success, 299: Success, 300: Failure, 699: Failure} {
		if got := Response(status); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
}
