// Package feed reads deny feeds: lists of the networks of scanners, botnets and
// hotspots, as others publish them. It owns what a feed may look like and what
// it comes down to: ranges of addresses, and the form in which the box keeps
// them. Of the registries' statistics it also makes an Atlas, which denies nobody
// and only tells the country of an address.
//
// A feed comes from outside and nobody looks at it before it cuts off networks,
// so it is read whole or refused whole, and the refusal names the first line
// that is wrong. Refused is what a damaged or truncated feed looks like: bytes
// that are no text, a network with host bits set, a network wider than any that
// was ever handed out, no entry at all, more entries than the box holds, counts
// that differ from those that the feed itself gives.
//
// Local space never comes out of a feed, whatever stands in it: private,
// carrier-grade NAT, loopback, link-local, multicast, reserved and unspecified
// addresses (see localRanges4). Lists with bogons in them, such as FireHOL's
// level 1, are fit for use as they are, their 224.0.0.0/3 included, and yet no
// list can cut off the network that the box itself stands in. Addresses of
// documentation and benchmarks are not local: nobody lives there.
package feed

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/ringfence/ringfence/appliance"
)

// The bounds of one feed. Both are far above the lists in use, and what a box
// with 1 GB of memory reads without strain.
const (
	MaxEntries = 1_000_000
	MaxSize    = 64 << 20 // bytes
)

// List is what a feed comes down to: ascending, disjoint, and not even adjacent
// ranges of each family. The zero List holds nothing.
type List struct {
	V4      []Range4
	V6      []Range6
	Entries int // as the source counted them: before merging, local ones included; of a registry, those chosen
}

// Format names the way in which a feed is written.
type Format string

// The formats.
const (
	// FormatCIDR is one address, CIDR network or first-last range a line, of
	// either family. A # or ; begins a comment.
	FormatCIDR Format = "cidr"
	// FormatAPIBAN is the JSON of https://www.apiban.org/doc.html: one page of
	// addresses, or several in a row.
	FormatAPIBAN Format = "apiban"
	// FormatDROP is Spamhaus' Don't Route Or Peer list, as text or as one JSON
	// object a line (https://www.spamhaus.org/blocklists/do-not-route-or-peer/).
	FormatDROP Format = "drop"
	// FormatRIR is the statistics of a regional internet registry, of which the
	// networks of some countries are taken
	// (https://www.apnic.net/about-apnic/corporate-documents/documents/resource-guidelines/rir-statistics-exchange-format/).
	FormatRIR Format = "rir"
)

// Formats returns all formats, the plainest first.
func Formats() []Format {
	return []Format{FormatCIDR, FormatAPIBAN, FormatDROP, FormatRIR}
}

// Parse reads a whole feed, or refuses it whole. Countries are ISO 3166-1
// alpha-2 codes in upper case, or EU or AP, which registries use for what
// belongs to no one country; FormatRIR needs at least one, and no other format
// takes any.
//
// The error is an *appliance.Error of CodeInvalid. Its field is "feed", and its
// message begins with the first line that is wrong, as in
// `line 17: "1.2.3.4/40": not a network`, unless the whole is (size, number of
// entries). Where it is not the feed that is wrong, the field is "format" or
// "countries".
func Parse(format Format, data []byte, countries []string) (List, error) {
	if !slices.Contains(Formats(), format) {
		return List{}, invalid("format", "%s is no format of feeds", quote(string(format)))
	}
	if err := checkCountries(format, countries); err != nil {
		return List{}, err
	}
	data, err := textOf(data)
	if err != nil {
		return List{}, err
	}
	var g gathering
	if err := g.read(format, data, countries); err != nil {
		return List{}, err
	}
	return g.list()
}

func (g *gathering) read(format Format, data []byte, countries []string) error {
	switch format {
	case FormatAPIBAN:
		_, err := readPages(data, g.add)
		return err
	case FormatDROP:
		return g.readDROP(data)
	case FormatRIR:
		return g.readRegistry(data, countries)
	default:
		return g.readLines(data, true)
	}
}

// FromPrefixes returns exactly what the prefixes hold, local space included:
// for tests and for small lists that somebody wrote on the spot. Host bits are
// cleared, an IPv4-mapped prefix is its IPv4 one, an invalid prefix is left out.
func FromPrefixes(prefixes []netip.Prefix) List {
	var out List
	for _, prefix := range prefixes {
		if !prefix.IsValid() {
			continue
		}
		out.Entries++
		if s := spanOf(prefix); s.six {
			out.V6 = append(out.V6, s.v6)
		} else {
			out.V4 = append(out.V4, s.v4)
		}
	}
	out.V4, out.V6 = merge4(out.V4), merge6(out.V6)
	return out
}

// textOf returns a feed without its byte order mark. It refuses what is too
// large, and what is not text: compressed files, UTF-16, a disk's noise. Bytes
// above ASCII may stand in comments.
func textOf(data []byte) ([]byte, error) {
	if len(data) > MaxSize {
		return nil, invalid("feed", "has %d bytes; at most %d are read", len(data), MaxSize)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for at, c := range data {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return nil, wrongAt(data, at, "not text")
		}
	}
	return data, nil
}

func invalid(field, format string, args ...any) error {
	return &appliance.Error{Code: appliance.CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// wrong refuses a feed for what stands on a line, counted from 1.
func wrong(line int, text []byte, problem string) error {
	return invalid("feed", "line %d: %s: %s", line, quote(string(text)), problem)
}

// wrongAt is wrong for the line that holds the byte at an offset.
func wrongAt(data []byte, at int, problem string) error {
	text := data[bytes.LastIndexByte(data[:at], '\n')+1:]
	if end := bytes.IndexByte(text, '\n'); end >= 0 {
		text = text[:end]
	}
	return wrong(lineOf(data, at), bytes.TrimSpace(text), problem)
}

func lineOf(data []byte, at int) int {
	return 1 + bytes.Count(data[:at], []byte{'\n'})
}

// quote keeps a hostile line from filling a log.
func quote(s string) string {
	const longest = 64
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	return strconv.QuoteToASCII(s)
}
