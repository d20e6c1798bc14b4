package gate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

// maxWhy is the longest reason of a ban that the kernel keeps, in bytes.
const maxWhy = len(bpf.GateBan{}.Why)

// Ban drops what begins at a source until ban.Until: new connections to any
// port, and everything to guarded and open ports but replies to TCP connections
// that began inside. An IPv6 source is banned with its whole /64. A ban of a
// banned source replaces the earlier one; Since is set where it is zero. Whoever
// the rules call firm is not touched. Where the table is full, CodeUnavailable
// says so with its size.
func (g *Gate) Ban(ban appliance.Ban) error {
	key, err := banKey(ban.Source)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return errClosed
	}
	now := g.config.Now()
	if ban.Since.IsZero() {
		ban.Since = now
	}
	value := bpf.GateBan{Until: bootTime(now, ban.Until), Since: bootTime(now, ban.Since)}
	copy(value.Why[:], clip(ban.Reason, maxWhy))
	err = g.kernel.Bans.Put(key, &value)
	if errors.Is(err, unix.E2BIG) {
		return &appliance.Error{Code: appliance.CodeUnavailable, Field: "source",
			Message: fmt.Sprintf("the gate holds %d bans and has no room for another", g.kernel.Bans.MaxEntries())}
	}
	if err != nil {
		return fmt.Errorf("write ban: %w", err)
	}
	return g.raise(g.kernel.BanFront, banHash(key))
}

// clip cuts text to at most size bytes, between characters.
func clip(text string, size int) []int8 {
	for len(text) > size {
		_, last := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-last]
	}
	out := make([]int8, len(text))
	for i := range out {
		out[i] = int8(text[i])
	}
	return out
}

// Unban lifts the ban of a source, at once. CodeNotFound where there is none.
func (g *Gate) Unban(source netip.Prefix) error {
	key, err := banKey(source)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return errClosed
	}
	// The front's bit stays until Tidy: it costs a lookup, no more.
	err = g.kernel.Bans.Delete(key)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return &appliance.Error{Code: appliance.CodeNotFound, Field: "source", Message: fmt.Sprintf("%s is not banned", source)}
	}
	if err != nil {
		return fmt.Errorf("delete ban: %w", err)
	}
	return nil
}

// Bans lists the bans that stand, the one that ends first first.
func (g *Gate) Bans() ([]appliance.Ban, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return nil, errClosed
	}
	now := g.config.Now()
	out := []appliance.Ban{}
	err := g.eachBan(func(key bpf.GateSource, value *bpf.GateBan) error {
		ban := appliance.Ban{Source: banSource(key), Since: wallTime(now, value.Since), Until: wallTime(now, value.Until), Reason: text(value.Why[:])}
		if ban.Until.After(now) {
			out = append(out, ban)
		}
		return nil
	})
	slices.SortFunc(out, func(a, b appliance.Ban) int { return a.Until.Compare(b.Until) })
	return out, err
}

func (g *Gate) eachBan(do func(bpf.GateSource, *bpf.GateBan) error) error {
	var key bpf.GateSource
	var value bpf.GateBan
	entries := g.kernel.Bans.Iterate()
	for entries.Next(&key, &value) {
		if err := do(key, &value); err != nil {
			return err
		}
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("list bans: %w", err)
	}
	return nil
}

func text(chars []int8) string {
	out := make([]byte, len(chars))
	for i, c := range chars {
		out[i] = byte(c)
	}
	return string(bytes.TrimRight(out, "\x00"))
}

// banKey is how the program knows a source: an IPv4 address or an IPv6 /64.
func banKey(source netip.Prefix) (bpf.GateSource, error) {
	address := source.Addr()
	switch {
	case !source.IsValid():
		return bpf.GateSource{}, invalid("source", "not an address")
	case address.Is4() && source.Bits() == 32:
		bytes := address.As4()
		return bpf.GateSource{Network: uint64(binary.BigEndian.Uint32(bytes[:])), Version: 4}, nil
	case address.Is6() && source.Bits() >= 64:
		bytes := address.As16()
		return bpf.GateSource{Network: binary.BigEndian.Uint64(bytes[:8]), Version: 6}, nil
	}
	return bpf.GateSource{}, invalid("source", "%s: a ban is of one IPv4 address or one IPv6 /64", source)
}

func banSource(key bpf.GateSource) netip.Prefix {
	if key.Version == 4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(key.Network)))), 32)
	}
	var bytes [16]byte
	binary.BigEndian.PutUint64(bytes[:8], key.Network)
	return netip.PrefixFrom(netip.AddrFrom16(bytes), 64)
}

// bootTime turns a moment into nanoseconds since boot. Bans are counted by that
// clock, which nobody can set, from the moment at which they are made.
func bootTime(now, at time.Time) uint64 {
	var boot unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) // can't fail for a clock that exists
	since, left := time.Duration(boot.Nano()), at.Sub(now)
	return uint64(max(0, since+min(left, math.MaxInt64-since)))
}

func wallTime(now time.Time, at uint64) time.Time {
	boot := bootTime(now, now)
	return now.Add(time.Duration(at) - time.Duration(min(boot, math.MaxInt64))).Truncate(time.Second)
}
