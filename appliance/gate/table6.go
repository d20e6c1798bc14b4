package gate

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

const (
	leafKeys     = int(bpf.GateGeometryLEAF_KEYS)
	nodeKeys     = int(bpf.GateGeometryNODE_KEYS)
	nearNodes    = int(bpf.GateGeometryNEAR_NODES)
	nodesPerPage = linesPerPage
	maxNodes     = (int(bpf.GatePlacePLACE_DEEP) - int(bpf.GatePlacePLACE_NODES)) * nodesPerPage

	deepPerPage = 1 << bpf.GateGeometryDEEP_BITS
	deepPages   = int(bpf.GateGeometryDEEP_PAGES)

	topBit  = uint64(1) << 63
	lastKey = topBit - 1
)

// uppers is runs of the upper 64 bits of IPv6 addresses.
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

// halves are the runs of each half of the address space, from its first address
// on.
func (u *uppers) halves() [2]uppers {
	middle, found := slices.BinarySearch(u.firsts, topBit)
	if !found { // the run goes on over the middle
		u.firsts = slices.Insert(u.firsts, middle, topBit)
		u.classes = slices.Insert(u.classes, middle, u.classes[middle-1])
	}
	return [2]uppers{{u.firsts[:middle], u.classes[:middle]}, {u.firsts[middle:], u.classes[middle:]}}
}

// addV6 writes the IPv6 table of runs: a tree over the upper halves, and the
// deep pages for those that don't decide.
func (t *tables) addV6(table bpf.GateTable, runs []run[addr6]) appliance.Errors {
	upper, deep := splitUpper(runs)
	var mistakes appliance.Errors
	t.near = 0
	for half, runs := range upper.halves() {
		t.head.Trees[table][half] = t.addTree(table, runs)
	}
	if t.far > maxNodes {
		mistakes = append(mistakes, invalid(fieldOf(table, "ipv6"), "the networks take %d nodes; the gate holds %d", t.far, maxNodes))
	}
	if len(deep) > deepPages*deepPerPage {
		return append(mistakes, invalid(fieldOf(table, "ipv6"),
			"the networks longer than /64 split the address space into %d ranges; the gate holds %d", len(deep), deepPages*deepPerPage))
	}
	t.addDeep(table, deep)
	return mistakes
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

// addTree writes one static B+tree over the runs of one half of the address
// space, from its root on.
func (t *tables) addTree(table bpf.GateTable, runs uppers) bpf.GateTree {
	levels := [][]uint64{everyNth(runs.firsts, leafKeys+1)} // of each node's children, the lowest level first
	for len(levels[len(levels)-1]) > 1 {
		levels = append(levels, everyNth(levels[len(levels)-1], nodeKeys+1))
	}
	tree := bpf.GateTree{Levels: uint32(len(levels) - 1)}
	for level := len(levels) - 1; level > 0; level-- {
		at := t.reserve(len(levels[level]))
		tree.Nodes[len(levels)-1-level] = uint32(at)
		for i := range levels[level] {
			putNode(t.node(table, at+i), levels[level-1][i*(nodeKeys+1):])
		}
	}
	at := t.reserve(len(levels[0]))
	tree.Leaves = uint32(at)
	for i := range levels[0] {
		from := i * (leafKeys + 1)
		putLeaf(t.node(table, at+i), runs.firsts[from:], runs.classes[from:])
	}
	return tree
}

func everyNth(all []uint64, n int) []uint64 {
	out := make([]uint64, 0, len(all)/n+1)
	for i := 0; i < len(all); i += n {
		out = append(out, all[i])
	}
	return out
}

// reserve returns the first of the numbers for the n nodes of a level: in the
// image where all of them have room there.
func (t *tables) reserve(n int) (at int) {
	if t.near+n <= nearNodes {
		at, t.near = t.near, t.near+n
		return at
	}
	at, t.far = nearNodes+t.far, t.far+n
	return at
}

// node returns the memory of a node. Beyond maxNodes it is counted only, and
// reported at the end.
func (t *tables) node(table bpf.GateTable, number int) []byte {
	if number >= nearNodes+maxNodes {
		return make([]byte, lineBytes)
	}
	if number >= nearNodes {
		t.page(farPlace(number))
	}
	return t.nodeAt(table, number)
}

func farPlace(number int) bpf.GatePlace {
	return bpf.GatePlacePLACE_NODES + bpf.GatePlace((number-nearNodes)/nodesPerPage)
}

// key is what an address is compared with: it lies at first or after where its
// lower 63 bits are above the key.
func key(first uint64) uint64 { return first&lastKey - 1 }

// putNode writes a node over its children, of which more may follow.
func putNode(bytes []byte, children []uint64) {
	for i := range nodeKeys {
		k := lastKey
		if i+1 < len(children) {
			k = key(children[i+1])
		}
		binary.LittleEndian.PutUint64(bytes[8*i:], k)
	}
}

// putLeaf writes a leaf over its runs, of which more may follow.
func putLeaf(bytes []byte, firsts []uint64, classes []uint8) {
	for i := range leafKeys {
		k := lastKey
		if i+1 < len(firsts) {
			k = key(firsts[i+1])
		}
		binary.LittleEndian.PutUint64(bytes[8*i:], k)
	}
	for i := range leafKeys + 1 {
		bytes[8*leafKeys+i] = classes[min(i, len(classes)-1)]
	}
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
