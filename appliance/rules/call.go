package rules

import (
	"net/netip"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/dialplan"
)

// Call judges one would-be callee. Emergency numbers pass first; then the worst
// verdict over every number that the dialled string can mean. It takes no lock
// and does no I/O. A nil Rules lets nothing but emergency numbers pass.
//
// A host is an address or domain of a trunk, the PBX's, or empty. The inspector
// asks with the trunk's host where a message names the box's own.
func (r *Rules) Call(c Call) Decision {
	target, err := dialplan.Parse(c.URI)
	if r == nil || r.calls.plan == nil {
		return withoutRules(target)
	}
	j := judgement{calls: &r.calls, decision: Decision{Dialled: target.Dialled}}
	j.place(c.Trunk, target.Host)
	j.read(target)
	switch {
	case j.emergency():
	case err != nil:
		j.refuse(appliance.ReasonUnreadableNumber, problem(err))
	case c.Direction == appliance.Inbound:
		j.decision.Verdict, j.decision.Reason = appliance.Allow, appliance.ReasonInbound
	case target.MAddr, j.foreign:
		j.refuse(appliance.ReasonForeignHost, "")
	case c.Trunk != "" && j.trunk == nil:
		j.refuse(appliance.ReasonNoTrunk, "")
	case target.Name:
		j.name(target.Dialled)
	case j.unreadable != nil:
		j.refuse(appliance.ReasonUnreadableNumber, problem(j.unreadable))
	default:
		j.worst()
	}
	j.misdial()
	return j.decision
}

// withoutRules lets the emergency numbers of every supported country pass: a
// box that has lost its documents does not know where it stands.
func withoutRules(target dialplan.Target) Decision {
	d := Decision{Dialled: target.Dialled, Reason: appliance.ReasonNoRules}
	if dialplan.EmergencyAnywhere(target) {
		if target.Local != "" && !target.Service {
			d.Dialled = target.Local
		}
		d.Verdict, d.Reason = appliance.Allow, appliance.ReasonEmergency
		d.Number, d.Class, d.Label = d.Dialled, dialplan.ClassEmergency, "Emergency service"
	}
	return d
}

func problem(err error) string {
	return strings.TrimPrefix(err.Error(), "read dialled string: ")
}

// judgement is one call being judged.
type judgement struct {
	calls      *calls
	trunk      *trunk
	pbx        bool // the host is the PBX
	foreign    bool // the host is nobody's
	unreadable error
	decision   Decision
}

func (j *judgement) refuse(reason appliance.Reason, why string) {
	j.decision.Verdict, j.decision.Reason, j.decision.Why = appliance.Block, reason, why
}

// place finds the trunk, and whose the host is.
func (j *judgement) place(name, host string) {
	host = canonicalHost(host)
	switch {
	case host == "":
	case host == j.calls.pbx:
		j.pbx = true
	default:
		j.trunk = j.calls.trunkAt(host)
		j.foreign = j.trunk == nil
	}
	if name != "" {
		j.trunk = j.calls.trunkNamed(name)
	} else if j.trunk == nil && len(j.calls.trunks) > 0 {
		j.trunk = &j.calls.trunks[0]
	}
	if j.trunk != nil {
		j.decision.Trunk = j.trunk.name
	}
}

// canonicalHost gives an address literal its one spelling, so that hosts can be
// compared as text.
func canonicalHost(host string) string {
	if host == "" || (host[0] > '9' && strings.IndexByte(host, ':') < 0) {
		return host // a name: spare it the parser
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String()
	}
	return host
}

// read fills in the candidates, each with its own verdict.
func (j *judgement) read(target dialplan.Target) {
	if target.Dialled == "" {
		return
	}
	far := dialplan.Far{National: true, Extensions: j.pbx || j.calls.pbx == ""}
	if j.trunk != nil {
		far.National, far.E164 = j.trunk.national, j.trunk.e164
	}
	reading, err := j.calls.plan.Read(target, far)
	j.unreadable = err
	j.decision.Dialled = reading.Dialled
	if len(reading.Candidates) > 0 {
		j.decision.Candidates = make([]Judged, len(reading.Candidates))
	}
	for i, candidate := range reading.Candidates {
		j.decision.Candidates[i] = j.calls.judge(candidate)
	}
}

// emergency decides for an emergency number, whatever else is wrong.
func (j *judgement) emergency() bool {
	for i := range j.decision.Candidates {
		if one := &j.decision.Candidates[i]; one.Reason == appliance.ReasonEmergency {
			j.decide(one)
			return true
		}
	}
	return false
}

// name decides for a SIP name. Names cost nothing, and mean something only to
// the PBX, or to a trunk that is a hosted PBX.
func (j *judgement) name(name string) {
	const most = 4 // digits; more may be somebody's number
	digits := 0
	for i := range len(name) {
		if name[i] >= '0' && name[i] <= '9' {
			digits++
		}
	}
	if digits > most {
		j.refuse(appliance.ReasonUnknownNumber, "a name that holds a number")
		return
	}
	if !j.pbx && j.calls.pbx != "" {
		j.refuse(appliance.ReasonUnknownNumber, "a name is no telephone number")
		return
	}
	j.internal()
}

func (j *judgement) internal() {
	d := &j.decision
	d.Verdict, d.Reason = appliance.Allow, appliance.ReasonInternal
	d.Number, d.Class = d.Dialled, dialplan.ClassInternal
}

// worst decides by the strictest candidate that means anything. Candidates
// that no network could connect (ClassUnknown) decide only among themselves,
// and neither they nor doubtful ones ever allow.
func (j *judgement) worst() {
	var allowed, blocked, unknown *Judged
	for i := range j.decision.Candidates {
		one := &j.decision.Candidates[i]
		switch {
		case one.Class == dialplan.ClassUnknown:
			if unknown == nil || (unknown.Reason == appliance.ReasonUnknownNumber && one.Reason != unknown.Reason) {
				unknown = one
			}
		case one.Verdict == appliance.Block:
			if blocked == nil {
				blocked = one
			}
		case allowed == nil && !one.Doubtful:
			allowed = one
		}
	}
	if blocked == nil && allowed == nil && j.ownToPBX(unknown) {
		j.internal()
		return
	}
	for _, one := range []*Judged{blocked, allowed, unknown} {
		if one != nil {
			j.decide(one)
			return
		}
	}
	j.refuse(appliance.ReasonUnknownNumber, "")
}

// shortest is the least that an E.164 number has with its country code.
const shortest = 7

// ownToPBX reports whether the dialled string is short, aimed at the PBX, and
// nothing that any list or network knows: an extension or group of its own. What
// the PBX makes of it is judged again when it leaves.
func (j *judgement) ownToPBX(unknown *Judged) bool {
	d := j.decision.Dialled
	return j.pbx && len(d) < shortest && d[0] != '+' && (unknown == nil || unknown.Reason == appliance.ReasonUnknownNumber)
}

// misdial says where a blocked number would be a local one without its
// international prefix: +252 61 5550 is 02 5261 5550 in Sydney.
func (j *judgement) misdial() {
	if d := &j.decision; d.Verdict == appliance.Block && d.Class == dialplan.ClassInternational {
		d.Local = j.calls.plan.Local(d.Number)
	}
}

func (j *judgement) decide(one *Judged) {
	d := &j.decision
	d.Verdict, d.Reason = one.Verdict, one.Reason
	d.Number, d.Class, d.Label = one.Number, one.Class, one.Label
	d.Rule, d.List, d.Why = one.Rule, one.List, one.Why
}
