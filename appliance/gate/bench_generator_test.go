package gate

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/ringfence/ringfence/scripts/bench/yard"
)

// A generator floods one device with frames that the kernel's test-run makes
// ("live frames"), each from the next source of a ring. It runs on the CPU that
// asks for it, and so does all that the receiver does: a veth's poll runs when
// the generator's batch of 64 ends, before the next begins. So the time of a
// packet is that of its sending, receiving and judging together.
type generator struct {
	testing.TB
	program *ebpf.Program
	frame   []byte
}

// stream is one kind of traffic from many sources.
type stream struct {
	ring  ring
	frame []byte
}

func newStream(tb testing.TB, frame []byte, sources []netip.Addr) stream {
	tb.Helper()
	return stream{newRing(tb, frame, sources), frame}
}

// to aims a stream at a device outside.
func (s stream) to(tb testing.TB, device int) generator {
	tb.Helper()
	return s.end(tb, asm.Mov.Imm(asm.R1, int32(device)), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call())
}

// nowhere drops every frame where it was made.
func (s stream) nowhere(tb testing.TB) generator {
	tb.Helper()
	return s.end(tb, asm.Mov.Imm(asm.R0, 1)) // XDP_DROP
}

func (s stream) end(tb testing.TB, end ...asm.Instruction) generator {
	tb.Helper()
	code := append(s.ring.take(s.frame), s.restore()...)
	code = append(code, end...)
	code = append(code,
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), // XDP_ABORTED
		asm.Return())
	program, err := ebpf.NewProgram(assembled("generator", code, 0))
	check(tb, err)
	tb.Cleanup(func() { check(tb, program.Close()) })
	return generator{tb, program, s.frame}
}

// restore writes again what forwarding changes, since the kernel uses the pages
// of earlier frames: the hardware address and the hop count.
func (s stream) restore() asm.Instructions {
	if s.ring.size != 8 {
		return nil // IPv6 is never forwarded here
	}
	mac, hops := binary.NativeEndian.Uint32(s.frame), binary.NativeEndian.Uint16(s.frame[4:])
	ttl := binary.NativeEndian.Uint16(s.frame[atTTL:])
	return asm.Instructions{
		asm.StoreImm(asm.R2, 0, int64(mac), asm.Word),
		asm.StoreImm(asm.R2, 4, int64(hops), asm.Half),
		asm.StoreImm(asm.R2, atTTL, int64(ttl), asm.Half),
	}
}

// send makes n packets and returns the time of one. The kernel's clock counts
// whole nanoseconds for the packets of a run: the mean of some is finer.
func (g generator) send(n int) float64 {
	g.Helper()
	const runs = 8
	sum := 0.0
	for range runs {
		sum += testRun(g, g.program, g.frame, n/runs, liveFrames).kernel
	}
	return sum / runs
}

// aimed is a frame from anywhere to a box: addressed to the box itself, or to a
// host behind it.
func aimed(f frame, destination string) []byte {
	out := f.bytes()
	copy(out, yard.MAC())
	copy(out[6:], []byte{2, 0, 0, 0, 0, 2})
	if f.source.Is4() {
		to := netip.MustParseAddr(destination)
		copy(out[atDest4:], to.AsSlice())
	}
	return out
}
