package gate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"os"
	"strconv"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

// samplePeriod is how often the budget for samples is renewed: two for each cell
// of it (CELL_BUDGET of bpf/gate.h), which a reason, a CPU and an eighth of all
// sources share. A flood of one kind spends its own cells and no others.
const samplePeriod = 100 * time.Millisecond

// Run delivers samples of dropped packets until ctx ends; then it returns nil. Of
// media that no call negotiated it reports events, also where that passed.
// Tallies are exact; samples are for display, and say how many drops they stand
// for. While nobody runs it, the program takes no samples. deliver must not
// block.
func (g *Gate) Run(ctx context.Context, deliver func(appliance.Drop)) error {
	reader, err := g.openSamples()
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	// What an earlier daemon left unread has no time any more.
	if err := g.drain(reader, time.Now(), func(appliance.Drop) {}); err != nil {
		return err
	}
	known := strays{}
	sort := func(sample appliance.Drop) {
		if isStray(sample.Reason) {
			g.tell(known, sample)
		}
		if sample.Reason.Verdict() == appliance.Block {
			deliver(sample)
		}
	}
	for ctx.Err() == nil {
		if err := g.renewBudget(); err != nil {
			return err
		}
		if err := g.drain(reader, time.Now().Add(samplePeriod), sort); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gate) openSamples() (*ringbuf.Reader, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return nil, errClosed
	}
	reader, err := ringbuf.NewReader(g.kernel.Drops)
	if err != nil {
		return nil, fmt.Errorf("open samples: %w", err)
	}
	return reader, nil
}

// renewBudget begins another epoch.
func (g *Gate) renewBudget() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return errClosed
	}
	return setControl(g.kernel, func(c *bpf.GateControl) { c.Epoch++ })
}

// drain delivers what has come by the deadline. The program wakes nobody, so
// the deadline is the pace.
func (g *Gate) drain(reader *ringbuf.Reader, deadline time.Time, deliver func(appliance.Drop)) error {
	reader.SetDeadline(deadline)
	var record ringbuf.Record
	for {
		err := reader.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read sample: %w", err)
		}
		if len(record.RawSample) < int(unsafe.Sizeof(bpf.GateDrop{})) {
			return fmt.Errorf("read sample: %d bytes, too short", len(record.RawSample))
		}
		var raw bpf.GateDrop
		if _, err := binary.Decode(record.RawSample, binary.NativeEndian, &raw); err != nil {
			return fmt.Errorf("read sample: %w", err)
		}
		deliver(g.refine(raw))
	}
}

func (g *Gate) refine(raw bpf.GateDrop) appliance.Drop {
	return appliance.Drop{
		Time:        g.config.Now(),
		Interface:   g.nameOf(int(raw.Ifindex)),
		Source:      endpoint(raw.Version, raw.Source, raw.SourcePort),
		Destination: endpoint(raw.Version, raw.Destination, raw.DestinationPort),
		Protocol:    protocolName(raw.Version, raw.Protocol),
		VLAN:        raw.Vlan,
		Length:      uint16(min(raw.Length, math.MaxUint16)),
		Reason:      appliance.Reason(raw.Reason),
		Weight:      raw.Weight,
	}
}

// nameOf returns the name by which Config knows the interface, or its index.
func (g *Gate) nameOf(index int) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.ports {
		if p.index == index {
			return p.name
		}
	}
	return strconv.Itoa(index)
}

// endpoint returns the zero AddrPort where no IP header was read. The port is
// in network order.
func endpoint(version uint8, address [16]uint8, port uint16) netip.AddrPort {
	port = bits.ReverseBytes16(port)
	switch version {
	case 4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(address[:4])), port)
	case 6:
		return netip.AddrPortFrom(netip.AddrFrom16(address), port)
	}
	return netip.AddrPort{}
}

func protocolName(version, protocol uint8) string {
	switch {
	case version == 0:
		return ""
	case protocol == 6:
		return "tcp"
	case protocol == 17:
		return "udp"
	}
	return strconv.Itoa(int(protocol))
}
