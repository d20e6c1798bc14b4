package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Atlas is which country a registry handed addresses out to. That is where their
// holder is registered, and mostly, not always, where they are used. The zero
// Atlas knows no address.
type Atlas struct {
	Registry  string // one of Registries
	Serial    string // of its statistics
	Countries map[string]List
}

// Registries returns those whose statistics make an Atlas: the five regional ones,
// and the sum of them that the NRO publishes.
func Registries() []string { return []string{"afrinic", "apnic", "arin", "lacnic", "ripencc", "nro"} }

// ParseAtlas reads a registry's statistics (FormatRIR) whole, or refuses them
// whole, as Parse does. What belongs to no one country (EU, AP) is left out.
func ParseAtlas(data []byte) (Atlas, error) {
	data, err := textOf(data)
	if err != nil {
		return Atlas{}, err
	}
	gathered := make(map[string]*gathering)
	r := registry{
		lines: lines{rest: data},
		wanted: func(country []byte) bool {
			return isCountry(string(country)) && !slices.Contains(noCountry, string(country))
		},
		selects: func(country []byte, network span) {
			g := gathered[string(country)]
			if g == nil {
				g = &gathering{}
				gathered[string(country)] = g
			}
			g.add(network)
		},
	}
	if err := r.readAll(); err != nil {
		return Atlas{}, err
	}
	switch {
	case r.header.line == 0:
		return Atlas{}, invalid("feed", "is empty; want the statistics of a registry")
	case !slices.Contains(Registries(), r.name):
		return Atlas{}, invalid("feed", "line %d: %s is no registry; want one of %s", r.header.line, quote(r.name), strings.Join(Registries(), ", "))
	case len(gathered) == 0:
		return Atlas{}, invalid("feed", "holds no network of any country among %d records", r.total())
	}
	out := Atlas{Registry: r.name, Serial: r.serial, Countries: make(map[string]List, len(gathered))}
	for country, g := range gathered {
		list, err := g.list()
		if err != nil {
			return Atlas{}, fmt.Errorf("%s: %w", country, err)
		}
		out.Countries[country] = list
	}
	return out, nil
}

// Country returns the code of an address's country (ISO 3166-1 alpha-2), the first
// of them by the alphabet, and "" where it is not known. It allocates nothing, and
// takes a binary search for each country.
func (a Atlas) Country(address netip.Addr) (found string) {
	for country, list := range a.Countries {
		if (found == "" || country < found) && list.Contains(address) {
			found = country
		}
	}
	return found
}

// Networks counts the ranges of all countries.
func (a Atlas) Networks() (n int) {
	for _, list := range a.Countries {
		n += len(list.V4) + len(list.V6)
	}
	return n
}

// EncodeAtlas returns the form of an Atlas to keep: its registry, its serial and
// how many countries there are, a line each, and then for each country, in
// alphabetical order, its code, the length of its list (4 bytes, big-endian) and
// that, as Encode has it; last SHA-256 of all before. Equal ones give equal bytes.
func EncodeAtlas(a Atlas) []byte {
	out := fmt.Appendf(nil, "%s\n%s\n%d\n", a.Registry, a.Serial, len(a.Countries))
	for _, country := range slices.Sorted(maps.Keys(a.Countries)) {
		list := Encode(a.Countries[country])
		out = binary.BigEndian.AppendUint32(append(out, country...), uint32(len(list)))
		out = append(out, list...)
	}
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

// DecodeAtlas reads what EncodeAtlas wrote, and nothing else: any damage is an error.
func DecodeAtlas(data []byte) (Atlas, error) {
	end := len(data) - sha256.Size
	if end < 0 || sha256.Sum256(data[:end]) != [sha256.Size]byte(data[end:]) {
		return Atlas{}, fmt.Errorf("decode atlas: %w", errDamaged)
	}
	head := bytes.SplitN(data[:end], []byte{'\n'}, 4)
	if len(head) != 4 || !slices.Contains(Registries(), string(head[0])) {
		return Atlas{}, fmt.Errorf("decode atlas: read head: %w", errDamaged)
	}
	out := Atlas{Registry: string(head[0]), Serial: string(head[1]), Countries: make(map[string]List)}
	for rest := head[3]; len(rest) > 0; {
		country, list, after, err := decodeCountry(rest)
		if err != nil {
			return Atlas{}, fmt.Errorf("decode atlas: %w", err)
		}
		out.Countries[country], rest = list, after
	}
	if string(head[2]) != strconv.Itoa(len(out.Countries)) {
		return Atlas{}, fmt.Errorf("decode atlas: count countries: %w", errDamaged)
	}
	return out, nil
}

func decodeCountry(data []byte) (country string, list List, rest []byte, err error) {
	const size = 6
	if len(data) < size {
		return "", List{}, nil, errDamaged
	}
	country = string(data[:2])
	length := uint64(binary.BigEndian.Uint32(data[2:size]))
	data = data[size:]
	if length > uint64(len(data)) {
		return "", List{}, nil, errDamaged
	}
	list, err = Decode(data[:length])
	return country, list, data[length:], err
}
