package gate

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// ring is the source addresses that the packets of a measurement take turns
// with: more than the CPU's caches hold, so that a lookup costs what it costs
// when the whole internet knocks. Entries are 8 bytes for IPv4 (address, header
// checksum, transport checksum), 16 for IPv6.
type ring struct {
	addresses *ebpf.Map
	cursor    *ebpf.Map
	entries   int
	size      int // of an entry
}

// newRing holds the sources of frame's packets; there are a power of two of
// them, of the frame's family.
func newRing(tb testing.TB, frame []byte, sources []netip.Addr) ring {
	tb.Helper()
	r := ring{entries: len(sources), size: 16}
	if sources[0].Is4() {
		r.size = 8
	}
	if r.entries&(r.entries-1) != 0 {
		tb.Fatalf("%d sources are no power of two", r.entries)
	}
	bytes := make([]byte, 0, r.entries*r.size)
	for _, source := range sources {
		bytes = append(bytes, source.AsSlice()...)
		if source.Is4() {
			bytes = append(bytes, checksums(frame, source)...)
		}
	}
	r.addresses = oneValue(tb, "ring", len(bytes))
	r.cursor = oneValue(tb, "cursor", 8)
	check(tb, r.addresses.Put(uint32(0), bytes))
	return r
}

// oneValue is a map of one value, which programs reach without a lookup.
func oneValue(tb testing.TB, name string, size int) *ebpf.Map {
	tb.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1})
	check(tb, err)
	tb.Cleanup(func() { check(tb, m.Close()) })
	return m
}

// Offsets in an untagged frame without options.
const (
	atTTL     = etherHeader + 8
	atIPSum   = etherHeader + 10
	atSource4 = etherHeader + 12
	atDest4   = etherHeader + 16
	atL4      = etherHeader + 20
	atSource6 = etherHeader + 8
	enough    = etherHeader + 40 // of both families, up to the checksums
)

// transportSum is where the transport has its checksum.
func transportSum(frame []byte) int {
	if frame[atTTL+1] == protoTCP {
		return atL4 + 16
	}
	return atL4 + 6
}

// checksums are those of frame with another source: of the header, and of the
// transport, which UDP may leave out.
func checksums(frame []byte, source netip.Addr) []byte {
	header := append([]byte(nil), frame[etherHeader:atL4]...)
	copy(header[12:], source.AsSlice())
	header[10], header[11] = 0, 0
	out := binary.BigEndian.AppendUint16(nil, onesComplement(header))
	if frame[atTTL+1] != protoTCP {
		return append(out, 0, 0)
	}
	segment := append([]byte(nil), frame[atL4:]...)
	segment[16], segment[17] = 0, 0
	pseudo := append(header[12:20:20], 0, protoTCP, byte(len(segment)>>8), byte(len(segment)))
	return binary.BigEndian.AppendUint16(out, onesComplement(append(pseudo, segment...)))
}

// onesComplement is the internet checksum of RFC 1071.
func onesComplement(bytes []byte) uint16 {
	sum := uint32(0)
	for i, b := range bytes {
		sum += uint32(b) << (8 * (1 - i%2))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// take writes the next source of the ring into the packet. R6 keeps the
// context, and "out" is where packets go that are too short.
func (r ring) take(frame []byte) asm.Instructions {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word), // data
		asm.LoadMem(asm.R3, asm.R6, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, enough),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
		asm.LoadMapValue(asm.R7, r.cursor.FD(), 0),
		asm.LoadMem(asm.R8, asm.R7, 0, asm.DWord),
		asm.Mov.Reg(asm.R9, asm.R8),
		asm.Add.Imm(asm.R9, 1),
		asm.StoreMem(asm.R7, 0, asm.R9, asm.DWord),
		asm.And.Imm(asm.R8, int32(r.entries-1)),
		asm.Mul.Imm(asm.R8, int32(r.size)),
		asm.LoadMapValue(asm.R9, r.addresses.FD(), 0),
		asm.Add.Reg(asm.R9, asm.R8),
	}
	put := func(from, to int, size asm.Size) {
		code = append(code, asm.LoadMem(asm.R1, asm.R9, int16(from), size), asm.StoreMem(asm.R2, int16(to), asm.R1, size))
	}
	if r.size == 16 {
		put(0, atSource6, asm.DWord)
		put(8, atSource6+8, asm.DWord)
		return code
	}
	put(0, atSource4, asm.Word)
	put(4, atIPSum, asm.Half)
	put(6, transportSum(frame), asm.Half)
	return code
}

// randomSource is program behind a wrapper that gives each packet the next of
// sources, of which there are a power of two of one family. What the wrapper
// costs is the time of the same one before a bare program.
func randomSource(tb testing.TB, program *ebpf.Program, sources []netip.Addr) *ebpf.Program {
	tb.Helper()
	like := frame{source: sources[0], protocol: protoUDP, port: 5060, payload: 400}.bytes()
	slot, err := ebpf.NewMap(&ebpf.MapSpec{Name: "slot", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	check(tb, err)
	tb.Cleanup(func() { check(tb, slot.Close()) })
	check(tb, slot.Put(uint32(0), program))
	code := append(newRing(tb, like, sources).take(like),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, slot.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), // XDP_ABORTED
		asm.Return())
	// A caller and its callee both take frames in fragments or both don't, and the
	// kernel tells nobody which a program does: the wrong wrapper won't load.
	wrapper, err := ebpf.NewProgram(assembled("random_source", code, unix.BPF_F_XDP_HAS_FRAGS))
	if err != nil {
		wrapper, err = ebpf.NewProgram(assembled("random_source", code, 0))
	}
	check(tb, err)
	tb.Cleanup(func() { check(tb, wrapper.Close()) })
	return wrapper
}

func assembled(name string, code asm.Instructions, flags uint32) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: name, Type: ebpf.XDP, AttachType: ebpf.AttachXDP, Flags: flags, Instructions: code,
		License: "Dual BSD/GPL"}
}
