package feed

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// million is a feed of MaxEntries random networks, a fifth of them single
// addresses, outside of local space, in no order.
func million(six bool) []byte {
	random := rand.New(rand.NewPCG(11, 12))
	var out bytes.Buffer
	for i := range MaxEntries {
		address := addr4(0x10000000 + random.Uint32N(0x50000000))
		bits := 24 + random.IntN(8)
		if six {
			address, bits = addr6(Address6{0x2000<<48 + random.Uint64N(1<<60), random.Uint64()}), 32+random.IntN(33)
		}
		if i%5 == 0 {
			bits = address.BitLen()
		}
		fmt.Fprintln(&out, netip.PrefixFrom(address, bits).Masked())
	}
	return out.Bytes()
}

func parseMillion(b *testing.B, six bool) List {
	list, err := Parse(FormatCIDR, million(six), nil)
	if err != nil {
		b.Fatal(err)
	}
	return list
}

func BenchmarkParse1000000(b *testing.B) {
	for name, six := range map[string]bool{"v4": false, "v6": true} {
		data := million(six)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := Parse(FormatCIDR, data, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode1000000(b *testing.B) {
	list := parseMillion(b, false)
	b.ReportAllocs()
	b.SetBytes(int64(len(Encode(list))))
	for b.Loop() {
		Encode(list)
	}
}

func BenchmarkDecode1000000(b *testing.B) {
	data := Encode(parseMillion(b, false))
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContains1000000(b *testing.B) {
	list := parseMillion(b, false)
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i += 2654435761 { // golden ratio: all over the space
		list.Contains(addr4(i))
	}
}
