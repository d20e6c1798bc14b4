package gate

import (
	"encoding/binary"
	"math/bits"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

const (
	minIndexBits = 8 // since words tell apart the addresses of one /8
	maxIndexBits = int(bpf.GateGeometryINDEX_BITS)

	lineWords    = int(bpf.GateGeometryLINE_WORDS)
	linesPerPage = 1 << bpf.GateGeometryLINE_BITS
	wordsPerPage = linesPerPage * lineWords
	maxLines     = (int(bpf.GatePlacePLACE_NODES) - int(bpf.GatePlacePLACE_LINES)) * linesPerPage

	indexClass    = 1 << 31 // INDEX_CLASS of bpf/gate.h
	indexLineBits = 18      // INDEX_LINE_BITS
)

// indexBits is how many bits of an address pick its index entry: so many that an
// entry mostly names one line, and no more, for a small index stays in the CPU's
// first cache. From 65,536 runs on an entry is at most a /16, or its lines might
// be more than it can count.
func indexBits(runs int) int {
	wanted := bits.Len(uint(runs / 4))
	if runs > 1<<16 {
		wanted = max(wanted, 16)
	}
	return min(max(wanted, minIndexBits), maxIndexBits)
}

// addV4 writes the IPv4 table of runs, one index entry after the other.
func (t *tables) addV4(table bpf.GateTable, runs []run[addr4]) appliance.Errors {
	shift := 32 - indexBits(len(runs))
	t.head.Shift[table] = uint8(shift)
	index := t.page(bpf.GatePlacePLACE_INDEX + bpf.GatePlace(table))
	w := wordWriter{image: t.image, at: t.lines * lineWords}
	var words []uint32 // of one entry
	class := uint8(0)
	for entry := range uint32(1) << (32 - shift) {
		words, runs = wordsOf(words[:0], class, entry<<shift, shift, runs)
		class = uint8(words[len(words)-1])
		if entry<<shift<<8 == 0 {
			w.endLine()
		}
		value := uint32(indexClass) | uint32(class)
		if len(words) > 1 {
			first := w.write(words)
			line := first / lineWords
			value = uint32((first+len(words)-1)/lineWords-line+1)<<indexLineBits | uint32(line)
		}
		binary.LittleEndian.PutUint32(index[4*entry:], value)
	}
	w.endLine()
	t.lines = w.at / lineWords
	if t.lines > maxLines {
		return appliance.Errors{invalid(fieldOf(table, "ipv4"), "the networks take %d lines of %d ranges; the gate holds %d lines", t.lines, lineWords, maxLines)}
	}
	return nil
}

func fieldOf(table bpf.GateTable, family string) string {
	if table == bpf.GateTableTABLE_FEED {
		return "feeds." + family
	}
	return "sources." + family
}

// wordsOf appends the words of an index entry, of which the first is that of its
// lowest address, and returns the runs that begin after it. class is that of the
// address before.
func wordsOf(words []uint32, class uint8, first uint32, shift int, runs []run[addr4]) ([]uint32, []run[addr4]) {
	if len(runs) == 0 || uint32(runs[0].first) != first {
		words = append(words, first<<8|uint32(class))
	}
	n := 0
	for n < len(runs) && uint32(runs[n].first)>>shift == first>>shift {
		words = append(words, uint32(runs[n].first)<<8|uint32(runs[n].class))
		n++
	}
	return words, runs[n:]
}

// wordWriter writes the words of one table. Beyond maxLines it only counts.
type wordWriter struct {
	*image
	page []byte
	at   int    // number of the next word
	last uint32 // the word before
	// begun is false where the next word begins a line that has nothing to do with
	// the one before.
	begun bool
}

// write appends an entry's words and returns the number of the first. Where the
// word before has its class, that one stands for it.
func (w *wordWriter) write(words []uint32) (first int) {
	first = w.at
	if w.begun && uint8(w.last) == uint8(words[0]) {
		first--
	}
	if first/wordsPerPage != (first+len(words)-1)/wordsPerPage {
		w.endLine()
		w.at = (w.at + wordsPerPage - 1) / wordsPerPage * wordsPerPage
		first = w.at
	}
	for _, word := range words[w.at-first:] {
		w.put(word)
	}
	return first
}

func (w *wordWriter) put(word uint32) {
	at := w.at % wordsPerPage
	if w.at/lineWords >= maxLines {
		w.page = nil
	} else if at == 0 || w.page == nil {
		w.page = w.image.page(bpf.GatePlacePLACE_LINES + bpf.GatePlace(w.at/wordsPerPage))
	}
	if w.page != nil {
		binary.LittleEndian.PutUint32(w.page[4*at:], word)
	}
	w.at, w.last, w.begun = w.at+1, word, true
}

// endLine fills the line up with the last word.
func (w *wordWriter) endLine() {
	for w.at%lineWords != 0 {
		w.put(w.last)
	}
	w.begun = false
}
