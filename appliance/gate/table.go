package gate

import (
	"math/bits"
	"slices"
	"unsafe"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

const (
	deepPerPage = 1 << bpf.GateGeometryDEEP_BITS
	deepPages   = int(bpf.GateGeometryDEEP_PAGES)
)

// family is a number in bpf/gate.h.
type family int

const (
	ipv4 family = iota
	ipv6
)

// uppers is runs of the upper 64 bits of addresses: of IPv6, or with an IPv4
// address in the upper half of them.
type uppers struct {
	firsts  []uint64
	classes []uint8
}

// put begins a run, in the place of one that begins at the same address. Each
// /64 that has deep runs is a run of its own.
func (u *uppers) put(first uint64, class uint8) {
	if n := len(u.firsts); n > 0 && u.firsts[n-1] == first {
		u.classes[n-1] = class
	} else if n == 0 || u.classes[n-1] != class || class == uint8(bpf.GateClassCLASS_DEEP) {
		u.firsts, u.classes = append(u.firsts, first), append(u.classes, class)
	}
}

// anyDeep tells whether the upper halves don't decide everywhere.
func (u *uppers) anyDeep() bool {
	return slices.Contains(u.classes, uint8(bpf.GateClassCLASS_DEEP))
}

// cut parts the runs that begin at most at an address from the others.
func (u *uppers) cut(last uint64) (own, rest uppers) {
	n := 0
	for n < len(u.firsts) && u.firsts[n] <= last {
		n++
	}
	return uppers{u.firsts[:n], u.classes[:n]}, uppers{u.firsts[n:], u.classes[n:]}
}

// addV4 writes the IPv4 table of runs.
func (t *tables) addV4(table bpf.GateTable, runs []run[addr4]) appliance.Errors {
	upper := uppers{make([]uint64, len(runs)), make([]uint8, len(runs))}
	for i, one := range runs {
		upper.firsts[i], upper.classes[i] = uint64(one.first)<<32, one.class
	}
	return t.add(table, ipv4, upper)
}

// addV6 writes the IPv6 table of runs: the upper halves, and the deep pages for
// those that don't decide.
func (t *tables) addV6(table bpf.GateTable, runs []run[addr6]) appliance.Errors {
	upper, deep := splitUpper(runs)
	mistakes := t.add(table, ipv6, upper)
	if len(deep) > deepPages*deepPerPage {
		return append(mistakes, invalid(fieldOf(table, ipv6),
			"the networks longer than /64 split the address space into %d ranges; the gate holds %d", len(deep), deepPages*deepPerPage))
	}
	t.addDeep(table, deep)
	return mistakes
}

// add writes the runs of one family, one index entry after the other.
func (t *tables) add(table bpf.GateTable, family family, runs uppers) appliance.Errors {
	p := packer{tables: t, shape: shapeOf(runs)}
	t.head.Shapes[table][family] = p.GateShape
	t.page(bpf.GatePlacePLACE_INDEX + 2*bpf.GatePlace(table) + bpf.GatePlace(family))
	index := t.index(table, family)
	class := runs.classes[0]
	_, runs = runs.cut(0)
	var own uppers
	var items []item
	for number := range p.Mask + 1 {
		first, last := p.entry(number)
		own, runs = runs.cut(last)
		items = p.itemsOf(items[:0], class, first, last, own)
		if n := len(own.classes); n > 0 {
			class = own.classes[n-1]
		}
		entry := bpf.GateEntry{Lines: indexClass | uint64(class)}
		if len(own.firsts) > 1 || len(own.firsts) == 1 && own.firsts[0] != first {
			entry = bpf.GateEntry{Lines: p.pack(items, first), Parts: p.partsOf(items, last)}
		}
		index[number] = entry
	}
	p.endLine()
	if t.lines > maxLines {
		return appliance.Errors{invalid(fieldOf(table, family), "the networks take %d lines; the gate holds %d", t.lines, maxLines)}
	}
	return nil
}

// index returns the page of an index, or nil where there is none.
func (i *image) index(table bpf.GateTable, family family) []bpf.GateEntry {
	page := i.pages[bpf.GatePlacePLACE_INDEX+2*bpf.GatePlace(table)+bpf.GatePlace(family)]
	return unsafe.Slice((*bpf.GateEntry)(unsafe.Pointer(unsafe.SliceData(page))), len(page)/entryBytes)
}

func fieldOf(table bpf.GateTable, family family) string {
	word := [...]string{"ipv4", "ipv6"}[family]
	if table == bpf.GateTableTABLE_FEED {
		return "feeds." + word
	}
	return "sources." + word
}

// splitUpper parts the runs into those that the upper 64 bits decide, and those
// of each /64 that they don't, which CLASS_DEEP marks among the first.
func splitUpper(runs []run[addr6]) (upper uppers, deep []run[addr6]) {
	upper = uppers{make([]uint64, 0, len(runs)+1), make([]uint8, 0, len(runs)+1)}
	var class uint8
	for i := 0; i < len(runs); {
		high, end := runs[i].first.High, i
		for end < len(runs) && runs[end].first.High == high {
			end++
		}
		last := runs[end-1]
		if end-i == 1 && last.first.Low == 0 {
			upper.put(high, last.class)
		} else {
			if runs[i].first.Low != 0 {
				deep = append(deep, run[addr6]{addr6{High: high}, class})
			}
			deep = append(deep, runs[i:end]...)
			upper.put(high, uint8(bpf.GateClassCLASS_DEEP))
			if high != ^uint64(0) {
				upper.put(high+1, last.class)
			}
		}
		class, i = last.class, end
	}
	return upper, deep
}

// addDeep writes the deep pages. The first of them has the first address of all.
func (t *tables) addDeep(table bpf.GateTable, runs []run[addr6]) {
	place := bpf.GatePlacePLACE_DEEP + bpf.GatePlace(int(table)*deepPages)
	var head *bpf.GateDeep
	for n := 0; len(runs) > 0; n++ {
		page := (*bpf.GateDeep)(unsafe.Pointer(unsafe.SliceData(t.page(place + bpf.GatePlace(n)))))
		if n == 0 {
			head = page
		}
		own := runs[:min(len(runs), deepPerPage)]
		runs = runs[len(own):]
		for i, one := range own {
			page.High[i], page.Low[i], page.Classes[i] = one.first.High, one.first.Low, one.class
		}
		page.Runs, page.Step = uint32(len(own)), firstStep(len(own))
		head.PageHigh[n], head.PageLow[n], head.Pages = own[0].first.High, own[0].first.Low, uint32(n+1)
	}
}

// firstStep returns half the smallest power of two that is at least n: where a
// binary search over n entries begins.
func firstStep(n int) uint32 {
	if n < 2 {
		return 0
	}
	return 1 << (bits.Len(uint(n-1)) - 1)
}
