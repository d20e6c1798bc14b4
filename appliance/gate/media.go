package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/bpf"
)

// Permit lets media in for a while from now, whatever the media guard says: to
// the LocalPort of a key from any port of its Remote or, where Remote is zero,
// from whoever may speak SIP. The zero key lets all media in. RemotePort counts
// for nothing. A key that is permitted already gets the later end. Where the
// table is full, CodeUnavailable says so, and the keys before that one stand.
//
// None of these methods waits for a Swap.
func (g *Gate) Permit(life time.Duration, keys ...appliance.MediaKey) error {
	return g.withMedia(func(o *objects) error {
		for _, key := range keys {
			key.RemotePort = 0
			if err := g.putMedia(o.MediaOk, key, life); err != nil {
				return err
			}
		}
		return nil
	})
}

// Forget ends permits. There need not be any.
func (g *Gate) Forget(keys ...appliance.MediaKey) error {
	return g.withMedia(func(o *objects) error {
		for _, key := range keys {
			key.RemotePort = 0
			if err := dropMedia(o.MediaOk, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// Cut drops, for a while from now and in both directions, the UDP packets between
// whoever is inside and a Remote: those of its RemotePort, those of our LocalPort,
// or those of both, where one is zero. When it returns nil no such packet passes
// any more. Replies, permits and allowlists don't help.
func (g *Gate) Cut(life time.Duration, keys ...appliance.MediaKey) error {
	return g.withMedia(func(o *objects) error {
		for _, key := range keys {
			if !key.Remote.IsValid() || key.RemotePort|key.LocalPort == 0 {
				return invalid("media", "a cut is of an address and a port")
			}
			if err := g.putMedia(o.MediaCut, key, life); err != nil {
				return err
			}
		}
		return setControl(o, func(c *bpf.GateControl) {
			c.Cuts += uint32(len(keys)) // no fewer than there are
			for _, key := range keys {
				markFar(c, mediaKey(key))
			}
		})
	})
}

// markFar sets the bit of a key's address: see may_be_cut in bpf/media.h.
func markFar(control *bpf.GateControl, key bpf.GateMedia) {
	hash := uint64(binary.BigEndian.Uint32(key.Remote[:]))
	if key.Version == 6 {
		hash = binary.BigEndian.Uint64(key.Remote[:]) ^ binary.BigEndian.Uint64(key.Remote[8:])*golden
	}
	bit := hash * golden >> (64 - farBits)
	control.Far[bit/64] |= 1 << (bit % 64)
}

// farBits is FAR_BITS of bpf/gate.h.
const farBits = 12

// Uncut ends cuts. There need not be any.
func (g *Gate) Uncut(keys ...appliance.MediaKey) error {
	return g.withMedia(func(o *objects) error {
		for _, key := range keys {
			if err := dropMedia(o.MediaCut, key); err != nil {
				return err
			}
		}
		return countCuts(o)
	})
}

// withMedia runs do with the kernel's objects, which stay open meanwhile. It
// takes another lock than Swap does: media must not wait for an image.
func (g *Gate) withMedia(do func(*objects) error) error {
	g.mediaMu.Lock()
	defer g.mediaMu.Unlock()
	if g.media == nil {
		return errClosed
	}
	return do(g.media)
}

func (g *Gate) putMedia(table *ebpf.Map, key appliance.MediaKey, life time.Duration) error {
	now := g.config.Now()
	err := table.Put(mediaKey(key), bootTime(now, now.Add(life)))
	if errors.Is(err, unix.E2BIG) {
		return &appliance.Error{Code: appliance.CodeUnavailable, Field: "media",
			Message: fmt.Sprintf("the gate holds %d of such entries and has no room for another", table.MaxEntries())}
	}
	if err != nil {
		return fmt.Errorf("write media: %w", err)
	}
	return nil
}

func dropMedia(table *ebpf.Map, key appliance.MediaKey) error {
	if err := table.Delete(mediaKey(key)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete media: %w", err)
	}
	return nil
}

// mediaKey is how the program knows a key.
func mediaKey(key appliance.MediaKey) bpf.GateMedia {
	out := bpf.GateMedia{RemotePort: bits.ReverseBytes16(key.RemotePort), LocalPort: bits.ReverseBytes16(key.LocalPort)}
	copy(out.Remote[:], key.Remote.AsSlice())
	switch {
	case key.Remote.Is4():
		out.Version = 4
	case key.Remote.Is6():
		out.Version = 6
	}
	return out
}

// countCuts tells the program whether there is any cut to look for, and of whom. A
// cut that another gate makes meanwhile must not be left out: it is listed already,
// or added afterwards.
func countCuts(o *objects) error {
	controlMu.Lock()
	defer controlMu.Unlock()
	var now bpf.GateControl
	var key bpf.GateMedia
	var until uint64
	entries := o.MediaCut.Iterate()
	for entries.Next(&key, &until) {
		now.Cuts++
		markFar(&now, key)
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("list cuts: %w", err)
	}
	return writeControl(o, func(c *bpf.GateControl) { c.Cuts, c.Far = now.Cuts, now.Far })
}

// tidyMedia forgets what has ended.
func (g *Gate) tidyMedia() error {
	return g.withMedia(func(o *objects) error {
		now := bootTime(g.config.Now(), g.config.Now())
		for _, table := range []*ebpf.Map{o.MediaOk, o.MediaCut} {
			if err := tidyTable(table, now); err != nil {
				return err
			}
		}
		return countCuts(o)
	})
}

func tidyTable(table *ebpf.Map, now uint64) error {
	var over []bpf.GateMedia
	var key bpf.GateMedia
	var until uint64
	entries := table.Iterate()
	for entries.Next(&key, &until) {
		if until <= now {
			over = append(over, key)
		}
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("list media: %w", err)
	}
	for _, key := range over {
		if err := table.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete media: %w", err)
		}
	}
	return nil
}

// Bounds of what is told of media that no call negotiated. Counters are exact.
const (
	strayPause   = 10 * time.Minute // between two events of one source
	straySources = 64               // that are remembered
)

// strays remembers what was told, and when.
type strays map[stray]time.Time

type stray struct {
	source netip.Addr
	reason appliance.Reason
}

// tell reports a sample of media that no call negotiated as an event, unless its
// source was told of a short while ago. A flood of sources fills the table, and
// is told of anew when the pause is over.
func (g *Gate) tell(known strays, drop appliance.Drop) {
	one := stray{drop.Source.Addr(), drop.Reason}
	if at, told := known[one]; told && drop.Time.Sub(at) < strayPause {
		return
	}
	for other, at := range known {
		if drop.Time.Sub(at) >= strayPause {
			delete(known, other)
		}
	}
	if len(known) >= straySources {
		return
	}
	known[one] = drop.Time
	fate := "it is dropped"
	if drop.Reason.Verdict() == appliance.Allow {
		fate = "it passes, for the media guard only observes"
	}
	g.report(appliance.Event{
		Time: drop.Time, Kind: appliance.EventGate, Verdict: drop.Reason.Verdict(), Reason: drop.Reason,
		Source: drop.Source, Subject: drop.Interface,
		Message: fmt.Sprintf("what looks like RTP to %s belongs to no call, and nobody inside asked for it: %s", drop.Destination, fate),
	})
}

// isStray reports whether a sample is of media that no call negotiated.
func isStray(reason appliance.Reason) bool {
	return reason == appliance.ReasonMediaStray || reason == appliance.ReasonMediaObserved
}
