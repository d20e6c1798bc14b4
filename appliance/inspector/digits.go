package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// digitsMax bounds the digits that are remembered behind one dialled string.
const digitsMax = 32

// signalled returns the digits that an INFO carries (application/dtmf-relay,
// application/dtmf).
func signalled(m *message.Message) string {
	kind, err := m.ContentType()
	if err != nil {
		return ""
	}
	text := string(m.Body)
	switch kind.Text {
	case "application/dtmf":
	case "application/dtmf-relay":
		_, text, _ = strings.Cut(strings.ToLower(text), "signal=")
	default:
		return ""
	}
	text, _, _ = strings.Cut(strings.TrimLeft(text, " \r\n"), "\n")
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789*#", r) {
			return r
		}
		return -1
	}, text)
}

// dials judges what an INFO adds to a number that still rings: a switch may take
// the digits for more of it. It reports false where a list blocks what they make
// together. Afterwards they are only counted: they may be anybody's PIN.
func (i *Inspector) dials(q *request, d *dialog, from int) bool {
	digits := signalled(q.Message)
	if digits == "" || d.call == nil {
		return true
	}
	dialled, trunk := d.call.signal(digits, from == 0)
	if dialled == "" {
		return true
	}
	said := q.rules.Call(rules.Call{URI: dialled, Direction: appliance.Outbound, Use: rules.UseCall, From: q.fromAddr.URI.User, Trunk: trunk})
	switch said.Reason {
	case appliance.ReasonHighRisk, appliance.ReasonPremium, appliance.ReasonPolicyBlock, appliance.ReasonSettingsBlock:
		i.tallies.count(said.Reason)
		return false
	}
	return true
}

// signal counts digits. Of an outbound call that is not answered yet it returns
// what was dialled with them behind and the trunk that carries it, "" for any other.
func (c *call) signal(digits string, byCaller bool) (dialled, trunk string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record.Digits += len(digits)
	if !byCaller || c.dialled == "" || !c.record.Answer.IsZero() || c.record.Direction != appliance.Outbound {
		return "", ""
	}
	if len(c.typed) < digitsMax {
		c.typed += digits
	}
	return c.dialled + c.typed, c.record.Trunk
}
