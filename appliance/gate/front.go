package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/ringfence/ringfence/bpf"
)

// Of the fronts (struct front in bpf/gate.h): the multiplier of Fibonacci
// hashing, how many bits of the product count, and how many of those a rough bit
// leaves out. A test holds them against the program's.
const (
	golden     = 0x9e3779b97f4a7c15
	frontBits  = 19
	roughShift = 7
)

// bitsOf returns the fine bit of a hash, and the rough one.
func bitsOf(hash uint64) (fine, rough uint64) {
	fine = hash * golden >> (64 - frontBits)
	return fine, fine >> roughShift
}

func banHash(key bpf.GateSource) uint64 { return key.Network + uint64(key.Version) }

// raise sets the bits of a hash in the memory that the program sees, the rough one
// last, since it is asked first. The bans' front is written by the daemon alone,
// and has all of its bits in the first half.
func (g *Gate) raise(front *ebpf.Map, hash uint64) error {
	memory, err := front.Memory()
	if err != nil {
		return fmt.Errorf("map front: %w", err)
	}
	fine, rough := bitsOf(hash)
	if err := setBit(memory, unsafe.Offsetof(bpf.GateFront{}.Words), fine); err != nil {
		return err
	}
	return setBit(memory, unsafe.Offsetof(bpf.GateFront{}.Rough), rough)
}

// setBit sets a bit in the first halves of the words at offset.
func setBit(memory *ebpf.Memory, offset uintptr, bit uint64) error {
	at := int64(offset) + int64(bit/64)*16
	var bytes [8]byte
	if _, err := memory.ReadAt(bytes[:], at); err != nil {
		return fmt.Errorf("read front: %w", err)
	}
	binary.LittleEndian.PutUint64(bytes[:], binary.LittleEndian.Uint64(bytes[:])|1<<(bit%64))
	if _, err := memory.WriteAt(bytes[:], at); err != nil {
		return fmt.Errorf("write front: %w", err)
	}
	return nil
}

// flowSilence is how long a flow may be silent at most: IDLE_TCP of
// bpf/memory.h. The flows' front must not turn more often.
const flowSilence = 7440 * time.Second

// Tidy forgets what has ended: bans, permits and cuts that have run out, and bits of the fronts
// that stand for nothing any more. A bit too many costs its packets a lookup, so
// once in an hour is often enough.
func (g *Gate) Tidy() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kernel == nil {
		return errClosed
	}
	if err := errors.Join(g.tidyBans(), g.tidyMedia()); err != nil {
		return err
	}
	if at := g.config.Now(); at.Sub(g.turned) >= flowSilence {
		g.turned = at
		return g.turnFlows()
	}
	return nil
}

func (g *Gate) tidyBans() error {
	now := bootTime(g.config.Now(), g.config.Now())
	var over []bpf.GateSource
	var front bpf.GateFront
	err := g.eachBan(func(key bpf.GateSource, value *bpf.GateBan) error {
		if value.Until <= now {
			over = append(over, key)
			return nil
		}
		fine, rough := bitsOf(banHash(key))
		front.Words[fine/64][0] |= 1 << (fine % 64)
		front.Rough[rough/64][0] |= 1 << (rough % 64)
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range over {
		if err := g.kernel.Bans.Delete(key); err != nil {
			return fmt.Errorf("delete ban: %w", err)
		}
	}
	if err := g.kernel.BanFront.Put(uint32(0), bytesOf(&front)); err != nil {
		return fmt.Errorf("write front: %w", err)
	}
	return nil
}

// turnFlows clears the half of the flows' front that is not written and makes it
// the one that is: what is in neither has been silent for longer than a flow
// lives. The egress program writes at the same time, so that this goes word by
// word in the memory that it sees.
func (g *Gate) turnFlows() error {
	memory, err := g.kernel.FlowFront.Memory()
	if err != nil {
		return fmt.Errorf("map front: %w", err)
	}
	var current uint32
	offset := uint32(unsafe.Offsetof(bpf.GateFront{}.Current))
	if current, err = readWord(memory, offset); err != nil {
		return err
	}
	next := current&1 ^ 1
	zero := make([]byte, 8)
	for word := range int(offset) / 16 { // rough ones too
		if _, err := memory.WriteAt(zero, int64(word)*16+int64(next)*8); err != nil {
			return fmt.Errorf("clear front: %w", err)
		}
	}
	if _, err := memory.WriteAt(binary.LittleEndian.AppendUint32(nil, next), int64(offset)); err != nil {
		return fmt.Errorf("turn front: %w", err)
	}
	return nil
}

func readWord(memory *ebpf.Memory, offset uint32) (uint32, error) {
	var bytes [4]byte
	if _, err := memory.ReadAt(bytes[:], int64(offset)); err != nil {
		return 0, fmt.Errorf("read front: %w", err)
	}
	return binary.LittleEndian.Uint32(bytes[:]), nil
}
