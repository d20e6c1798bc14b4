package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
)

// The form in which a list is kept: magic, version, three counts (entries, IPv4
// ranges, IPv6 ranges), the ranges, and SHA-256 of all before it. Counts and
// IPv4 ranges are base-128 numbers as in encoding/binary, in their shortest
// form. An IPv4 range is its distance from the first place where it could begin,
// which is two after the end of the range before, and its width: most take three
// bytes, and no encoding of two ranges that touch exists. An IPv6 range is its
// first and last address, 16 bytes each, big-endian.
const (
	magic    = "rffeed\n"
	version  = 1
	size6    = 32 // bytes of an IPv6 range
	least4   = 2  // bytes of the shortest IPv4 range
	preamble = len(magic) + 1
)

// errDamaged ends every error of Decode that is due to the content.
var errDamaged = errors.New("the file is damaged")

// Digest returns the first 16 hexadecimal digits of SHA-256 over the ranges in
// canonical form. Lists that hold the same addresses have the same digest,
// however many entries they came from.
func (l List) Digest() string {
	sum := sha256.Sum256(appendRanges(nil, l))
	return hex.EncodeToString(sum[:8])
}

// Encode returns the form of a list to keep. The list must be as Parse,
// FromPrefixes or Decode return it. Equal lists give equal bytes.
func Encode(l List) []byte {
	out := make([]byte, 0, preamble+4*len(l.V4)+size6*len(l.V6)+64)
	out = append(append(out, magic...), version)
	out = binary.AppendUvarint(out, uint64(l.Entries))
	out = appendRanges(out, l)
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

func appendRanges(out []byte, l List) []byte {
	out = binary.AppendUvarint(out, uint64(len(l.V4)))
	out = binary.AppendUvarint(out, uint64(len(l.V6)))
	floor := uint64(0)
	for _, r := range l.V4 {
		out = binary.AppendUvarint(out, uint64(r.First)-floor)
		out = binary.AppendUvarint(out, uint64(r.Last-r.First))
		floor = uint64(r.Last) + 2
	}
	for _, r := range l.V6 {
		for _, half := range [...]uint64{r.First.High, r.First.Low, r.Last.High, r.Last.Low} {
			out = binary.BigEndian.AppendUint64(out, half)
		}
	}
	return out
}

// Decode reads what Encode wrote, and nothing else: any damage is an error, and
// so is a list that is not ascending or whose ranges touch. Of a file that it
// accepts, Encode makes the same bytes again.
func Decode(data []byte) (List, error) {
	body, err := unseal(data)
	if err != nil {
		return List{}, fmt.Errorf("decode feed: %w", err)
	}
	d := decoder{rest: body}
	out := List{Entries: int(d.number(math.MaxInt32))}
	n4, n6 := d.number(math.MaxInt32), d.number(math.MaxInt32)
	if n6*size6+n4*least4 > uint64(len(d.rest)) { // else the counts would claim memory
		return List{}, fmt.Errorf("decode feed: read counts: %w", errDamaged)
	}
	out.V4, out.V6 = d.ranges4(int(n4)), d.ranges6(int(n6))
	if d.damaged || len(d.rest) > 0 {
		return List{}, fmt.Errorf("decode feed: read ranges: %w", errDamaged)
	}
	return out, nil
}

// unseal checks all around the body and returns it.
func unseal(data []byte) ([]byte, error) {
	switch {
	case len(data) > MaxSize:
		return nil, fmt.Errorf("%d bytes; at most %d are read: %w", len(data), MaxSize, errDamaged)
	case len(data) < preamble+sha256.Size || string(data[:len(magic)]) != magic:
		return nil, fmt.Errorf("no list of ranges: %w", errDamaged)
	case data[len(magic)] != version:
		return nil, fmt.Errorf("version %d; want %d: %w", data[len(magic)], version, errDamaged)
	}
	end := len(data) - sha256.Size
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return nil, fmt.Errorf("check sum: %w", errDamaged)
	}
	return data[preamble:end], nil
}

// decoder reads a body from its front. Once damaged, it reads zeros.
type decoder struct {
	rest    []byte
	damaged bool
}

// number reads a number up to most, in its shortest form.
func (d *decoder) number(most uint64) uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > most || size > 1 && d.rest[size-1] == 0 {
		d.damaged = true
	}
	if d.damaged {
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) ranges4(n int) []Range4 {
	if n == 0 || d.damaged {
		return nil
	}
	out := make([]Range4, n)
	floor := uint64(0)
	for i := range out {
		first := floor + d.number(math.MaxUint32)
		last := first + d.number(math.MaxUint32)
		if d.damaged || last > math.MaxUint32 {
			d.damaged = true
			return nil
		}
		out[i] = Range4{uint32(first), uint32(last)}
		floor = last + 2
	}
	return out
}

func (d *decoder) ranges6(n int) []Range6 {
	if n == 0 || d.damaged || len(d.rest) != n*size6 {
		d.damaged = d.damaged || n > 0
		return nil
	}
	out := make([]Range6, n)
	for i := range out {
		half := func(at int) uint64 { return binary.BigEndian.Uint64(d.rest[8*at:]) }
		r := Range6{Address6{half(0), half(1)}, Address6{half(2), half(3)}}
		if r.Last.Less(r.First) || i > 0 && !apart(out[i-1].Last, r.First) {
			d.damaged = true
			return nil
		}
		out[i], d.rest = r, d.rest[size6:]
	}
	return out
}
