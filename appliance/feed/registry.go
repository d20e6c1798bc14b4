package feed

import (
	"bytes"
	"strings"
)

// registry reads FormatRIR, version 2: a header, summaries and records. The
// header is "version|registry|serial|records|startdate|enddate|UTCoffset", a
// summary "registry|*|type|*|count|summary", and a record
// "registry|cc|type|start|value|date|status" with more fields to come.
type registry struct {
	lines
	wanted  func(country []byte) bool
	fields  [7][]byte // of the line in hand; what is beyond is left out
	count   int       // of those fields, and those left out
	name    string    // as the header has it, and its serial number
	serial  string
	header  stated    // of all records
	kinds   [3]stated // of those of each type, in the order of kindOf
	read    [3]int
	selects func(country []byte, network span)
}

// stated is a count that the file gives of itself, and where.
type stated struct {
	line, records int // from 1; 0 where it says nothing
}

func kindOf(name []byte) (int, bool) {
	switch string(name) {
	case "asn":
		return 0, true
	case "ipv4":
		return 1, true
	case "ipv6":
		return 2, true
	default:
		return 0, false
	}
}

const (
	notHeader  = "not the header of registry statistics, version 2"
	notSummary = "not a summary of asn, ipv4 or ipv6"
	notRecord  = "not a record of registry statistics"
	twice      = "a second summary of the same"
)

func (g *gathering) readRegistry(data []byte, countries []string) error {
	wanted := make(map[string]bool)
	for _, code := range countries {
		wanted[code] = true
	}
	r := registry{
		lines:   lines{rest: data},
		wanted:  func(country []byte) bool { return wanted[string(country)] },
		selects: func(_ []byte, network span) { g.add(network) },
	}
	if err := r.readAll(); err != nil {
		return err
	}
	if r.header.line > 0 && g.entries == 0 {
		return invalid("feed", "holds no network of %s among %d records", strings.Join(countries, ", "), r.total())
	}
	return nil
}

// readAll reads the whole; of comments alone there is no header then.
func (r *registry) readAll() error {
	for r.next() {
		if len(r.text) == 0 || r.text[0] == '#' {
			continue
		}
		r.split()
		if problem := r.readLine(); problem != "" {
			return r.wrong(problem)
		}
	}
	if r.header.line == 0 {
		return nil
	}
	return r.checkCounts()
}

func (r *registry) split() {
	rest := r.text
	for r.count = 0; ; r.count++ {
		field, tail, more := bytes.Cut(rest, []byte{'|'})
		if r.count < len(r.fields) {
			r.fields[r.count] = field
		}
		if !more {
			r.count++
			return
		}
		rest = tail
	}
}

// readLine returns what is wrong with the line, empty where nothing is.
func (r *registry) readLine() string {
	switch {
	case r.header.line == 0:
		return r.readHeader()
	case r.count == 6 && string(r.fields[5]) == "summary":
		return r.readSummary()
	case r.count >= 7:
		return r.readRecord()
	default:
		return notRecord
	}
}

func (r *registry) readHeader() string {
	version, _, _ := bytes.Cut(r.fields[0], []byte{'.'})
	n, ok := parseNumber(r.fields[3], 1<<32)
	if r.count != 7 || string(version) != "2" || !ok {
		return notHeader
	}
	r.header = stated{r.number, int(n)}
	r.name, r.serial = string(r.fields[1]), string(r.fields[2])
	return ""
}

func (r *registry) readSummary() string {
	kind, ok := kindOf(r.fields[2])
	n, isNumber := parseNumber(r.fields[4], 1<<32)
	if !ok || !isNumber {
		return notSummary
	}
	if r.kinds[kind].line > 0 {
		return twice
	}
	r.kinds[kind] = stated{r.number, int(n)}
	return ""
}

func (r *registry) readRecord() string {
	kind, ok := kindOf(r.fields[2])
	if !ok || !maybeCountry(r.fields[1]) {
		return notRecord
	}
	r.read[kind]++
	status := string(r.fields[6])
	chosen := (status == "allocated" || status == "assigned") && r.wanted(r.fields[1])
	switch kind {
	case 1:
		return r.readIPv4(chosen)
	case 2:
		return r.readIPv6(chosen)
	default:
		return ""
	}
}

// maybeCountry tells whether a record's second field is what it should be: two
// capital letters, or nothing where the record is nobody's.
func maybeCountry(field []byte) bool {
	isCapital := func(c byte) bool { return c >= 'A' && c <= 'Z' }
	return len(field) == 0 || len(field) == 2 && isCapital(field[0]) && isCapital(field[1])
}

// readIPv4 reads a record whose value is a number of addresses, a power of two
// or not.
func (r *registry) readIPv4(chosen bool) string {
	first, ok := parse4(r.fields[3])
	if !ok {
		return notRecord
	}
	n, ok := parseNumber(r.fields[4], 1<<32-uint64(first))
	if !ok || n == 0 {
		return notRecord
	}
	s := span{v4: Range4{first, uint32(uint64(first) + n - 1)}}
	return r.choose(chosen, s, s.tooWide())
}

// readIPv6 reads a record whose value is the length of a prefix.
func (r *registry) readIPv6(chosen bool) string {
	if !chosen { // most are not, and to read an IPv6 address takes long
		return ""
	}
	text := append(append(make([]byte, 0, 48), r.fields[3]...), '/')
	s, problem := readNetwork6(append(text, r.fields[4]...))
	if problem != "" {
		return problem
	}
	return r.choose(chosen, s, tooWideForRegistry(s))
}

// tooWideForRegistry allows what a registry may hand out, which is not more than
// it is given itself: a /12 (IANA, policy for allocation of IPv6 blocks to
// regional internet registries).
func tooWideForRegistry(s span) string {
	if s.v6.Last.High-s.v6.First.High > 1<<52-1 {
		return "wider than /12, which is all that a registry has to give"
	}
	return ""
}

func (r *registry) choose(chosen bool, s span, problem string) string {
	if !chosen {
		return ""
	}
	if problem == "" {
		r.selects(r.fields[1], s)
	}
	return problem
}

func (r *registry) total() int { return r.read[0] + r.read[1] + r.read[2] }

// checkCounts holds what the file says of itself against what was read.
func (r *registry) checkCounts() error {
	for kind, name := range []string{"asn", "ipv4", "ipv6"} {
		if err := r.kinds[kind].check(name+" records", r.read[kind]); err != nil {
			return err
		}
	}
	return r.header.check("records", r.total())
}

func (s stated) check(what string, found int) error {
	if s.line == 0 || s.records == found {
		return nil
	}
	return invalid("feed", "line %d: says %d %s, but there are %d; the feed is damaged or cut off", s.line, s.records, what, found)
}
