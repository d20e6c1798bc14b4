package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/inspector/guard"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/settings"
)

// pbxRegistrar is the registrar of those who register with the PBX.
const pbxRegistrar = "pbx"

// caller is who is calling, and how that was found out.
type caller struct {
	account string
	by      appliance.Attribution
}

// recorded reports whether a request is recorded as a call.
func (q *request) recorded() bool {
	return q.toTag == "" && (q.Method == "INVITE" || q.Method == "MESSAGE") || q.Method == "REFER"
}

// callerOf finds out who sends a request before the far end has said anything: an
// account whose credentials it accepted from the same address before, else the one
// that is registered from there, else nobody but the address. The From only
// chooses between accounts that are all registered from that very address and port.
func (i *Inspector) callerOf(q *request) caller {
	if q.who.side != inside {
		return caller{"", appliance.AttributionSource}
	}
	if c := credentials(q.Message); c != nil {
		name := i.accountOf(q, c)
		if i.watch.accounts.proven(name, q.from.remote.Addr(), q.at) {
			return caller{name, appliance.AttributionDigest}
		}
	}
	if name := i.bindings.speaking(q.from.remote, q.fromAddr.URI.Account(), q.at); name != "" {
		return caller{name, appliance.AttributionRegistration}
	}
	return caller{"", appliance.AttributionSource}
}

// accountOf names the account of a request: of a registration its address of
// record, else whoever the credentials name, else the label.
func (i *Inspector) accountOf(q *request, c *guard.Credentials) string {
	trunk := i.registrarOf(q)
	switch {
	case q.Method == "REGISTER":
		return q.toAddr.URI.Account() + "@" + domainOf(trunk)
	case c == nil:
		return q.fromAddr.URI.Account() + "@" + domainOf(trunk)
	}
	if known := i.watch.accounts.named(c.User, nameOf(trunk)); known != "" {
		return known
	}
	return usernameAt(c, trunk)
}

// usernameAt is the account that credentials name by themselves.
func usernameAt(c *guard.Credentials, trunk *settings.Trunk) string {
	name := message.URI{User: c.User}.Account()
	if strings.Contains(name, "@") {
		return strings.Clone(name) // an account outlives its message
	}
	return name + "@" + domainOf(trunk)
}

// registrarOf is the trunk that a request belongs to; nil for the PBX's own.
func (i *Inspector) registrarOf(q *request) *settings.Trunk {
	if q.office() || len(q.sip.Trunks) == 0 {
		return nil
	}
	uri := *q.uri
	if q.Method == "REGISTER" {
		uri = q.toAddr.URI
	}
	host := i.normal(q, uri).Host
	for n := range q.sip.Trunks {
		if q.sip.Trunks[n].Domain == host {
			return &q.sip.Trunks[n]
		}
	}
	return &q.sip.Trunks[0]
}

func domainOf(trunk *settings.Trunk) string {
	if trunk == nil {
		return pbxRegistrar
	}
	return trunk.Domain
}

func nameOf(trunk *settings.Trunk) string {
	if trunk == nil {
		return pbxRegistrar
	}
	return trunk.Name
}

// asGuarded is a request as the guard sees it.
func (i *Inspector) asGuarded(q *request) guard.Request {
	c := credentials(q.Message)
	r := guard.Request{
		Source: q.from.remote.Addr(), Standing: guard.Local, Stream: q.from.stream != nil, Method: q.Method,
		Credentials: c, Words: words(q),
	}
	switch {
	case q.who.side == outside:
		r.Standing = guard.Spared
	case q.who.remote:
		r.Standing = guard.Open
	}
	switch {
	case c != nil || q.Method == "REGISTER":
		r.Account = i.accountOf(q, c)
	case q.who.remote: // who is looked for, not who says he looks
		r.Account = q.uri.Account() + "@" + domainOf(i.registrarOf(q))
	}
	return r
}

func words(q *request) guard.Words {
	return guard.Words{
		Agent:    q.Get("User-Agent"),
		Displays: [2]string{q.fromAddr.Display, q.toAddr.Display},
		Users:    [2]string{q.fromAddr.URI.User, q.toAddr.URI.User},
		Hosts:    [2]string{q.fromAddr.URI.Host, q.toAddr.URI.Host},
	}
}

// mayRegister reports whether an account may register from where the request came.
// One that no document names may do so from the LAN.
func (q *request) mayRegister(name string) bool {
	var found *document.Account
	for n := range q.sip.Accounts {
		if names(q.sip.Accounts[n], name) && (found == nil || strings.Contains(q.sip.Accounts[n].User, "@")) {
			found = &q.sip.Accounts[n]
		}
	}
	if found == nil {
		return !q.who.remote
	}
	return found.May(q.from.remote.Addr().WithZone(""), !q.who.remote)
}
