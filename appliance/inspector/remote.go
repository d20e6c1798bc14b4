package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Telephones on the WAN that a document lets register: teleworkers of a PBX behind
// the box, or of a provider where there is no PBX. What they send goes to the PBX,
// which asks them who they are; what the PBX sends them goes where they registered
// from.

// fromRemote reports whether a telephone on the WAN names the address that it
// speaks from, or a private one behind its own NAT, as the place where it wants to
// be reached. Either only labels it.
func (q *request) fromRemote(uri message.URI) bool {
	addr, literal := uri.Addr()
	return q.who.remote && literal && (addr == q.from.remote.Addr() || addr.IsPrivate())
}

// remoteBinding returns the binding of a telephone on the WAN that the PBX calls by
// its alias, nil for any other request.
func (i *Inspector) remoteBinding(q *request, uri message.URI) *binding {
	if !q.who.pbx {
		return nil
	}
	b := i.bindings.alias(uri.User, q.at)
	if b == nil || !i.ownHost(uri) || !partyOf(q.sip, b.flow.remote).remote {
		return nil
	}
	return b
}

// toRemote judges a call of the PBX to a telephone that registered with it: it is
// an internal one, wherever the telephone stands.
func (i *Inspector) toRemote(q *request, uri message.URI, use rules.Use) (rules.Decision, bool) {
	if use != rules.UseCall && use != rules.UseMessage {
		return rules.Decision{}, false
	}
	b := i.remoteBinding(q, uri)
	if b == nil {
		return rules.Decision{}, false
	}
	return rules.Decision{Verdict: appliance.Allow, Reason: appliance.ReasonInternal, Dialled: b.account, Label: "registered from the WAN"}, true
}

// office reports whether a request is that of a telephone on the WAN whose
// extensions, names and way out are the PBX's.
func (q *request) office() bool { return q.who.remote && q.sip.PBX.Address.IsValid() }

// ofOffice writes the domain that a telephone on the WAN knows its PBX by as the
// PBX's address: an extension or a name of its is internal there, and a number is
// read as the first trunk does. Whoever says so, the request goes to the PBX and
// nowhere else (see inner). Any other host stays what it is.
func (q *request) ofOffice(uri message.URI) message.URI {
	if q.office() && uri.Scheme == "sip" && uri.Host == q.fromAddr.URI.Host {
		uri.Host, uri.Port = q.sip.PBX.Address.Addr().String(), 0
	}
	return uri
}

// atOffice writes an allowed callee of such a telephone at a host of its PBX's: at the
// trunk's domain, the PBX or the telephone would call the provider with it. The
// boolean is false where it can't be written plainly: see plainUser.
func atOffice(said rules.Decision, host string, port uint16) (string, bool) {
	if strings.HasPrefix(said.Dialled, "urn:") {
		return said.Dialled, true
	}
	user, plain := plainUser(message.URI{User: said.Dialled})
	return message.URI{Scheme: "sip", User: user, Host: host, Port: port}.String(), plain && host != ""
}

// remoteCall sends a request of a telephone on the WAN to the PBX. The number was
// judged already; what the PBX makes of it is judged again on its way to a trunk.
func (i *Inspector) remoteCall(q *request) (destination, refusal) {
	user, plain := plainUser(*q.uri)
	if !plain {
		return destination{}, noUser
	}
	return i.toPBX(q, user)
}
