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
		return i.classOfUpper(table, ipv4, uint64(binary.BigEndian.Uint32(bytes[:]))<<32)
	}
	bytes := address.As16()
	at := addr6{High: binary.BigEndian.Uint64(bytes[:8]), Low: binary.BigEndian.Uint64(bytes[8:])}
	class := i.classOfUpper(table, ipv6, at.High)
	if class != uint8(bpf.GateClassCLASS_DEEP) {
		return class
	}
	runs := i.deepRuns(table)
	return runs[sort.Search(len(runs), func(n int) bool { return runs[n].first.Compare(at) > 0 })-1].class
}

func (i *image) classOfUpper(table bpf.GateTable, family family, at uint64) uint8 {
	s, index := i.shapeOf(table, family), i.index(table, family)
	if (at^s.First)&s.Fixed != 0 && at < s.First {
		return s.Below
	} else if (at^s.First)&s.Fixed != 0 {
		return s.Above
	} else if len(index) == 0 {
		return 0
	}
	entry := index[uint32(at>>s.Shift)&s.Mask]
	value := entry.Lines
	if value&indexClass != 0 {
		return uint8(value)
	} else if entry.Parts>>(s.part(at)>>partShift)&1 == 0 {
		return 0
	}
	line, all := int(value&(maxLines-1)), splitsOf(value)
	node := 0
	for levels := all[0]; levels < treeLevels && levels > 0; levels-- {
		n, _ := i.lastAt(s, line+node, at)
		node = node*s.lanes + n
	}
	line += node
	for _, split := range all {
		if all[0] >= treeLevels && s.part(at) > split {
			line++
		}
	}
	n, last := i.lastAt(s, line, at)
	if n == 0 || last.length != s.open && (at-last.first)>>s.Grain>>last.length > 0 {
		return 0
	}
	return last.class
}

// shapeOf returns what tells how to read a table of an image.
func (i *image) shapeOf(table bpf.GateTable, family family) shape {
	s := shape{wide, i.head.Shapes[table][family]}
	if s.Narrow != 0 {
		s.word = narrow
	}
	return s
}

// lastAt returns how many items of a line begin at most at an address, and the
// last of them.
func (i *image) lastAt(s shape, line int, at uint64) (n int, last item) {
	for _, one := range i.line(s, line, at) {
		if one.first > at {
			break
		}
		n, last = n+1, one
	}
	return n, last
}

// line decodes the words of a line, near an address.
func (i *image) line(s shape, line int, near uint64) (items []item) {
	page := i.pages[bpf.GatePlacePLACE_LINES+bpf.GatePlace(line/linesPerPage)]
	if page == nil {
		return nil
	}
	bytes := page[line%linesPerPage*lineBytes:][:lineBytes]
	for n := range s.lanes {
		word := uint64(0)
		if s.lanes == wide.lanes {
			word = binary.LittleEndian.Uint64(bytes[8*n:])
		} else {
			word = uint64(binary.LittleEndian.Uint32(bytes[4*n:]))
		}
		if word == s.blank() {
			break
		}
		items = append(items, s.decode(word, near))
	}
	return items
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
func (i *image) runs4(table bpf.GateTable) (runs []run[addr4]) {
	upper := i.uppers(table, ipv4)
	for n, first := range upper.firsts {
		runs = append(runs, run[addr4]{addr4(first >> 32), upper.classes[n]})
	}
	return joinRuns(runs)
}

// runs6 is runs4 of IPv6.
func (i *image) runs6(table bpf.GateTable) (runs []run[addr6]) {
	upper, deep := i.uppers(table, ipv6), i.deepRuns(table)
	for n, first := range upper.firsts {
		if upper.classes[n] != uint8(bpf.GateClassCLASS_DEEP) {
			runs = append(runs, run[addr6]{addr6{High: first}, upper.classes[n]})
		}
		for len(deep) > 0 && deep[0].first.High == first {
			runs, deep = append(runs, deep[0]), deep[1:]
		}
	}
	return joinRuns(runs)
}

// joinRuns drops the runs that continue their predecessor.
func joinRuns[A address[A]](runs []run[A]) []run[A] {
	return slices.CompactFunc(runs, func(a, b run[A]) bool { return a.class == b.class })
}

// uppers decodes one family of a table.
func (i *image) uppers(table bpf.GateTable, family family) (runs uppers) {
	s, index := i.shapeOf(table, family), i.index(table, family)
	runs.put(0, s.Below)
	if len(index) == 0 {
		return runs
	}
	for number := range s.Mask + 1 {
		first, last := s.entry(number)
		value := index[number].Lines
		if value&indexClass != 0 {
			runs.put(first, uint8(value))
			continue
		}
		runs.put(first, 0)
		for _, one := range i.items(s, value, first) {
			if one.first < first || one.first > last {
				continue // of other entries
			}
			runs.put(one.first, one.class)
			if end, ends := s.end(one); ends && end <= last && end > first {
				runs.put(end, 0)
			}
		}
	}
	if end := s.First + ^s.Fixed + 1; end != 0 {
		runs.put(end, s.Above)
	}
	return runs
}

// splitsOf returns the splits of an index entry.
func splitsOf(value uint64) (all [splits]uint32) {
	for i := range all {
		all[i] = uint32(value>>(numberBits+i*splitBits)) & splitNone
	}
	return all
}

// items returns those of the lines of an index entry.
func (i *image) items(s shape, value, first uint64) []item {
	line, all := int(value&(maxLines-1)), splitsOf(value)
	if all[0] < treeLevels {
		return i.below(s, line, 0, all[0], first)
	}
	items := i.line(s, line, first)
	for n, split := range all {
		if split != splitNone {
			items = append(items, i.line(s, line+n+1, first)...)
		}
	}
	return items
}

// below returns the items below a node of a tree.
func (i *image) below(s shape, root, node int, levels uint32, first uint64) (items []item) {
	children := i.line(s, root+node, first)
	if levels == 0 {
		return children
	}
	for child := range children {
		items = append(items, i.below(s, root, node*s.lanes+1+child, levels-1, first)...)
	}
	return items
}
