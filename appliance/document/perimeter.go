package document

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
)

// What both documents say of the perimeter in the same words. Each type has a
// raw twin, which is its JSON.

// Feed names a deny feed and how to read it. The content is fetched or imported,
// not written into a document.
type Feed struct {
	Name      string // also the name of its file: lower-case letters, digits, inner hyphens
	Format    feed.Format
	Countries []string      // ISO 3166-1 alpha-2, for a registry's statistics alone
	URL       string        // https; empty where it is imported by hand
	Every     time.Duration // whole hours between two fetches; zero without URL
}

// RawFeed is a Feed in JSON.
type RawFeed struct {
	Name      string   `json:"name"`
	Format    string   `json:"format"`
	Countries []string `json:"countries"`
	URL       string   `json:"url,omitempty"`
	Every     string   `json:"every,omitempty"`
}

// Tunnel is a network whose hosts may send IP in IP and GRE to the WAN.
type Tunnel struct {
	Name    string
	Network netip.Prefix
}

// RawTunnel is a Tunnel in JSON.
type RawTunnel struct {
	Name    string `json:"name"`
	Network string `json:"network"`
}

// Limit is what one source may send to a service: PerSecond packets on average,
// Burst at once. The zero Limit is none.
type Limit struct {
	PerSecond uint32
	Burst     uint32 // at least 1 where there is a limit
}

// Limits are those of each service.
type Limits struct {
	SIP  Limit
	HTTP Limit
	Open Limit
}

// RawLimit is a Limit in JSON.
type RawLimit struct {
	PerSecond int `json:"per_second"`
	Burst     int `json:"burst"`
}

// RawLimits are Limits in JSON.
type RawLimits struct {
	SIP  RawLimit `json:"sip"`
	HTTP RawLimit `json:"http"`
	Open RawLimit `json:"open"`
}

// maxFeedName is the longest name of a feed: it is a file name, a word of the
// command line, and a label that the gate shows.
const maxFeedName = 32

// Feeds checks a list of feeds. What formats there are, and what countries,
// package feed knows.
func (m *Mistakes) Feeds(field string, raw []RawFeed) []Feed {
	var out []Feed
	taken := make(map[string]bool)
	for i, one := range raw {
		at := fmt.Sprintf("%s[%d]", field, i)
		m.Name(at+".name", one.Name, taken)
		if !FeedName(one.Name) {
			m.Add(at+".name", "want 1 to %d lower-case letters, digits and inner hyphens, like hotspots", maxFeedName)
		}
		m.feedFormat(at, one)
		from, every := m.fetched(at, one)
		out = append(out, Feed{Name: one.Name, Format: feed.Format(one.Format), Countries: one.Countries, URL: from, Every: every})
	}
	return out
}

// FeedName reports whether a feed can be called so.
func FeedName(s string) bool {
	return len(s) >= 1 && len(s) <= maxFeedName && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// feedFormat has an empty feed read in the format: that it is empty is no
// mistake of the document, anything else is.
func (m *Mistakes) feedFormat(at string, raw RawFeed) {
	if raw.Format == "" {
		m.Add(at+".format", "missing: want one of %s", formats())
		return
	}
	_, err := feed.Parse(feed.Format(raw.Format), nil, raw.Countries)
	wrong, ok := errors.AsType[*appliance.Error](err)
	switch {
	case !ok || wrong.Field == "feed":
	case wrong.Field == "format":
		m.Add(at+".format", "%s is no format of feeds: want one of %s", shorten(raw.Format), formats())
	default:
		m.Add(at+"."+wrong.Field, "%s", wrong.Message)
	}
}

func formats() string {
	var names []string
	for _, format := range feed.Formats() {
		names = append(names, string(format))
	}
	return strings.Join(names, ", ")
}

// RawFeeds is the way back.
func RawFeeds(list []Feed) []RawFeed {
	out := []RawFeed{}
	for _, one := range list {
		out = append(out, RawFeed{one.Name, string(one.Format), append([]string{}, one.Countries...), one.URL, hours(one.Every)})
	}
	return out
}

// Tunnels checks a list of tunnel peers.
func (m *Mistakes) Tunnels(field string, raw []RawTunnel) []Tunnel {
	var out []Tunnel
	taken := make(map[string]bool)
	for i, one := range raw {
		at := fmt.Sprintf("%s[%d]", field, i)
		name := m.Name(at+".name", one.Name, taken)
		out = append(out, Tunnel{Name: name, Network: m.Network(at+".network", one.Network)})
	}
	return out
}

// RawTunnels is the way back.
func RawTunnels(list []Tunnel) []RawTunnel {
	out := []RawTunnel{}
	for _, one := range list {
		out = append(out, RawTunnel{one.Name, one.Network.String()})
	}
	return out
}

// maxRate bounds both numbers of a limit: no line that this box stands on brings
// more packets a second, and the gate counts in whole nanoseconds.
const maxRate = 1_000_000

// Limits checks the limits of every service.
func (m *Mistakes) Limits(field string, raw RawLimits) Limits {
	return Limits{
		SIP:  m.limit(field+".sip", raw.SIP),
		HTTP: m.limit(field+".http", raw.HTTP),
		Open: m.limit(field+".open", raw.Open),
	}
}

// limit takes a second's worth for the burst where none is given, so that one
// number is enough to set a limit.
func (m *Mistakes) limit(field string, raw RawLimit) Limit {
	switch {
	case raw.PerSecond < 0 || raw.PerSecond > maxRate:
		m.Add(field+".per_second", "want packets a second from 1 to %d, or 0 for no limit", maxRate)
	case raw.Burst < 0 || raw.Burst > maxRate:
		m.Add(field+".burst", "want packets at once from 1 to %d, or 0 for as many as in a second", maxRate)
	case raw.PerSecond == 0 && raw.Burst > 0:
		m.Add(field+".burst", "without per_second there is no limit: leave it out, or name both")
	case raw.Burst == 0:
		raw.Burst = raw.PerSecond
	}
	return Limit{PerSecond: uint32(raw.PerSecond), Burst: uint32(raw.Burst)}
}

// RawLimitsOf is the way back.
func RawLimitsOf(l Limits) RawLimits {
	raw := func(one Limit) RawLimit { return RawLimit{int(one.PerSecond), int(one.Burst)} }
	return RawLimits{raw(l.SIP), raw(l.HTTP), raw(l.Open)}
}

// DNSNames checks names whose present addresses stand for a provider:
// "sip.example.net", or a service such as "_sip._udp.example.net" (RFC 2782).
func (m *Mistakes) DNSNames(field string, list []string) []string {
	taken := make(map[string]bool)
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case s == "":
			m.Add(at, "missing")
		case s != strings.ToLower(s):
			m.Add(at, "write it in lower case: %s", shorten(strings.ToLower(s)))
		case !dnsName(s):
			m.Add(at, "%s is not a DNS name; write it like sip.example.net or _sip._udp.example.net", shorten(s))
		case taken[s]:
			m.Add(at, "%s is given twice", s)
		}
		taken[s] = true
	}
	return list
}

// dnsName takes a fully qualified name, or a service's two labels before one.
func dnsName(s string) bool {
	if service, rest, found := strings.Cut(s, "."); found && strings.HasPrefix(service, "_") {
		protocol, host, found := strings.Cut(rest, ".")
		return found && strings.HasPrefix(protocol, "_") && len(s) <= maxDomain &&
			label(service[1:]) && label(protocol[1:]) && qualified(host)
	}
	return qualified(s)
}

// qualified leaves out names of one label: what they stand for depends on who
// looks them up.
func qualified(s string) bool { return strings.Contains(s, ".") && Domain(s) }

// maxDomain and maxLabel are the longest in text: RFC 1035, section 2.3.4.
const (
	maxDomain = 253
	maxLabel  = 63
)

// Domain follows RFC 1123, section 2.1, in lower case: labels of letters, digits
// and inner hyphens. A last label of digits only would be read as an address by
// some parsers.
func Domain(s string) bool {
	if len(s) > maxDomain {
		return false
	}
	last := ""
	for part := range strings.SplitSeq(s, ".") {
		if !label(part) {
			return false
		}
		last = part
	}
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

func label(s string) bool {
	return len(s) >= 1 && len(s) <= maxLabel && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
