// Package rules compiles the provider's policy and the installer's settings
// into one immutable value, the only thing that ever judges. The eBPF maps and
// the inspector's tables are projections of it; Packet and Call are the
// reference model of both.
package rules

import (
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Rules is one compiled (policy, settings) pair. It is immutable and safe for
// concurrent use. The zero Rules, and a nil *Rules, refuse everything guarded.
type Rules struct {
	digest   string
	guard    Guard
	sip      SIP
	lock     Lock
	calls    calls
	fraud    fraud.Config
	ownRates bool
	expires  time.Time
	edition  Edition
}

// Service is what a source may reach. A Source's Services is a set of
// 1<<Service bits.
type Service uint8

const (
	// ServiceSIP and ServiceHTTP are shut to all but allowed sources.
	ServiceSIP Service = iota
	ServiceHTTP
	// ServiceOpen is open to the internet, except to sources on a deny feed.
	ServiceOpen
	// ServiceTunnel is IPv4 or IPv6 in IP (protocols 4 and 41) and GRE (47),
	// shut to all but allowed peers. It has no ports.
	ServiceTunnel
	Services // how many there are
)

// Guard is the perimeter: what the gate projects into the kernel.
type Guard struct {
	// Ports are guarded in every transport protocol that has ports; ascending,
	// without repeats; a port has one service.
	Ports   [Services][]uint16
	Sources []Source // the allowlist, ascending by prefix, without repeats
	// Feeds are deny lists, at most MaxFeeds, the one that explains first. They
	// hold for open services and for new TCP connections to any port that is
	// not shut anyway, and never for a source of Sources.
	Feeds []Feed
	// Limits bound what one source (of IPv6: one /64) may send to a service.
	Limits [Services]Limit
	// Media is of datagrams to ports that are in none of Ports.
	Media MediaGuard
}

// MaxFeeds is how many deny feeds a Guard can hold.
const MaxFeeds = 127

// Source is a network and the services that it may reach, with those of every
// Source around it: the longest match of an address decides alone.
type Source struct {
	Prefix   netip.Prefix // masked; IPv4 is never IPv4-mapped
	Services uint8        // bit 1<<Service
	Firm     bool         // no ban touches it
}

// Feed is a deny list with the name that its documents call it by.
type Feed struct {
	Name string
	List feed.List
}

// Limit is a token bucket in packets. The zero Limit is none.
type Limit struct {
	PerSecond uint32 // refill
	Burst     uint32 // size, at least 1 where there is a refill
}

// SIP is the topology that the inspector routes by.
type SIP struct {
	Listen []netip.AddrPort // UDP and TCP; never empty
	Secure []netip.AddrPort // TLS
	LAN    []netip.Prefix
	PBX    settings.Peer
	Trunks []settings.Trunk
	// Targets are where the requests of each trunk of Trunks can be sent, in the
	// same order: the best priority first. A trunk whose name has never resolved
	// has none.
	Targets [][]appliance.Target
	Refusal int // 403 or 603
	// Accounts may register from their sources; any other from the LAN only.
	Accounts []document.Account
	// Remote are the networks on the WAN among those sources; ascending, and none
	// holds another.
	Remote []netip.Prefix
	Guard  document.Guard // nothing in it is zero
	// Intercepted are the ports of other hosts to which SIP is intercepted,
	// ascending; none where transparent mode is off.
	Intercepted []uint16
	// Messages says which calls' messages are kept.
	Messages settings.Messages
}

// Digest names what was compiled: the first 16 hex digits of the SHA-256 over
// both documents in canonical form, without the exceptions that had ended, the
// digests of their feeds and the addresses of their names. The same documents
// and facts at the same time always give the same digest.
func (r *Rules) Digest() string {
	if r == nil {
		return ""
	}
	return r.digest
}

// Expires returns the moment at which an exception ends and the documents must
// be compiled again; zero where none does.
func (r *Rules) Expires() time.Time {
	if r == nil {
		return time.Time{}
	}
	return r.expires
}

// Guard returns the perimeter. The caller must not change its slices.
func (r *Rules) Guard() Guard {
	if r == nil {
		return Guard{}
	}
	return r.guard
}

// Topology returns the topology where it stands, for whoever asks for each message:
// nobody may change anything in it. It is never nil.
func (r *Rules) Topology() *SIP {
	if r == nil {
		return &SIP{}
	}
	return &r.sip
}

// SIP returns the topology. The caller must not change its slices.
func (r *Rules) SIP() SIP {
	if r == nil {
		return SIP{}
	}
	return r.sip
}

// Use says what a number would be used for.
type Use string

// The uses. A redirect is a 3xx Contact, a transfer a Refer-To.
const (
	UseCall     Use = "call"
	UseTransfer Use = "transfer"
	UseRedirect Use = "redirect"
	UseMessage  Use = "message"
)

// Call is the question put to the judge.
type Call struct {
	// URI is the would-be callee exactly as it stands in the message, without
	// angle brackets: "sip:0011252...@host;user=phone", "tel:+252-61...".
	// A bare dialled string as a person types it is accepted too.
	URI string
	// Direction is Outbound for anything that leaves the LAN.
	Direction appliance.Direction
	// Use is what the number would be used for.
	Use Use
	// From is the caller's extension, a label that never decides.
	From string
	// Trunk names the trunk that would carry the call, or is empty where the
	// judge shall choose: the first one whose domain is the URI's host, else the
	// first.
	Trunk string
}

// Decision is the judge's answer with its whole trail. The zero Decision
// blocks.
type Decision struct {
	Verdict appliance.Verdict `json:"verdict"`
	Reason  appliance.Reason  `json:"reason"`
	// Dialled is the canonical dialled string, the only form that may be sent
	// on: decoded, without visual separators, parameters or post-dial digits.
	Dialled string         `json:"dialled"`
	Number  string         `json:"number"` // the candidate that decided
	Class   dialplan.Class `json:"class"`
	Label   string         `json:"label"`
	Rule    string         `json:"rule"` // the prefix that matched, such as +252
	List    string         `json:"list"` // high-risk, policy or settings
	Why     string         `json:"why"`  // the entry's reason, for a person
	// Local is how a blocked number abroad would be dialled if it were one of the
	// home country that got an international prefix by mistake; else empty.
	Local      string   `json:"local,omitempty"`
	Trunk      string   `json:"trunk"`
	Candidates []Judged `json:"candidates"` // every number that the string can mean, at most two dozen
}

// Costly reports whether the call is allowed by an exception only, to a number
// abroad: what a list would have blocked is dear, and a site that needs it does not
// need it for hours.
func (d Decision) Costly() bool {
	return d.Verdict == appliance.Allow && (d.Reason == appliance.ReasonException || d.Reason == appliance.ReasonReleased) && d.Class != dialplan.ClassNational
}

// Judged is one candidate with its own verdict.
type Judged struct {
	dialplan.Candidate
	Verdict appliance.Verdict `json:"verdict"`
	Reason  appliance.Reason  `json:"reason"`
	Rule    string            `json:"rule"`
	List    string            `json:"list"`
	Why     string            `json:"why"`
}
