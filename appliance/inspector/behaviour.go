package inspector

import (
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/audit"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Behaviour judges how calls are made, after the lists have judged where they go.
// None of its methods may block.
type Behaviour interface {
	// Begin judges an outbound call. One that passes is live until Ended.
	Begin(rules.Attempt) rules.Ruling
	// Answered hears that a call was answered.
	Answered(id string)
	// Ended hears that a call is over, or was only asked for credentials.
	Ended(id string, challenged bool)
	// Inbound hears of a call from a trunk that is over: how long it rang.
	Inbound(number string, rang time.Duration, answered bool)
	// Registered hears of a registration that the far end took.
	Registered(fraud.Registration)
	// Accepted hears of credentials that the far end took, of an account.
	Accepted(account string, d audit.Digest)
}

// behave asks the behaviour engine about an outbound call that the lists have
// judged, and writes its word into the decision and the record.
func (i *Inspector) behave(q *request, record *appliance.Call, said rules.Decision) rules.Decision {
	if i.behaviour == nil || record.Direction != appliance.Outbound || said.Reason == appliance.ReasonEmergency {
		return said
	}
	ruling := i.behaviour.Begin(rules.Attempt{
		ID: record.ID, Key: strings.Join([]string{q.CallID(), q.fromTag, said.Number}, "\x00"),
		Account: placedBy(q, record), Claims: i.claims(q, record), Forwarded: record.Forwarded, Said: said,
	})
	if ruling.Verdict == said.Verdict && ruling.Reason == said.Reason {
		return said
	}
	said.Verdict, said.Reason, said.Why = ruling.Verdict, ruling.Reason, ruling.Why
	if ruling.Rule != "" {
		said.Rule, said.List = ruling.Rule, "fraud"
	}
	record.Verdict, record.Reason, record.Rule, record.List, record.Why = said.Verdict, said.Reason, said.Rule, said.List, said.Why
	return said
}

// placedBy is whom a call counts for: the extension that the PBX names, which is the
// site's own, for the PBX's account at the trunk is that of all of them; else the
// account that the call was attributed to, else the address. What anybody else
// writes into From is a label.
func placedBy(q *request, record *appliance.Call) string {
	switch {
	case q.who.pbx && record.From != "":
		return q.fromAddr.URI.Account()
	case record.Account != "":
		return record.Account
	}
	return q.from.remote.Addr().String()
}

// claims are the other names of whoever places a call: the account that he says he
// is, proven or not, the name in his credentials, and his address. After a restart nobody is registered and little
// is proven, and a toll-block holds all the same.
func (i *Inspector) claims(q *request, record *appliance.Call) []string {
	if q.who.pbx {
		return nil
	}
	names := []string{q.from.remote.Addr().String()}
	c := credentials(q.Message)
	if c != nil {
		names = append(names, strings.Clone(usernameAt(c, i.registrarOf(q))))
	}
	if c != nil || record.Account == "" {
		names = append(names, strings.Clone(i.accountOf(q, c)))
	}
	return names
}

// over tells the behaviour engine that a call has ended.
func (s *calls) over(record *appliance.Call) {
	if s.behaviour == nil {
		return
	}
	if record.Direction == appliance.Outbound {
		s.behaviour.Ended(record.ID, record.Status == 401 || record.Status == 407)
		return
	}
	rang := record.End.Sub(record.Start)
	if !record.Answer.IsZero() {
		rang = record.Answer.Sub(record.Start)
	}
	// Whoever called is called back under the number that this dials.
	said := s.current().Call(rules.Call{URI: record.From, Direction: appliance.Outbound, Use: rules.UseCall})
	s.behaviour.Inbound(said.Number, rang, !record.Answer.IsZero())
}

// digestOf reads the credentials of a request for the audit of passwords.
func digestOf(m *message.Message) (audit.Digest, bool) {
	for _, name := range [...]string{"Authorization", "Proxy-Authorization"} {
		for _, value := range m.All(name) {
			fields, ok := digestFields(value)
			if !ok || fields.get("username") == "" {
				continue
			}
			return audit.Digest{
				Username: strings.Clone(fields.get("username")), Realm: strings.Clone(fields.get("realm")), Nonce: strings.Clone(fields.get("nonce")),
				Method: m.Method, URI: strings.Clone(fields.get("uri")), Algorithm: strings.Clone(fields.get("algorithm")), QOP: strings.Clone(fields.get("qop")),
				NC: strings.Clone(fields.get("nc")), CNonce: strings.Clone(fields.get("cnonce")), Body: m.Body, Response: strings.Clone(fields.get("response")),
			}, true
		}
	}
	return audit.Digest{}, false
}
