package inspector

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/settings"
)

// registerExpiry is the lifetime of a binding whose registrar names none, and
// the longest that is believed (RFC 3261 section 10.2.1.1, one day).
const (
	registerExpiry    = time.Hour
	registerExpiryMax = 24 * time.Hour
)

// register passes a REGISTER from the LAN to the registrar of its trunk, digest
// untouched, with each Contact behind an alias at our own address. What the
// registrar accepts becomes a binding.
func (i *Inspector) register(q *request) {
	if q.who.side != inside {
		i.refuse(q, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonUnknownMethod})
		return
	}
	if i.outsized(q.Message) {
		i.refuse(q, tooLarge)
		return
	}
	if no, bad := extensionRefusal(q); bad {
		i.refuse(q, no)
		return
	}
	where := i.registrar(q)
	if where.name == "" {
		i.unwelcome(q, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonForeignHost, detail: "Request-URI"})
		return
	}
	if !sameTarget(q.fromAddr.URI, q.toAddr.URI) {
		i.unwelcome(q, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonUnknownUser, detail: "third-party registration"})
		return
	}
	account := i.accountOf(q, nil)
	if !q.mayRegister(account) {
		i.unwelcome(q, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonRegistrationSource, detail: account})
		return
	}
	ways, no := i.registrarWays(q, where)
	if no.status != 0 {
		i.refuse(q, no)
		return
	}
	aliases, no := i.aliases(q, account)
	if no.status != 0 {
		i.refuse(q, no)
		return
	}
	i.passRegister(q, ways, &registration{account: account, trunk: where.name, aliases: aliases, all: q.Get("Contact") == "*", undressed: i.undress(q)})
}

func (i *Inspector) passRegister(q *request, ways []way, what *registration) {
	tx, err := i.txs.serve(q.key(q.Method), q.Method, q.back, false)
	if err != nil {
		i.overloaded(q)
		return
	}
	i.sendAlong(q, tx, ways, what.write(q), false, what)
}

// write writes the REGISTER for each registrar that is tried: an alias stands at
// the address of ours that it can reach.
func (g *registration) write(q *request) writer {
	return func(w way, to flow, branch string) *message.Message {
		out := outgoingRequest(q, w.uri, to, branch, nil, nil)
		out.Body = nil
		out.Del("Contact")
		for n := len(g.aliases) - 1; n >= 0; n-- {
			g.aliases[n].address = g.aliases[n].at(to)
			out.Push("Contact", g.aliases[n].address.String())
		}
		if g.all {
			out.Add("Contact", "*")
		}
		return out
	}
}

// registrar is where a REGISTER goes, and under which Request-URI.
type registrar struct {
	name  string // empty for none
	uri   message.URI
	trunk *settings.Trunk // nil for the PBX
}

// registrar returns the trunk whose domain the Request-URI names; the box itself
// stands for the trunk of the To, else for the first. Telephones on the WAN register
// with the PBX, where there is one, under whatever name they know it by: their
// digest holds that name.
func (i *Inspector) registrar(q *request) registrar {
	if q.uri.User != "" || q.uri.Scheme != "sip" && q.uri.Scheme != "sips" {
		return registrar{}
	}
	if pbx := q.sip.PBX; q.who.remote && pbx.Address.IsValid() {
		if !sameDomain(*q.uri, q.toAddr.URI) {
			return registrar{}
		}
		return registrar{pbxRegistrar, message.URI{Scheme: "sip", Host: q.uri.Host, Port: q.uri.Port}, nil}
	}
	if trunk := i.registrarTrunk(q); trunk != nil {
		return registrar{trunk.Name, message.URI{Scheme: "sip", Host: trunk.Domain}, trunk}
	}
	return registrar{}
}

func sameDomain(a, b message.URI) bool { return a.Host == b.Host }

func (i *Inspector) registrarTrunk(q *request) *settings.Trunk {
	host, of := i.normal(q, *q.uri).Host, i.normal(q, q.toAddr.URI).Host
	for n := range q.sip.Trunks {
		if domain := q.sip.Trunks[n].Domain; domain == host && domain == of {
			return &q.sip.Trunks[n]
		}
	}
	if !i.ownHost(*q.uri) {
		return nil
	}
	for n := range q.sip.Trunks {
		if q.sip.Trunks[n].Domain == of {
			return &q.sip.Trunks[n]
		}
	}
	return nil
}

// alias is one Contact of a REGISTER in flight.
type alias struct {
	name    string
	contact message.NameAddr // as the phone sent it
	address message.NameAddr // as the registrar that is tried gets it
	plain   bool             // that is as it was sent
}

// at is the Contact as a registrar reached by to gets it.
func (a alias) at(to flow) message.NameAddr {
	if a.plain {
		return message.NameAddr{URI: plainTarget(a.contact.URI), Params: keepParams(a.contact.Params)}
	}
	return message.NameAddr{URI: ownURI(to, a.name), Params: keepParams(a.contact.Params)}
}

// aliases writes the Contacts of a REGISTER anew. A Contact must lead back to
// its sender or to a neighbour on the LAN; "*" must come with Expires 0 (RFC
// 3261 section 10.2.2).
func (i *Inspector) aliases(q *request, account string) ([]alias, refusal) {
	contacts, star, err := q.Contacts()
	if err != nil || star && q.Get("Expires") != "0" {
		return nil, refusal{status: 400, phrase: "Bad Contact", reason: appliance.ReasonMalformedMessage}
	}
	if len(contacts) > i.bounds.contacts {
		return nil, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonOverload, detail: "too many Contacts"}
	}
	var all []alias
	for _, contact := range contacts {
		addr, literal := contact.URI.Addr()
		if contact.URI.Scheme != "sip" && contact.URI.Scheme != "sips" || !literal || !i.mayRegister(q, addr) {
			return nil, refusal{status: 403, phrase: "Forbidden", reason: appliance.ReasonForeignHost, detail: "Contact"}
		}
		contact.URI.Headers = ""
		name := aliasOf(account, contact.URI)
		all = append(all, alias{name: name, contact: contact, plain: i.keeps(q, name, contact.URI)})
	}
	return all, refusal{}
}

func (i *Inspector) mayRegister(q *request, addr netip.Addr) bool {
	if q.who.remote {
		return addr == q.from.remote.Addr() || behindNAT(addr)
	}
	return addr == q.from.remote.Addr() || i.private(q.sip, addr)
}

// behindNAT reports whether an address is one that a telephone has behind somebody
// else's NAT: a private one, one of a carrier's NAT (RFC 6598 section 7) or of
// 464XLAT (RFC 7335), as mobile networks give out.
func behindNAT(addr netip.Addr) bool {
	return addr.IsPrivate() || carrierNAT.Contains(addr) || translated.Contains(addr)
}

var (
	carrierNAT = netip.MustParsePrefix("100.64.0.0/10")
	translated = netip.MustParsePrefix("192.0.0.0/29")
)

// keepParams keeps the Contact parameters that a registrar needs and drops the
// rest: +sip.instance and reg-id would promise RFC 5626 flows to a box that
// rewrites the address they stand on.
func keepParams(params message.Params) message.Params {
	var kept message.Params
	for _, name := range [...]string{"q", "expires"} {
		if value, ok := params.Get(name); ok {
			kept = kept.Set(name, value)
		}
	}
	return kept
}

// registration is the errand of a REGISTER.
type registration struct {
	account, trunk string
	aliases        []alias
	all            bool // Contact: *
	undressed      bool // it came with credentials that did not go on
	granted        time.Duration
}

// answered implements errand: the phone finds its own Contacts again, and what
// the registrar keeps of other contacts stays with the registrar.
func (g *registration) answered(r *relay, res, out *message.Message) {
	out.Del("Contact")
	if g.undressed {
		stale(out)
	}
	if res.Status/100 != 2 {
		return
	}
	if r.q.who.remote && !r.i.watch.guard.Reliable(r.q.from.remote.Addr()) {
		// Nobody was asked who he is, or the answer did not go to him.
		r.i.tallies.count(appliance.ReasonRegistrationSource)
		g.granted = 0
		return
	}
	now := r.i.now()
	if g.all {
		r.i.bindings.forgetAccount(g.account, r.q.from.remote.Addr())
	}
	granted, _, err := res.Contacts()
	if err != nil {
		return
	}
	if len(granted) == 0 {
		granted = g.assumed(r.q, res)
	}
	for _, one := range g.aliases {
		g.settle(r, one, granted, res.Get("Expires"), out, now)
	}
}

// assumed is what a 2xx without any Contact grants: some registrars answer so,
// although RFC 3261 section 10.3 wants them listed. Those that were to be removed
// are.
func (g *registration) assumed(q *request, res *message.Message) []message.NameAddr {
	var all []message.NameAddr
	for _, one := range g.aliases {
		asked := lifetimeOf(one.contact.Params.Text("expires"), q.Get("Expires"))
		lifetime := lifetimeOf(res.Get("Expires"), strconv.Itoa(int(asked/time.Second)))
		if asked > 0 && lifetime > 0 {
			expires := message.Params("").Set("expires", strconv.Itoa(int(lifetime/time.Second)))
			all = append(all, message.NameAddr{URI: one.address.URI, Params: expires})
		}
	}
	return all
}

// settle enters or removes the binding of one Contact, as the registrar said.
func (g *registration) settle(r *relay, one alias, granted []message.NameAddr, overall string, out *message.Message, now time.Time) {
	for _, grant := range granted {
		if !one.grants(granted, grant) {
			continue
		}
		lifetime := lifetimeOf(grant.Params.Text("expires"), overall, one.contact.Params.Text("expires"), r.q.Get("Expires"))
		if lifetime <= 0 {
			break
		}
		one.contact.Params = grant.Params
		out.Add("Contact", one.contact.String())
		g.granted = max(g.granted, lifetime)
		b := &binding{alias: one.name, account: strings.Clone(g.account), contact: kept(one.contact.URI), plain: one.plain, flow: r.q.from, expires: now.Add(lifetime)}
		if !r.i.bindings.learn(b) {
			r.i.tallies.count(appliance.ReasonOverload)
		}
		return
	}
	r.i.bindings.forget(one.name)
}

// lifetimeOf reads how long a registrar keeps a Contact, from the first of these
// that is there: its own parameter, the response's Expires, what was asked for.
func lifetimeOf(words ...string) time.Duration {
	for _, text := range words {
		if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
			return min(time.Duration(seconds)*time.Second, registerExpiryMax)
		}
	}
	return registerExpiry
}

// ended implements errand.
func (g *registration) ended(r *relay, status int) {
	if r.unreached() {
		r.i.tallies.count(appliance.ReasonNoTrunk)
	}
	if status/100 != 2 || !g.all && len(g.aliases) == 0 {
		return
	}
	if g.granted > 0 && r.i.behaviour != nil {
		r.i.behaviour.Registered(fraud.Registration{Extension: g.account, Source: r.q.from.remote.Addr(), Agent: strings.Clone(r.q.Get("User-Agent")), Local: !r.q.who.remote})
	}
	text := "registered with " + g.trunk + " for " + g.granted.String()
	if g.granted == 0 {
		text = "registration with " + g.trunk + " removed"
	}
	r.i.report(appliance.Event{
		Time: r.i.now(), Kind: appliance.EventRegistration, Verdict: appliance.Allow, Reason: appliance.ReasonDestinationAllowed,
		Source: r.q.from.remote, Subject: g.account, Message: text,
	})
}
