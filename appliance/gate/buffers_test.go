package gate

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

// longest is the longest frame that the kernel's test-run takes in buffers of
// a page each.
const longest = 60_000

// stretched puts the headers of a frame deep into it, and makes it so long that
// the driver splits it: headers then begin in one buffer and end in the next.
// What comes out need not be sound.
func stretched(random *rand.Rand, frame []byte) []byte {
	out := deepened(random, frame)
	if random.IntN(3) > 0 {
		out = append(out, make([]byte, random.IntN(longest-len(out)))...)
	}
	return out
}

// deepened puts destination options before the first header of an IPv6 packet.
// Their lengths put what follows on both sides of the first buffers' ends.
func deepened(random *rand.Rand, frame []byte) []byte {
	at := 12
	for at+2 <= len(frame) && (frame[at] == 0x81 || frame[at] == 0x88 && frame[at+1] == 0xa8) {
		at += 4
	}
	at += 2
	if at+40 > len(frame) || binary.BigEndian.Uint16(frame[at-2:]) != typeIPv6 {
		return frame
	}
	out, options, size := slices.Clone(frame[:at+40]), []byte{}, binary.BigEndian.Uint16(frame[at+4:])
	next := out[at+6]
	for range 1 + random.IntN(7) {
		one := make([]byte, pick(random, 2048, 2048, 8*(1+random.IntN(256)), 8*(1+random.IntN(40))))
		one[0], one[1] = next, byte(len(one)/8-1)
		next = extDest
		options = append(one, options...)
	}
	out[at+6] = next
	binary.BigEndian.PutUint16(out[at+4:], size+uint16(len(options)))
	return slices.Concat(out, options, frame[at+40:])
}

// TestFramesInManyBuffers holds the driver's program against the model where a
// frame takes more than one buffer.
func TestFramesInManyBuffers(t *testing.T) {
	p := loadProgram(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for range *packets / 10_000 {
		tr := trafficNear(random, randomGuard(random))
		p.enforce(tr.guard)
		guard, m := tr.guard, &rules.Memory{Now: present}
		p.forget()
		began := time.Now()
		for n, step := range tr.steps(100) {
			if time.Since(began) > moment {
				break // limits have been refilled
			}
			if step.act != "in" {
				step.kernel(p, tr.guard)
				step.model(&guard, m)
				continue
			}
			step.frame = stretched(random, step.frame)
			before := p.tallies()
			p.verdict(step.frame)
			got, want := moved(t, p.gate, before), []appliance.Reason{step.model(&guard, m)}
			if !slices.Equal(got, want) {
				t.Fatalf("kernel says %v, model %v (-seed %d) of step %d, %d bytes that begin %x", got, want, seed, n, len(step.frame), step.frame[:min(len(step.frame), 128)])
			}
		}
	}
}

// openTap makes a device whose frames the test writes, each in the pieces that it
// wants.
func openTap(t testing.TB, name string, flags uint16) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		t.Skipf("SKIPPED, FRAMES IN PIECES ARE NOT TESTED: this kernel has no taps: %v", err)
	}
	check(t, err)
	t.Cleanup(func() { check(t, unix.Close(fd)) })
	request, err := unix.NewIfreq(name)
	check(t, err)
	request.SetUint16(flags | unix.IFF_NO_PI)
	check(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	return fd
}

// pieces cuts a frame at random places. The first piece is what the kernel finds
// in one go; the others are pages of their own.
func pieces(random *rand.Rand, frame []byte) (out [][]byte) {
	cut := min(len(frame), etherHeader+random.IntN(60))
	out, frame = append(out, frame[:cut]), frame[cut:]
	for len(frame) > 0 && len(out) < 12 {
		cut := min(len(frame), 1+random.IntN(pick(random, 8, 64, 4096)), 4096)
		out, frame = append(out, frame[:cut]), frame[cut:]
	}
	for len(frame) > 0 {
		cut := min(len(frame), 4096)
		out, frame = append(out, frame[:cut]), frame[cut:]
	}
	return out
}

// TestStackOfPieces sends frames through the stack itself, in pieces: headers
// lie beyond what is in one go, and the kernel has taken off the outermost tag,
// which counts all the same.
func TestStackOfPieces(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	fd := openTap(t, "tap0", unix.IFF_TAP|unix.IFF_NAPI|unix.IFF_NAPI_FRAGS)
	l.run("ip", "link", "set", "tap0", "up")
	g, _ := l.open("wan")
	l.run("ip", "link", "set", "wan", "down") // its neighbour may talk
	index := indexesOf([]string{"tap0"})[0]
	_, err := ingressHook(pinsIn(l.dir)).put(int(index), g.kernel.Ingress)
	check(t, err)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 3))
	for range max(2, *packets/30_000) {
		guard := randomGuard(random)
		check(t, g.swap(guard, "pieces"))
		tr := trafficNear(random, guard)
		for range 200 {
			frame := tr.spoil(tr.frame(0).bytes())
			if random.IntN(3) == 0 {
				frame = deepened(random, frame)
			}
			cut := pieces(random, frame)
			before, err := g.Tallies()
			check(t, err)
			_, err = unix.Writev(fd, cut)
			check(t, err)
			got := moved(t, g, before)
			program{TB: t, objects: g.kernel, gate: g}.forget()
			_, want := guard.Judge(frame, nil)
			lost := len(got) == 0 && len(frame) < etherHeader+6 // by the kernel: no room for what a tag says
			if !lost && !slices.Equal(got, []appliance.Reason{want}) {
				t.Fatalf("kernel says %v, model %v (-seed %d) of %d pieces of %d bytes that begin %x", got, want, seed, len(cut), len(frame), frame[:min(len(frame), 128)])
			}
		}
	}
}

func moved(t testing.TB, g *Gate, before appliance.Tallies) (out []appliance.Reason) {
	t.Helper()
	after, err := g.Tallies()
	check(t, err)
	for reason, one := range after {
		if one.Packets != before[reason].Packets {
			out = append(out, reason)
		}
	}
	return out
}

// An interface without Ethernet frames shows the gate no packet that it could
// read: a stranger's INVITE would pass as no IP.
func TestInterfaceWithoutFrames(t *testing.T) {
	l := newLab(t)
	l.enter(l.box)
	openTap(t, "tun0", unix.IFF_TUN)
	l.refuse("it carries no Ethernet frames", "tun0")
	g, j := l.open("wan", "tun0")
	if got := g.State().Interfaces[1].Error; !j.has(got) || got == "" {
		t.Errorf("state %q, events %q", got, j.lines)
	}
}
