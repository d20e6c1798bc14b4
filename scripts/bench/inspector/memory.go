package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/scripts/bench/figures"
	"github.com/ringfence/ringfence/scripts/peers"
)

// curve is the chart of the documentation, from the top of the tree.
const curve = "docs/inspector-memory.svg"

// many is how many calls and how many datagrams the documentation speaks of. A
// run of fewer draws its chart beside the JSON.
const many = 1_000_000

// memory lets the daemon carry so many calls, and then as many garbage datagrams
// from as many sources, and draws what it held meanwhile.
func memory(ctx context.Context, count int) error {
	return within(ctx, func(ctx context.Context, lab *peers.Lab) error {
		b := &bench{lab: lab}
		if err := b.raiseOurs(ctx); err != nil {
			return err
		}
		var m samples
		if err := b.everyCall(ctx, count, &m); err != nil {
			return err
		}
		if err := b.everyDatagram(ctx, count, &m); err != nil {
			return err
		}
		return m.keep(lab, count)
	})
}

// samples are the curves.
type samples struct{ all []figures.Sample }

// take adds what the daemon holds now.
func (m *samples) take(b *bench, series string, done int) error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.ringfence.pids[0]))
	if err != nil {
		return fmt.Errorf("the daemon is gone: %w", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		return fmt.Errorf("read VmRSS: %w", err)
	}
	m.all = append(m.all, figures.Sample{Series: series, Done: done, Resident: kilobytes / 1024})
	return nil
}

// span is the least and the most of a series, without its first tenth, in which
// tables and caches fill.
func (m *samples) span(series string, count int) (least, most float64) {
	for _, s := range m.all {
		if s.Series != series || s.Done < count/10 {
			continue
		}
		if least == 0 || s.Resident < least {
			least = s.Resident
		}
		most = max(most, s.Resident)
	}
	return least, most
}

func (m *samples) keep(lab *peers.Lab, count int) error {
	folder := filepath.Join(lab.Root, results)
	data, err := json.MarshalIndent(m.all, "", "\t")
	if err != nil {
		return err
	}
	to := filepath.Join(lab.Root, curve)
	if count < many {
		to = filepath.Join(folder, filepath.Base(curve))
	}
	for _, series := range [...]string{calls, datagrams} {
		least, most := m.span(series, count)
		fmt.Printf("  %d %s: %.0f to %.0f MiB resident after the first tenth\n", count, series, least, most)
	}
	return errors.Join(
		os.MkdirAll(folder, 0o755),
		os.WriteFile(filepath.Join(folder, "memory.json"), data, 0o644),
		os.WriteFile(to, []byte(figures.Memory(m.all)), 0o644))
}

// The series of the chart.
const (
	calls     = "completed calls"
	datagrams = "garbage datagrams"
)

// everyCall makes the calls, some at a time so that the samples lie dense.
func (b *bench) everyCall(ctx context.Context, count int, m *samples) error {
	const portion = 10_000
	unclean := 0
	for done := 0; done < count; done += portion {
		if err := m.take(b, calls, done); err != nil {
			return err
		}
		b.calls = min(portion, count-done)
		err := b.load(ctx, b.ringfence, "call", passes, readings{})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			unclean++ // this machine was too busy for a call of 10,000
		}
	}
	if unclean > 0 {
		fmt.Printf("  %d of %d portions of %d calls had one that timed out\n", unclean, (count+portion-1)/portion, portion)
	}
	return m.take(b, calls, count)
}

// everyDatagram sends garbage, each from a source of its own: by turns from
// strangers and from ports of the LAN.
func (b *bench) everyDatagram(ctx context.Context, count int, m *samples) error {
	before, err := b.refused(ctx)
	if err != nil {
		return err
	}
	raw := -1
	if err := b.lab.Inside("pbx", func() (err error) {
		raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		return fmt.Errorf("open raw socket: %w", err)
	}
	defer unix.Close(raw)
	random := rand.New(rand.NewPCG(3, 4))
	to := netip.MustParseAddr(peers.BoxLAN)
	seen := uint64(0)
	for done := 0; done < count; {
		if done%10_000 == 0 {
			if err := m.take(b, datagrams, done); err != nil {
				return err
			}
		}
		const portion = 2_000 // fits into the inspector's receive buffer
		for range portion {
			err := unix.Sendto(raw, garbage(random, done, to), 0, &unix.SockaddrInet4{Addr: to.As4()})
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return fmt.Errorf("send garbage: %w", err)
			}
			done++
		}
		if seen, err = b.caughtUp(ctx, before, uint64(done)); err != nil {
			return err
		}
	}
	fmt.Printf("  the inspector counted %d of %d garbage datagrams\n", seen, count)
	if seen < uint64(count)*9/10 {
		return errors.New("too much of the garbage never reached the inspector")
	}
	return m.take(b, datagrams, count)
}

// caughtUp waits until the inspector has refused what was sent, or no more comes,
// and returns how many it has.
func (b *bench) caughtUp(ctx context.Context, before, sent uint64) (seen uint64, err error) {
	for last := uint64(0); ; last = seen {
		now, err := b.refused(ctx)
		if err != nil {
			return 0, err
		}
		if seen = now - before; seen >= sent || seen == last {
			return seen, nil
		}
	}
}

// refused is how many messages the inspector has refused so far.
func (b *bench) refused(ctx context.Context) (uint64, error) {
	var drops api.Drops
	if err := b.lab.Read(ctx, &drops, "drops"); err != nil {
		return 0, err
	}
	var sum uint64
	for _, n := range drops.Refusals {
		sum += n
	}
	return sum, nil
}

// garbage is an IPv4 packet with a UDP datagram that is no SIP message: noise, or
// a request that breaks off.
func garbage(random *rand.Rand, n int, to netip.Addr) []byte {
	from := [4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)} // a stranger
	port := uint16(5060)
	if n%2 == 1 { // 229 hosts of the LAN, a port after the other
		from = [4]byte{10, 77, 0, byte(20 + n/2%229)}
		port = uint16(1024 + n/2/229)
	}
	payload := make([]byte, 64)
	for i := range payload {
		payload[i] = byte(random.Uint32())
	}
	if n%4 >= 2 {
		payload = fmt.Appendf(nil, "INVITE sip:1@host SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%d\r\nFrom: <sip:a@b", n)
	}
	packet := make([]byte, 28, 28+len(payload))
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_UDP // version and length, TTL, protocol
	binary.BigEndian.PutUint16(packet[2:], uint16(28+len(payload)))
	copy(packet[12:], from[:])
	copy(packet[16:], to.AsSlice())
	binary.BigEndian.PutUint16(packet[20:], port)
	binary.BigEndian.PutUint16(packet[22:], 5060)
	binary.BigEndian.PutUint16(packet[24:], uint16(8+len(payload))) // no checksum: 0 says so
	return append(packet, payload...)
}
