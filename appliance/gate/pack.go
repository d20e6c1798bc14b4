package gate

import (
	"encoding/binary"
	"unsafe"

	"github.com/ringfence/ringfence/bpf"
)

const (
	entryBytes   = int(unsafe.Sizeof(bpf.GateEntry{}))
	lineBytes    = 64 // one cache line
	linesPerPage = 1 << bpf.GateGeometryLINE_BITS
	numberBits   = int(bpf.GateGeometryNUMBER_BITS)
	maxLines     = 1 << numberBits
	indexClass   = 1 << 63 // INDEX_CLASS of bpf/gate.h
	splitNone    = uint32(bpf.GateGeometrySPLIT_NONE)
	treeLevels   = uint32(bpf.GateGeometryTREE_LEVELS)
	splits       = int(bpf.GateGeometrySPLITS)
)

// packer fills lines with the items of one entry after the other. The last line
// is open for those of the next.
type packer struct {
	*tables
	shape
	used  int    // words of the last line
	last  item   // in it
	block uint64 // of the addresses in it
}

// pack writes an entry's items and returns which lines are the entry's.
func (p *packer) pack(items []item, first uint64) uint64 {
	if block := p.shape.block(first); block != p.block {
		p.endLine()
		p.block = block
	}
	if p.used > 0 && p.last.length == p.open && p.last.class != 0 && items[0].first != first {
		// Else the line's last item would go on to where this entry has none.
		items = append([]item{{first, p.open, 0}}, items...)
	}
	if entry, fit := p.lineUp(items, first); fit {
		return entry
	}
	if p.endLine(); items[0].class == 0 {
		items = items[1:]
	}
	if entry, fit := p.lineUp(items, first); fit {
		return entry
	}
	return p.tree(items, first)
}

// lineUp writes items into what is left of the line and those after it, or
// returns false where they don't fit.
func (p *packer) lineUp(items []item, first uint64) (entry uint64, fit bool) {
	var cuts [splits]int // how many items are before each split
	for i := range cuts {
		cuts[i] = len(items)
	}
	room, at := p.lanes-p.used, 0
	for i := 0; len(items)-at > room; i++ {
		if i == splits {
			return 0, false
		}
		n := at + room
		for n > at && !p.parts(items[n-1], items[n], first) {
			n--
		}
		if n == at {
			return 0, false
		}
		cuts[i], at, room = n, n, p.lanes
	}
	return p.putLines(items, cuts), true
}

// putLines writes items in lines that end at the cuts.
func (p *packer) putLines(items []item, cuts [splits]int) (entry uint64) {
	p.put(items[:cuts[0]])
	entry = uint64(p.lines - 1)
	for i, cut := range cuts {
		split := splitNone
		if cut < len(items) {
			next := append(cuts[:], len(items))[i+1]
			split = p.part(items[cut].first) - 1
			p.endLine()
			p.put(items[cut:next])
		}
		entry |= uint64(split) << (numberBits + i*splitBits)
	}
	return entry
}

// parts tells whether a split leaves an item before it and the next one after it,
// and no address to the wrong of them.
func (p *packer) parts(before, after item, first uint64) bool {
	part := p.part(after.first)
	at := first + uint64(part)<<p.Split
	end, ends := p.end(before)
	return part > treeLevels && (at == after.first || before.first < at && (before.class == 0 || ends && end <= at))
}

// put adds items to the last line, which has room for them.
func (p *packer) put(items []item) {
	if p.used == 0 {
		p.lines++
	}
	for _, one := range items {
		p.write(p.lines-1, p.used, p.encode(one))
		p.used, p.last = p.used+1, one
	}
}

func (p *packer) endLine() {
	for ; p.used > 0 && p.used < p.lanes; p.used++ {
		p.write(p.lines-1, p.used, p.blank())
	}
	p.used = 0
}

// write sets a word of a line. What lies beyond the last page is counted only,
// and reported at the end.
func (p *packer) write(line, at int, word uint64) {
	if line >= maxLines {
		return
	}
	page := p.page(bpf.GatePlacePLACE_LINES + bpf.GatePlace(line/linesPerPage))
	bytes := page[line%linesPerPage*lineBytes:][:lineBytes]
	if p.lanes == wide.lanes {
		binary.LittleEndian.PutUint64(bytes[8*at:], word)
	} else {
		binary.LittleEndian.PutUint32(bytes[4*at:], uint32(word))
	}
}

// tree writes the items of an entry that five lines can't hold.
func (p *packer) tree(items []item, first uint64) uint64 {
	leaves := (len(items) + p.lanes - 1) / p.lanes
	levels, root, nodes := uint64(0), p.lines, 0
	for width := 1; width < leaves; width *= p.lanes {
		levels, nodes = levels+1, nodes+width
	}
	p.lines += nodes
	begins := make([]uint64, 0, leaves) // of the lines of one level
	for at := 0; at < len(items); at += p.lanes {
		begins = append(begins, items[at].first)
		p.put(items[at:min(at+p.lanes, len(items))])
		p.endLine()
	}
	begins[0] = first
	for nodes > 0 {
		nodes = (nodes - 1) / p.lanes // the first of its level
		begins = p.level(root+nodes, begins)
	}
	return levels<<numberBits | uint64(root)
}

// level writes a level of a tree, over lines of which it is told the first
// addresses, and returns those of its own.
func (p *packer) level(line int, children []uint64) (begins []uint64) {
	for at := range (len(children) + p.lanes - 1) / p.lanes * p.lanes {
		word := p.blank()
		if at < len(children) {
			word = p.encode(item{first: children[at]})
		}
		if at%p.lanes == 0 {
			begins = append(begins, children[at])
		}
		p.write(line+at/p.lanes, at%p.lanes, word)
	}
	return begins
}
