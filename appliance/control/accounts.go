package control

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (s *Server) getAccounts(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	limit := in.limit(r)
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	all := s.inspector.Accounts()
	out := api.Accounts{Total: len(all), Accounts: []appliance.Account{}}
	for _, one := range all[:min(limit, len(all))] {
		out.Accounts = append(out.Accounts, whole(one))
	}
	return out, nil
}

// whole has no list absent.
func whole(one appliance.Account) appliance.Account {
	one.Allowed, one.Sources, one.Registrations = full(one.Allowed), full(one.Sources), full(one.Registrations)
	return one
}

// getAccount finds an account by its whole name, or by the part before the @ where
// that is one account's only.
func (s *Server) getAccount(_ http.ResponseWriter, r *http.Request) (any, error) {
	name := r.PathValue("name")
	var found []appliance.Account
	for _, one := range s.inspector.Accounts() {
		user, _, _ := strings.Cut(one.Name, "@")
		switch {
		case one.Name == name:
			return whole(one), nil
		case user == name:
			found = append(found, one)
		}
	}
	switch len(found) {
	case 1:
		return whole(found[0]), nil
	case 0:
		return nil, &appliance.Error{Code: appliance.CodeNotFound, Field: "name", Message: fmt.Sprintf("no account is called %q", name)}
	}
	return nil, &appliance.Error{Code: appliance.CodeInvalid, Field: "name",
		Message: fmt.Sprintf("more than one account is called %q: %s and %s", name, found[0].Name, found[1].Name)}
}

// getCensus counts the extensions, those first that a person should look at.
func (s *Server) getCensus(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	limit := in.limit(r)
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	all := s.watch.Census(s.inspector.Accounts())
	out := api.Census{Total: len(all), Extensions: []api.Extension{}}
	for _, one := range all {
		if len(one.Oddities) > 0 {
			out.Odd++
		}
	}
	for _, one := range all[:min(limit, len(all))] {
		extension := api.Extension{Name: one.Name, Label: one.Label, First: one.First, Last: one.Last, Called: one.Called, Registered: one.Registered, Oddities: []api.Oddity{}}
		for _, odd := range one.Oddities {
			extension.Oddities = append(extension.Oddities, api.Oddity{Kind: string(odd.Kind), Why: odd.Why})
		}
		out.Extensions = append(out.Extensions, extension)
	}
	return out, nil
}

func (s *Server) getGuard(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	limit := in.limit(r)
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	suspects, total := s.inspector.Suspects(limit)
	for n := range suspects {
		suspects[n].Slowed = full(suspects[n].Slowed)
	}
	return api.Guard{Total: total, Suspects: full(suspects)}, nil
}

// deleteGuard has the guard forget a source that it ignores or slows down. A ban is
// lifted with its own command, which does this too.
func (s *Server) deleteGuard(_ http.ResponseWriter, r *http.Request) (any, error) {
	source, err := suspect(r.PathValue("source"))
	if err != nil {
		return nil, err
	}
	s.inspector.Pardon(source)
	if source.IsSingleIP() {
		s.inspector.Pardon(netip.PrefixFrom(source.Addr(), banBits(source.Addr())).Masked()) // as it is counted on the WAN
	}
	s.control.journal(appliance.Allow, subjectGuard, "what the guard held against "+show(source)+" is forgotten")
	return api.Pardoned{Source: source}, nil
}

// suspect reads a source as the guard counts it: one address, or an IPv6 /64.
func suspect(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if addr, asAddr := netip.ParseAddr(text); asAddr == nil {
		addr = addr.Unmap().WithZone("")
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return netip.Prefix{}, &appliance.Error{Code: appliance.CodeInvalid, Field: "source",
			Message: fmt.Sprintf("%q is not an address; write it like 203.0.113.7 or 2001:db8::/64", text)}
	}
	return prefix.Masked(), nil
}
