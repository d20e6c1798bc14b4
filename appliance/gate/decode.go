package gate

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
	"unsafe"

	"github.com/ringfence/ringfence/bpf"
)

// The reading of an image, as the program does it: for Dump, and for whoever
// wants to know what the kernel would say without asking it.

// classOf looks an address up.
func (i *image) classOf(table bpf.GateTable, address netip.Addr) uint8 {
	if address.Is4() {
		bytes := address.As4()
		return i.classOf4(table, binary.BigEndian.Uint32(bytes[:]))
	}
	bytes := address.As16()
	at := addr6{High: binary.BigEndian.Uint64(bytes[:8]), Low: binary.BigEndian.Uint64(bytes[8:])}
	class := i.classOf6(table, at.High)
	if class&uint8(bpf.GateClassCLASS_DEEP) == 0 {
		return class
	}
	runs := i.deepRuns(table)
	return runs[sort.Search(len(runs), func(n int) bool { return runs[n].first.Compare(at) > 0 })-1].class
}

func (i *image) classOf4(table bpf.GateTable, ip uint32) uint8 {
	index := i.pages[bpf.GatePlacePLACE_INDEX+bpf.GatePlace(table)]
	if index == nil {
		return 0
	}
	shift := i.head.Shift[table]
	entry := binary.LittleEndian.Uint32(index[4*(ip>>shift):])
	if entry&indexClass != 0 {
		return uint8(entry)
	}
	words, key := i.lineWords(entry), ip<<8|0xff
	return uint8(words[sort.Search(len(words), func(n int) bool { return words[n] > key })-1])
}

// lineWords returns the words of the lines that an index entry names.
func (i *image) lineWords(entry uint32) []uint32 {
	line, count := int(entry&(1<<indexLineBits-1)), int(entry>>indexLineBits)
	page := i.pages[bpf.GatePlacePLACE_LINES+bpf.GatePlace(line/linesPerPage)]
	words := make([]uint32, count*lineWords)
	for n := range words {
		words[n] = binary.LittleEndian.Uint32(page[line%linesPerPage*lineBytes+4*n:])
	}
	return words
}

func (i *image) classOf6(table bpf.GateTable, high uint64) uint8 {
	tree := i.head.Trees[table][high>>63]
	at := 0
	for level := range int(tree.Levels) {
		at = at*(nodeKeys+1) + i.keysBelow(table, int(tree.Nodes[level])+at, nodeKeys, high&lastKey)
	}
	leaf := i.nodeAt(table, int(tree.Leaves)+at)
	if leaf == nil {
		return 0
	}
	return leaf[8*leafKeys+i.keysBelow(table, int(tree.Leaves)+at, leafKeys, high&lastKey)]
}

// nodeAt returns the memory of a node or a leaf.
func (i *image) nodeAt(table bpf.GateTable, number int) []byte {
	if number < nearNodes {
		return bytesOf(&i.head.Near[table][number])
	}
	page := i.pages[farPlace(number)]
	if page == nil {
		return nil
	}
	return page[(number-nearNodes)%nodesPerPage*lineBytes:][:lineBytes]
}

func (i *image) keysBelow(table bpf.GateTable, number, keys int, key uint64) (below int) {
	node := i.nodeAt(table, number)
	for n := 0; node != nil && n < keys; n++ {
		if binary.LittleEndian.Uint64(node[8*n:]) < key {
			below++
		}
	}
	return below
}

// deepRuns returns the runs of all deep pages of a table.
func (i *image) deepRuns(table bpf.GateTable) (runs []run[addr6]) {
	place := bpf.GatePlacePLACE_DEEP + bpf.GatePlace(int(table)*deepPages)
	for n := range deepPages {
		bytes := i.pages[place+bpf.GatePlace(n)]
		if bytes == nil {
			break
		}
		page := (*bpf.GateDeep)(unsafe.Pointer(unsafe.SliceData(bytes)))
		for at := range min(int(page.Runs), deepPerPage) {
			runs = append(runs, run[addr6]{addr6{High: page.High[at], Low: page.Low[at]}, page.Classes[at]})
		}
	}
	return runs
}

// runs4 decodes a whole table back to the runs that it was made of.
func (i *image) runs4(table bpf.GateTable) []run[addr4] {
	index, shift := i.pages[bpf.GatePlacePLACE_INDEX+bpf.GatePlace(table)], i.head.Shift[table]
	var runs []run[addr4]
	if index == nil {
		return runs
	}
	for entry := range uint32(1) << (32 - shift) {
		first, value := entry<<shift, binary.LittleEndian.Uint32(index[4*entry:])
		if value&indexClass != 0 {
			runs = append(runs, run[addr4]{addr4(first), uint8(value)})
			continue
		}
		runs = append(runs, i.lineRuns(value, first, first|(1<<shift-1))...)
	}
	return joinRuns(runs)
}

// lineRuns returns the runs of the addresses of an index entry.
func (i *image) lineRuns(entry, first, last uint32) []run[addr4] {
	runs := make([]run[addr4], 1)
	for _, word := range i.lineWords(entry) {
		at := first&^0xffffff | word>>8
		if at <= first {
			runs[0] = run[addr4]{addr4(first), uint8(word)}
		} else if at <= last {
			runs = append(runs, run[addr4]{addr4(at), uint8(word)})
		}
	}
	return runs
}

// joinRuns drops the runs that continue their predecessor.
func joinRuns[A address[A]](runs []run[A]) []run[A] {
	return slices.CompactFunc(runs, func(a, b run[A]) bool { return a.class == b.class })
}

// runs6 is runs4 of IPv6.
func (i *image) runs6(table bpf.GateTable) []run[addr6] {
	w := treeWalk{image: i, table: table, deep: i.deepRuns(table)}
	for half, tree := range i.head.Trees[table] {
		w.tree, w.half = tree, uint64(half)<<63
		w.node(0, 0, 0)
	}
	return joinRuns(w.runs)
}

// treeWalk visits one tree from left to right.
type treeWalk struct {
	*image
	table bpf.GateTable
	tree  bpf.GateTree
	half  uint64
	deep  []run[addr6] // those that have not been visited
	runs  []run[addr6]
}

// node visits what is below a node of a level, whose first address is known.
func (w *treeWalk) node(level, at int, first uint64) {
	if level == int(w.tree.Levels) {
		w.leaf(int(w.tree.Leaves)+at, first)
		return
	}
	node := w.nodeAt(w.table, int(w.tree.Nodes[level])+at)
	for child := 0; node != nil && child <= nodeKeys; child++ {
		if child > 0 {
			k := binary.LittleEndian.Uint64(node[8*(child-1):])
			if k == lastKey {
				return
			}
			first = k + 1
		}
		w.node(level+1, at*(nodeKeys+1)+child, first)
	}
}

func (w *treeWalk) leaf(number int, first uint64) {
	leaf := w.nodeAt(w.table, number)
	for at := 0; leaf != nil && at <= leafKeys; at++ {
		if at > 0 {
			k := binary.LittleEndian.Uint64(leaf[8*(at-1):])
			if k == lastKey {
				return
			}
			first = k + 1
		}
		w.run(first|w.half, leaf[8*leafKeys+at])
	}
}

func (w *treeWalk) run(high uint64, class uint8) {
	if class&uint8(bpf.GateClassCLASS_DEEP) == 0 {
		w.runs = append(w.runs, run[addr6]{addr6{High: high}, class})
		return
	}
	for len(w.deep) > 0 && w.deep[0].first.High == high {
		w.runs, w.deep = append(w.runs, w.deep[0]), w.deep[1:]
	}
}
