package inspector

import (
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// The session timer (RFC 4028), in seconds.
const (
	// sessionInterval is what the box asks for where nobody has (section 4
	// recommends it).
	sessionInterval = 1800
	// sessionLeast is the shortest that anybody may ask for (section 4).
	sessionLeast = 90
)

// session is the session timer of one answered call (RFC 4028 section 8.2).
type session struct {
	until    time.Time     // when the box asks whether both sides are still there
	asking   bool          // a round is under way
	missed   int           // rounds in a row in which one was not
	interval time.Duration // agreed, 0 where neither side refreshes
}

// timing is what has to be remembered of a session timer while an INVITE or
// UPDATE is under way (RFC 4028 section 8.1).
type timing struct {
	asked uint64 // seconds, as the request went on; 0 for none
	aware bool   // its sender supports session timers
}

func supportsTimer(m *message.Message) bool {
	tags, _ := m.Tokens("Supported")
	for _, tag := range tags {
		if strings.EqualFold(tag, "timer") {
			return true
		}
	}
	return false
}

// secondsIn reads a Session-Expires or Min-SE, 0 where there is none.
func secondsIn(m *message.Message, name string) uint64 {
	digits, _, _ := strings.Cut(m.Get(name), ";")
	n, _ := strconv.ParseUint(strings.TrimSpace(digits), 10, 32)
	return n
}

// tooBrisk returns a 422 for a session interval below the least, to a sender that
// knows what to do about it. Another's is raised by timed (RFC 4028 section 8.1).
func tooBrisk(q *request) (refusal, bool) {
	if !timers(q.Method) || !q.Has("Session-Expires") || secondsIn(q.Message, "Session-Expires") >= sessionLeast || !supportsTimer(q.Message) {
		return refusal{}, false
	}
	return refusal{status: 422, phrase: "Session Interval Too Small", reason: appliance.ReasonExtension,
		headers: []field{{"Min-SE", strconv.Itoa(sessionLeast)}}, detail: "Session-Expires"}, true
}

// timers lists the methods that carry a session timer (RFC 4028 section 4).
func timers(method string) bool { return method == "INVITE" || method == "UPDATE" }

// timed asks for a session timer in a request that goes on, or holds the one that
// is asked for within bounds: not longer than ours, where the sender's Min-SE
// leaves room, and not shorter than the least.
func timed(out *message.Message) timing {
	if !timers(out.Method) {
		return timing{}
	}
	t := timing{aware: supportsTimer(out)}
	least := secondsIn(out, "Min-SE")
	value, err := out.SessionExpires()
	switch {
	case err != nil && out.Method != "INVITE":
		return t // an UPDATE that leaves the timer alone
	case err != nil:
		t.asked = max(sessionInterval, least)
		out.Add("Session-Expires", strconv.FormatUint(t.asked, 10))
		return t
	}
	t.asked = secondsIn(out, "Session-Expires")
	if t.asked < sessionLeast {
		// Its sender knows no 422: refused, the call would fail.
		least = max(least, sessionLeast)
		out.Set("Min-SE", strconv.FormatUint(least, 10))
	}
	if held := max(min(t.asked, sessionInterval), least); held != t.asked {
		t.asked = held
		value.Text = strconv.FormatUint(held, 10)
		out.Set("Session-Expires", value.String())
	}
	return t
}

// settled reads the timer of a 2xx, and writes it for a caller that asked where
// the far side knows no timers (RFC 4028 section 8.2).
func (t timing) settled(out *message.Message) (interval time.Duration) {
	value, err := out.SessionExpires()
	if err != nil {
		if t.asked == 0 || !t.aware {
			return 0
		}
		value = message.Value{Text: strconv.FormatUint(t.asked, 10), Params: ";refresher=uac"}
		out.Add("Session-Expires", value.String())
		requireTimer(out)
	}
	seconds, _ := strconv.ParseUint(value.Text, 10, 32)
	return time.Duration(seconds) * time.Second
}

func requireTimer(out *message.Message) {
	tags, _ := out.Tokens("Require")
	for _, tag := range tags {
		if strings.EqualFold(tag, "timer") {
			return
		}
	}
	out.Set("Require", strings.Join(append(tags, "timer"), ", "))
}

// refreshed notes a 2xx to an INVITE or UPDATE. A timer that nobody keeps, or one
// longer than can be waited for, is replaced by a question of the box's own.
func (d *dialog) refreshed(t timing, out *message.Message, now time.Time) {
	interval := t.settled(out)
	d.mu.Lock()
	defer d.mu.Unlock()
	wait := interval
	if wait == 0 || wait > 2*sessionInterval*time.Second {
		wait = sessionInterval * time.Second
	}
	d.session = session{interval: interval, until: now.Add(wait), asking: d.session.asking}
}
