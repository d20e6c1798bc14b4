// Package policy is the provider's document: what is guarded, who is a
// provider, which destinations are blocked, and what the installer's settings
// may add. It is a floor: settings tighten it, add inside its grants, and never
// loosen it.
//
// The package is paper: it decodes, validates and encodes bytes that somebody
// else read. It never imports settings.
package policy

import (
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance/document"
)

// Schema is the document version that this package reads and writes.
const Schema = 1

// Policy is a valid provider's document. Build one with Decode or Builtin.
type Policy struct {
	Serial       uint64    // rises with every edition, 0 for the built-in one
	Issuer       string    // who wrote it, for display
	Issued       time.Time // when, for display
	Ports        Ports     // guarded ports; settings may add to them
	Providers    []Provider
	Admins       []Admin
	Tunnels      []document.Tunnel  // peers of tunnels that end on the WAN
	Feeds        []document.Feed    // must be in force; settings may add to them
	Limits       document.Limits    // settings may lower them
	Accounts     []document.Account // who may register, and from where; settings may narrow it
	Guard        document.Guard     // settings may tighten it; what is zero is built in
	Destinations Destinations
	Fraud        Fraud
	// OpaqueTLS lets SIP over TLS that nobody can look into pass from the LAN, to the
	// addresses of trunks only. Otherwise it is dropped.
	OpaqueTLS bool
	Grants    Grants
}

// Ports are destination ports, of every transport protocol alike. Only allowed
// sources reach those for SIP and HTTP from the WAN; the open ones are open to
// the internet except to what stands on a feed.
type Ports = document.Ports

// Provider is a SIP provider and where its signalling comes from: networks, and
// the present addresses of DNS names. There is at least one of them.
type Provider struct {
	Name     string
	Networks []netip.Prefix
	Names    []string // "sip.example.net", or SRV: "_sip._udp.example.net"
}

// Admin is a network whose hosts may reach HTTP ports from the WAN, and SIP
// ports too where SIP says so.
type Admin struct {
	Name    string
	Network netip.Prefix
	SIP     bool
}

// Destinations says where calls may not go. Prefixes are E.164 with a leading
// plus ("+252", "+6119"). The longest matching prefix decides. On the same
// prefix Block wins over Allow, and Allow over the built-in list.
type Destinations struct {
	HighRisk bool // the built-in high-risk list applies
	Block    []Destination
	Allow    []Destination
}

// Destination is one prefix and the reason that a person reads.
type Destination struct {
	Prefix string
	Reason string
}

// Grants are what local settings may add to the policy. The zero value grants
// nothing.
type Grants struct {
	Providers bool // trunks and SIP sources of the installer's own
	Admins    bool // HTTP sources on the WAN
	AdminSIP  bool // SIP for those admins
	Tunnels   bool // peers of tunnels that end on the WAN
	Fraud     bool // thresholds and limits looser than those here and by default
	Accounts  bool // accounts that register from the WAN
	Guard     bool // a guard that is looser than the policy's
	Egress    bool // telephony other than SIP from the LAN to the internet
	// Exceptions is the shortest prefix, in digits without the plus, that
	// settings may allow against a blocking list: 0 grants none; 7 lets single
	// numbers and small ranges pass but no country; 3 lets a whole country of a
	// three-digit code pass, which is what a box that nobody else manages needs;
	// 1 lets anything pass.
	Exceptions int
}

// Builtin returns the policy of a box that no provider manages: the standard
// ports guarded, the high-risk list on, and every grant given to the installer
// except exceptions of fewer than three digits, which would open several
// countries at once.
func Builtin() Policy {
	return Policy{
		Issuer:       "built in",
		Ports:        Ports{SIP: []uint16{5060, 5061, 50600}, HTTP: []uint16{80, 443, 8080}},
		Destinations: Destinations{HighRisk: true},
		Grants:       Grants{Providers: true, Admins: true, AdminSIP: true, Tunnels: true, Fraud: true, Accounts: true, Guard: true, Egress: true, Exceptions: 3},
	}
}
