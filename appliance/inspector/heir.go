package inspector

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// keptBinding is a binding as it outlives an inspector: a telephone that registers
// by the hour can be called after a restart, and after a change of the listening
// addresses where its own is still one of them. Those of TCP and TLS are not kept,
// for such a telephone sees its connection end, and registers.
type keptBinding struct {
	Alias   string         `json:"alias"`
	Account string         `json:"account"`
	Contact string         `json:"contact"`
	Plain   bool           `json:"plain,omitempty"`
	Local   netip.AddrPort `json:"local"`
	Remote  netip.AddrPort `json:"remote"`
	Expires time.Time      `json:"expires"`
}

// kept returns the bindings in force that can be kept, by alias.
func (s *bindings) kept(now time.Time) []keptBinding {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []keptBinding
	for _, b := range s.all {
		if b.flow.transport != settings.UDP || !now.Before(b.expires) {
			continue
		}
		out = append(out, keptBinding{
			Alias: b.alias, Account: b.account, Contact: b.contact.String(), Plain: b.plain,
			Local: b.flow.local, Remote: b.flow.remote, Expires: b.expires.UTC().Truncate(time.Second),
		})
	}
	slices.SortFunc(out, func(a, b keptBinding) int { return cmp.Compare(a.Alias, b.Alias) })
	return out
}

// inherit takes over what the inspector before, or the one before a restart, knew
// of who is registered. What the rules or the sockets have no place for is left.
func (i *Inspector) inherit() {
	now, sip := i.now(), i.current().SIP()
	for _, one := range i.watch.registrations(now) {
		if b := i.heir(&sip, one); b != nil && now.Before(b.expires) {
			i.bindings.learn(b)
		}
	}
	i.watch.bindings.Store(i.bindings)
}

func (i *Inspector) heir(sip *rules.SIP, one keptBinding) *binding {
	contact, err := message.ParseURI(one.Contact)
	if err != nil || contact.Scheme != "sip" && contact.Scheme != "sips" || partyOf(sip, one.Remote).side == stranger {
		return nil
	}
	by, found := i.door.listening(one.Local, one.Remote)
	if partyOf(sip, one.Local).side == outside { // it spoke to a provider, and was intercepted
		var err error
		by, found, err = i.door.inNameOf(settings.UDP, one.Local, one.Remote)
		found = found && err == nil && by.local == one.Local
	}
	if !found {
		return nil
	}
	return &binding{alias: one.Alias, account: one.Account, contact: contact, plain: one.Plain, flow: by, expires: one.Expires}
}

// listening is the flow to a neighbour that a datagram from it to a listening address
// would have come by.
func (d *door) listening(local, remote netip.AddrPort) (flow, bool) {
	for _, socket := range d.sockets {
		bound := socket.bound
		// An address that DHCP brings may be later than the start.
		anyOf := bound.Addr().IsUnspecified() && bound.Port() == local.Port() && bound.Addr().Is4() == local.Addr().Is4()
		if bound == local || anyOf {
			return flow{transport: settings.UDP, local: local, remote: remote, socket: socket}, true
		}
	}
	return flow{}, false
}
