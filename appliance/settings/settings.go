// Package settings is the installer's document: where the box stands, what it
// is wired to, and what the site adds to the provider's policy. Whether the
// policy grants an addition is decided in package rules, never here.
//
// The package is paper: it decodes, validates and encodes bytes that somebody
// else read. It never imports policy.
package settings

import (
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
)

// Schema is the document version that this package reads and writes.
const Schema = 1

// Settings is a valid installer's document. Build one with Decode or Default.
type Settings struct {
	Site         Site
	Network      Network
	SIP          SIP
	Trunks       []Trunk
	Admins       []Admin
	Tunnels      []document.Tunnel // peers of tunnels that end on the WAN
	Ports        Ports
	Feeds        []document.Feed // besides those of the policy
	Limits       document.Limits // at most those of the policy
	Bans         Bans
	Egress       []Pass // what the egress lock lets pass besides
	Media        Media
	Accounts     []document.Account // who may register, and from where; others from the LAN only
	Guard        document.Guard     // what is zero is left to the policy
	HEP          HEP
	Destinations Destinations
	Fraud        Fraud
	Notify       Notify
}

// Site says where the box stands and how people there dial.
type Site struct {
	Name         string
	Country      string   // ISO 3166-1 alpha-2 of a supported home country
	AreaCode     string   // digits that a local number lacks, without trunk prefix ("2" in Sydney)
	AccessDigits []string // outside-line prefixes that the PBX may leave on ("0", "9")
	Extensions   int      // digits of an internal number, 2 to 6; 0 where there are none
}

// Network names the ports of the box and what lies behind them.
type Network struct {
	WAN []string       // interfaces that the gate guards
	LAN []netip.Prefix // sources that may use the inspector as outbound proxy
}

// SIP sets the inspector's listeners and its answers.
type SIP struct {
	Listen  []netip.AddrPort // UDP and TCP; empty means ports 5060 and 50600 on every address
	TLS     Secure
	PBX     Peer // where inbound calls go; zero where phones register directly
	Refusal int  // 403 or 603
	// Transparent are the LAN interfaces whose SIP is intercepted on its way to the
	// WAN; none where telephones name the box as their outbound proxy.
	Transparent []string

	Messages Messages // which calls' messages are kept
}

// Secure is how the box listens for TLS. The zero value has no listener, unless
// SIP.Listen is empty too: that means port 5061 on every address.
type Secure struct {
	On          bool             // the document has a sip.tls
	Listen      []netip.AddrPort // empty means port 5061 on the addresses of SIP.Listen, or on every address
	Certificate string           // PEM file; empty for the box's own, which it signs itself
	Key         string           // PEM file of the certificate's key
	Clients     string           // PEM file of the CAs that the LAN's clients must show a certificate of; empty asks for none
}

// Identity is how one neighbour is known over TLS, and how the box is known to
// it.
type Identity struct {
	CA          string // PEM file of the CAs to trust; empty for those of the system
	Name        string // what the neighbour's certificate must name instead of its domain or address
	Certificate string // PEM file to show where the neighbour asks; empty shows none
	Key         string // PEM file of the certificate's key
}

// Peer is a SIP neighbour on the LAN. The zero value means none.
type Peer struct {
	Address   netip.AddrPort
	Transport Transport
	TLS       Identity
}

// Transport is "udp", "tcp" or "tls"; a trunk's may be empty.
type Transport string

// The transports that a peer or trunk can be reached over.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// Trunk is one line to a SIP provider.
type Trunk struct {
	Name      string
	Domain    string         // SIP domain in Request-URI and To, lower case; or an address literal
	Address   netip.AddrPort // next hop; not valid where Host is the next hop
	Host      string         // DNS name of the next hop; empty where Address is
	Port      uint16         // of Host; 0 means that SRV records say
	Transport Transport      // empty means that NAPTR records of Host say
	TLS       Identity
	Fallback  []string       // names of the trunks that take over where this one is down
	Probe     time.Duration  // how long it may be idle before OPTIONS asks whether it is there; 0 never asks
	Networks  []netip.Prefix // where its signalling comes from, besides Address
	Names     []string       // and the present addresses of these: "sip.example.net", "_sip._udp.example.net"
	Formats   []NumberFormat // how the provider reads what is sent to it
}

// Locator says where the trunk is to be looked for in the DNS. The boolean is
// false where its next hop is an address.
func (t Trunk) Locator() (appliance.Locator, bool) {
	return appliance.Locator{Host: t.Host, Port: t.Port, Transport: string(t.Transport)}, t.Host != ""
}

// NumberFormat is one way in which a trunk reads a dialled string.
type NumberFormat string

// The number formats. A trunk without any reads FormatPlus, FormatInternational
// and FormatNational.
const (
	FormatPlus          NumberFormat = "plus"          // +61252615550
	FormatInternational NumberFormat = "international" // 001161252615550
	FormatNational      NumberFormat = "national"      // 0252615550
	FormatE164          NumberFormat = "e164"          // 61252615550
)

// Admin is a network on the WAN whose hosts may reach HTTP ports, and SIP ports
// where SIP says so.
type Admin struct {
	Name    string
	Network netip.Prefix
	SIP     bool
}

// Ports are guarded besides those of the policy.
type Ports = document.Ports

// Bans says what a ban can do.
type Bans struct {
	// SpareAllowed has every allowed source beat a ban. Providers and trunks do
	// so in any case.
	SpareAllowed bool
}

// Media says what becomes of media that no call negotiated.
type Media struct {
	Guard MediaGuard
}

// MediaGuard is what the gate does about RTP from the internet that belongs to no
// call, and that nobody inside asked for.
type MediaGuard string

// The media guards.
const (
	MediaOff     MediaGuard = "off"
	MediaObserve MediaGuard = "observe" // it passes, and is told of; the default
	MediaEnforce MediaGuard = "enforce" // it is dropped
)

// Destinations tighten the policy (Block) or, inside its grants, except from it
// (Allow).
type Destinations struct {
	Block []Destination
	Allow []Exception
}

// Destination is an E.164 prefix with a leading plus, and why.
type Destination struct {
	Prefix string
	Reason string
}

// Exception lets a prefix pass that a list blocks. Until is zero for no end.
type Exception struct {
	Prefix string
	Reason string
	Until  time.Time
}
