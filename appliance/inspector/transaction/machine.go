// Package transaction is the four state machines of RFC 3261 section 17, with
// what RFC 6026 changed in those of INVITE, and the wheel that their timers turn
// on. It owns no table, socket, goroutine or clock: a machine is told what
// happened and when, and says what to do about it.
package transaction

import (
	"math"
	"time"
)

// Timers are the three times that every timer is made of (RFC 3261 section
// 17.1.1.1 and table 4).
type Timers struct {
	T1 time.Duration // round trip estimate
	T2 time.Duration // longest pause between two repeats, but of an INVITE
	T4 time.Duration // longest time that a message stays in the network
}

// Defaults are the values of RFC 3261 table 4.
func Defaults() Timers {
	return Timers{T1: 500 * time.Millisecond, T2: 4 * time.Second, T4: 5 * time.Second}
}

// patience is 64*T1: Timers B, F, H, J, L and M.
func (t *Timers) patience() time.Duration { return 64 * t.T1 }

// Kind says which machine it is.
type Kind uint8

// The four machines.
const (
	ClientInvite Kind = iota // RFC 3261 section 17.1.1, RFC 6026 section 7.2
	Client                   // RFC 3261 section 17.1.2
	ServerInvite             // RFC 3261 section 17.2.1, RFC 6026 section 7.1
	Server                   // RFC 3261 section 17.2.2
	kinds
)

// State of a machine.
type State uint8

// The states of RFC 3261 figures 5 to 8 and RFC 6026. The zero State is over.
const (
	Terminated State = iota
	Calling          // ClientInvite
	Trying           // Client, Server
	Proceeding       // all
	Accepted         // ClientInvite, ServerInvite
	Completed        // all
	Confirmed        // ServerInvite
	states
)

// Event is what happens to a machine.
type Event uint8

// Events. A client hears responses, a server is given them to send.
const (
	Provisional Event = iota // 1xx
	Success                  // 2xx
	Failure                  // 3xx to 6xx
	Request                  // the request came again
	Ack                      // an ACK came
	Broken                   // a message could not be sent
	events
)

// Response returns the Event of a status.
func Response(status int) Event {
	switch {
	case status < 200:
		return Provisional
	case status < 300:
		return Success
	}
	return Failure
}

// Action is what to do, any of these together.
type Action uint8

// Actions, in the order in which they are done.
const (
	Send        Action = 1 << iota // the message that the machine stands for: the request, or the last response
	Acknowledge                    // send the ACK to a final response that is no 2xx
	Pass                           // hand what came to the user
	TimedOut                       // tell the user: nobody answered, or acknowledged
	Lost                           // tell the user: the message could not be sent
	End                            // the transaction is over: forget it
)

// Has reports whether all of want is to be done.
func (a Action) Has(want Action) bool { return a&want == want }

// Never is the time of a timer that is not set.
const Never = time.Duration(math.MaxInt64)

// step is one arrow of a figure: where it leads and what is done on the way.
type step struct {
	to State
	do Action
}

// figures are the arrows but those of timers. Where none is drawn nothing
// happens: what has no business in a state is dropped.
var figures = [kinds][states][events]step{
	ClientInvite: {
		Calling: {
			Provisional: {Proceeding, Pass},
			Success:     {Accepted, Pass},
			Failure:     {Completed, Acknowledge | Pass},
			Broken:      {Terminated, Lost},
		},
		Proceeding: {
			Provisional: {Proceeding, Pass},
			Success:     {Accepted, Pass},
			Failure:     {Completed, Acknowledge | Pass},
			Broken:      {Terminated, Lost},
		},
		// RFC 6026: every 2xx is the user's, of whichever fork, and nothing else is
		// anybody's any more.
		Accepted:  {Success: {Accepted, Pass}},
		Completed: {Failure: {Completed, Acknowledge}, Broken: {Terminated, Lost}},
	},
	Client: {
		Trying: {
			Provisional: {Proceeding, Pass},
			Success:     {Completed, Pass},
			Failure:     {Completed, Pass},
			Broken:      {Terminated, Lost},
		},
		Proceeding: {
			Provisional: {Proceeding, Pass},
			Success:     {Completed, Pass},
			Failure:     {Completed, Pass},
			Broken:      {Terminated, Lost},
		},
	},
	ServerInvite: {
		// Broken leads nowhere: RFC 6026 section 8.4 lets the transaction live, so
		// that it still takes the repeats of its request.
		Proceeding: {
			Request:     {Proceeding, Send},
			Provisional: {Proceeding, Send},
			Success:     {Accepted, Send},
			Failure:     {Completed, Send},
		},
		Accepted: {
			Success: {Accepted, Send}, // the user repeats it, the machine never does
			Ack:     {Accepted, Pass},
		},
		Completed: {
			Request: {Completed, Send},
			Ack:     {Confirmed, 0},
		},
	},
	Server: {
		Trying: {
			Provisional: {Proceeding, Send},
			Success:     {Completed, Send},
			Failure:     {Completed, Send},
		},
		Proceeding: {
			Request:     {Proceeding, Send},
			Provisional: {Proceeding, Send},
			Success:     {Completed, Send},
			Failure:     {Completed, Send},
			Broken:      {Terminated, Lost},
		},
		Completed: {
			Request: {Completed, Send},
			Broken:  {Terminated, Lost},
		},
	},
}

// Machine is one transaction. The zero Machine is over. It is not safe for
// concurrent use.
type Machine struct {
	timers   *Timers
	kind     Kind
	state    State
	reliable bool          // the transport repeats by itself
	pause    time.Duration // between the last repeat and the next: Timers A, E, G
	repeat   time.Duration // when the message is sent again
	end      time.Duration // when the state ends: Timers B, D, F, H, I, J, K, L, M
}

// Start returns a machine whose request has just been sent, or has just come.
// Every time is counted from the same moment, which is the caller's choice.
func Start(kind Kind, reliable bool, timers *Timers, now time.Duration) Machine {
	m := Machine{timers: timers, kind: kind, reliable: reliable, repeat: Never, end: Never}
	switch kind {
	case ClientInvite:
		m.state = Calling
	case ServerInvite:
		m.state = Proceeding
	default:
		m.state = Trying
	}
	if kind == ClientInvite || kind == Client {
		m.end = now + timers.patience() // Timers B and F
		m.repeats(now)                  // Timers A and E
	}
	return m
}

// repeats starts repeating, over a transport that loses messages.
func (m *Machine) repeats(now time.Duration) {
	if !m.reliable {
		m.pause = m.timers.T1
		m.repeat = now + m.pause
	}
}

// State returns where the machine stands.
func (m *Machine) State() State { return m.state }

// Due returns when Tick is wanted next, Never where no timer runs.
func (m *Machine) Due() time.Duration { return min(m.repeat, m.end) }

// Handle takes one event.
func (m *Machine) Handle(what Event, now time.Duration) Action {
	next := figures[m.kind][m.state][what]
	if next == (step{}) {
		return 0
	}
	was := m.state
	m.state = next.to
	if next.to == was {
		return next.do
	}
	return next.do | m.enter(now)
}

// enter sets the timers of a state that has just been entered. A state that
// would last no time at all ends the transaction.
func (m *Machine) enter(now time.Duration) Action {
	lasts := m.lasts()
	if lasts == 0 {
		m.state, m.repeat, m.end = Terminated, Never, Never
		return End
	}
	switch m.state {
	case Proceeding:
		if m.kind == Client {
			return 0 // Timers E and F run on (RFC 3261 section 17.1.2.2)
		}
		m.repeat, m.end = Never, Never // Timers A and B stop; Timer C is the proxy's
		return 0
	case Completed:
		m.repeat = Never
		if m.kind == ServerInvite {
			m.repeats(now) // Timer G
		}
	default:
		m.repeat = Never
	}
	m.end = now + lasts
	return 0
}

// longest is Timer D: more than 32 s, which is 64*T1 where T1 is what it should
// be (RFC 3261 section 17.1.1.2).
func (m *Machine) longest() time.Duration { return m.timers.patience() }

// lasts is how long a state that has been entered lasts at most, Never where no
// timer ends it.
func (m *Machine) lasts() time.Duration {
	switch m.state {
	case Proceeding:
		return Never
	case Accepted: // Timers L and M
		return m.timers.patience()
	case Confirmed: // Timer I
		return m.unlessReliable(m.timers.T4)
	case Completed:
		switch m.kind {
		case ClientInvite: // Timer D
			return m.unlessReliable(m.longest())
		case Client: // Timer K
			return m.unlessReliable(m.timers.T4)
		case Server: // Timer J
			return m.unlessReliable(m.timers.patience())
		}
		return m.timers.patience() // Timer H
	}
	return 0
}

func (m *Machine) unlessReliable(d time.Duration) time.Duration {
	if m.reliable {
		return 0
	}
	return d
}

// Cancel gives an INVITE that was cancelled 64*T1 to end in: nobody has to answer
// it (RFC 3261 section 9.1). Its user hears that none did, as of Timer B.
func (m *Machine) Cancel(now time.Duration) {
	if m.kind == ClientInvite && m.state == Proceeding {
		m.end = min(m.end, now+m.timers.patience())
	}
}

// Tick acts on the timers that have run out by now.
func (m *Machine) Tick(now time.Duration) Action {
	switch {
	case now >= m.end:
		return m.expire()
	case now >= m.repeat:
		m.repeat = now + m.next()
		return Send
	}
	return 0
}

// expire ends the transaction. Its user hears of it where something is still
// awaited: a final response (Timers B and F) or an ACK (Timer H).
func (m *Machine) expire() Action {
	waited := m.state == Calling || m.state == Trying || m.state == Proceeding || m.kind == ServerInvite && m.state == Completed
	m.state, m.repeat, m.end = Terminated, Never, Never
	if waited {
		return TimedOut | End
	}
	return End
}

// next is the pause after a repeat: twice the last one, and T2 at most but for an
// INVITE.
func (m *Machine) next() time.Duration {
	m.pause *= 2
	if m.kind != ClientInvite && (m.pause > m.timers.T2 || m.kind == Client && m.state == Proceeding) {
		m.pause = m.timers.T2
	}
	return m.pause
}
