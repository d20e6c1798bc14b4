package gate

import (
	"math/bits"

	"github.com/ringfence/ringfence/bpf"
)

const (
	minIndexBits = 8 // a dozen networks take no more of the CPU's first cache
	maxIndexBits = int(bpf.GateGeometryINDEX_BITS)
	splitBits    = int(bpf.GateGeometrySPLIT_BITS)
	partShift    = splitBits - int(bpf.GateGeometryPART_BITS)
	maxGrain     = 64 - 2*minIndexBits
)

// word is a layout of words: see enum word in bpf/gate.h.
type word struct {
	lanes  int // words in a line
	length int // where the length is
	begin  int
	bits   int // of begin
	open   int // length without end
	none   int // length of what is left of a line
}

var wide = word{
	int(bpf.GateWordWIDE_WORDS), int(bpf.GateWordWIDE_LENGTH), int(bpf.GateWordWIDE_BEGIN),
	int(bpf.GateWordWIDE_BEGIN_BITS), int(bpf.GateWordWIDE_OPEN), int(bpf.GateWordWIDE_NONE),
}

var narrow = word{
	int(bpf.GateWordNARROW_WORDS), int(bpf.GateWordNARROW_LENGTH), int(bpf.GateWordNARROW_BEGIN),
	int(bpf.GateWordNARROW_BEGIN_BITS), int(bpf.GateWordNARROW_OPEN), int(bpf.GateWordNARROW_NONE),
}

// shape is how one family of one table is laid out: see struct shape in
// bpf/gate.h.
type shape struct {
	word
	bpf.GateShape
}

// shapeOf fits a shape to runs: the index leaves out what all their boundaries
// have in common, words the bits that are zero in all of them.
func shapeOf(runs uppers) shape {
	s := shape{word: wide}
	s.Below, s.Above = runs.classes[0], runs.classes[len(runs.classes)-1]
	inner := runs.firsts[1:]
	if len(inner) == 0 {
		s.Fixed = ^uint64(0) // the index has one address
		return s
	}
	common, grain := bits.LeadingZeros64(inner[0]^inner[len(inner)-1]), maxGrain
	for _, first := range inner {
		grain = min(grain, bits.TrailingZeros64(first))
	}
	s.First, s.Grain = inner[0], uint8(grain)
	common = min(common, 64-maxIndexBits-splitBits, 64-grain-minIndexBits)
	if s.leastBits(narrow, common) <= wantedBits(runs) && !runs.anyDeep() {
		s.word, s.Narrow = narrow, 1
	}
	size := min(max(s.leastBits(s.word, common), wantedBits(runs)), 64-grain-common)
	s.Fixed = ^(^uint64(0) >> common)
	s.First &= s.Fixed
	s.Mask = 1<<size - 1
	s.Shift = uint8(64 - common - size)
	s.Split = s.Shift - uint8(splitBits)
	return s
}

// leastBits is how many bits the index needs so that words tell apart the
// addresses of an entry.
func (s *shape) leastBits(w word, common int) int {
	return max(64-int(s.Grain)-w.bits-common, minIndexBits)
}

// wantedBits is how many bits of the index give an entry about 32 items, which are
// two lines or four.
func wantedBits(runs uppers) int {
	return min(max(bits.Len(uint(len(runs.firsts)/64)), minIndexBits), maxIndexBits)
}

// entry returns the addresses of an index entry.
func (s *shape) entry(number uint32) (first, last uint64) {
	first = s.First + uint64(number)<<s.Shift
	return first, first + (1<<s.Shift - 1)
}

// block tells apart the addresses that words don't.
func (s *shape) block(address uint64) uint64 { return address >> s.Grain >> s.bits }

// part is where in its entry an address is, as a split counts.
func (s *shape) part(address uint64) uint32 {
	return uint32(address>>s.Split) & (1<<splitBits - 1)
}

// item is addresses of one class: 2^length grains, or with length open all up to
// the next item.
type item struct {
	first  uint64
	length int
	class  uint8
}

func (s *shape) encode(one item) uint64 {
	begin := one.first >> s.Grain & (1<<s.bits - 1)
	return begin<<s.begin | uint64(one.length)<<s.length | uint64(one.class)
}

// blank is the word that fills lines up.
func (s *shape) blank() uint64 {
	return (1<<s.bits-1)<<s.begin | uint64(s.none)<<s.length
}

// decode is the inverse of encode, for a word of an entry that begins at first.
func (s *shape) decode(word, first uint64) item {
	return item{
		first:  s.block(first)<<s.bits<<s.Grain | word>>s.begin<<s.Grain,
		length: int(word >> s.length & (1<<(s.begin-s.length) - 1)),
		class:  uint8(word & (1<<s.length - 1)),
	}
}

// end returns the first address after an item, and false where it is open.
func (s *shape) end(one item) (uint64, bool) {
	return one.first + 1<<one.length<<s.Grain, one.length != s.open
}

// partsOf has a bit for each part of an entry in which an item has a class.
func (s *shape) partsOf(items []item, last uint64) (parts uint64) {
	for i, one := range items {
		end, ends := s.end(one)
		if !ends && i+1 < len(items) {
			end = items[i+1].first
		} else if !ends {
			end = last + 1
		}
		if from, to := s.part(one.first)>>partShift, s.part(end-1)>>partShift; one.class != 0 {
			parts |= ^uint64(0) << from & (^uint64(0) >> (63 - to))
		}
	}
	return parts
}

// itemsOf appends the items of an entry, whose runs those are that begin in it.
// class is that of the address before.
func (s *shape) itemsOf(items []item, class uint8, first, last uint64, runs uppers) []item {
	begin := first
	for i, next := range runs.firsts {
		items = s.add(items, begin, next-begin, class)
		begin, class = next, runs.classes[i]
	}
	return s.add(items, begin, last-begin+1, class)
}

// add appends a run: nothing where the item before has said so already.
func (s *shape) add(items []item, first, size uint64, class uint8) []item {
	one := item{first, s.open, class}
	if class == 0 && (len(items) == 0 || items[len(items)-1].length != s.open) || size == 0 {
		return items
	}
	if grains := size >> s.Grain; class != 0 && grains&(grains-1) == 0 {
		one.length = bits.TrailingZeros64(grains)
	}
	return append(items, one)
}
