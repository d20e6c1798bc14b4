package gate

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/ringfence/ringfence/bpf"
)

const (
	pageHalf  = uint32(bpf.GatePlacePLACE_HALF)
	pageSlots = int(bpf.GatePlacePLACE_SLOTS)
)

// tray is the maps that hold generations, and the templates of what is put into
// them.
type tray struct {
	spec              *ebpf.CollectionSpec
	generation, pages *ebpf.Map
}

// publish builds an image aside, freezes it and points the program at it, last of
// all. On return no CPU uses the old one any more, since each change of a map of
// maps waits for an RCU grace period; its pages are still there. What an earlier
// publish that was cut short left in other slots of the half, no image leads to.
func (t tray) publish(i *image) error {
	before, err := t.current()
	if err != nil {
		return err
	}
	// Held until the kernel has waited: those before 6.1.76 and 6.6.14 may free
	// what is replaced while a program still reads it (CVE-2023-52447).
	defer func() { _ = before.Close() }()
	live, err := t.readHead()
	if err != nil {
		return err
	}
	head := i.head
	head.Base = pageHalf - min(live.Base, pageHalf)
	if err := t.putPages(head.Base, i.pages); err != nil {
		return err
	}
	inner, err := t.fill(bpf.GateMapGeneration, bytesOf(&head))
	if err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	defer func() { _ = inner.Close() }() // the outer map holds it
	if err := t.generation.Put(uint32(0), inner); err != nil {
		return fmt.Errorf("publish image: %w", err)
	}
	return nil
}

// bytesOf returns the memory of a value that has no pointers.
func bytesOf[T any](value *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(value)), unsafe.Sizeof(*value))
}

// fill makes an inner map of the outer one of that name, with one frozen value.
func (t tray) fill(outer string, value []byte) (*ebpf.Map, error) {
	inner, err := ebpf.NewMap(t.spec.Maps[outer].InnerMap)
	if err != nil {
		return nil, fmt.Errorf("create map: %w", err)
	}
	if err := inner.Put(uint32(0), value); err != nil {
		return nil, errors.Join(fmt.Errorf("fill map: %w", err), inner.Close())
	}
	if err := inner.Freeze(); err != nil {
		return nil, errors.Join(fmt.Errorf("freeze map: %w", err), inner.Close())
	}
	return inner, nil
}

// putPages fills slots that no live image looks at.
func (t tray) putPages(base uint32, pages map[bpf.GatePlace][]byte) error {
	var slots []uint32
	var maps []*ebpf.Map
	defer func() {
		for _, one := range maps {
			_ = one.Close() // the outer map holds it
		}
	}()
	for place, bytes := range pages {
		inner, err := t.fill(bpf.GateMapPages, bytes)
		if err != nil {
			return fmt.Errorf("build page: %w", err)
		}
		slots, maps = append(slots, base+uint32(place)), append(maps, inner)
	}
	return t.putAll(slots, maps)
}

// putAll puts many pages in one grace period: by one call where the kernel can
// (6.8), where not by many at once.
func (t tray) putAll(slots []uint32, maps []*ebpf.Map) error {
	if len(slots) == 0 {
		return nil
	}
	fds := make([]uint32, len(maps))
	for i, one := range maps {
		fds[i] = uint32(one.FD())
	}
	_, err := t.pages.BatchUpdate(slots, fds, nil)
	if errors.Is(err, ebpf.ErrNotSupported) {
		err = atOnce(len(slots), func(i int) error { return t.pages.Put(slots[i], maps[i]) })
	}
	if err != nil {
		return fmt.Errorf("put pages: %w", err)
	}
	return nil
}

// atOnce does n things side by side: kernels before 6.8 wait for a grace period in
// each call that touches a map of maps, and for one if the calls are many at once.
func atOnce(n int, do func(i int) error) (err error) {
	done := make(chan error)
	for i := range n {
		go func() { done <- do(i) }()
	}
	for range n {
		err = errors.Join(err, <-done)
	}
	return err
}

// clearPages gives back the memory of one half's pages. One blank page stands in
// for all of them: to take each one out would cost a grace period each.
func (t tray) clearPages(base uint32) error {
	used, err := t.usedSlots(base)
	if err != nil || len(used) == 0 {
		return err
	}
	blank, err := t.fill(bpf.GateMapPages, make([]byte, pageSize))
	if err != nil {
		return fmt.Errorf("build blank page: %w", err)
	}
	defer func() { _ = blank.Close() }()
	return t.putAll(used, slices.Repeat([]*ebpf.Map{blank}, len(used)))
}

// usedSlots lists the slots of one half that hold a page.
func (t tray) usedSlots(base uint32) (used []uint32, err error) {
	var ids [bpf.GatePlacePLACE_HALF]ebpf.MapID
	err = atOnce(len(ids), func(i int) error {
		err := t.pages.Lookup(base+uint32(i), &ids[i])
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up pages: %w", err)
	}
	for i, id := range ids {
		if id != 0 {
			used = append(used, base+uint32(i))
		}
	}
	return used, nil
}

// current opens the map of the image in force; nil where there is none yet.
func (t tray) current() (inner *ebpf.Map, err error) {
	err = t.generation.Lookup(uint32(0), &inner)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("look up image: %w", err)
	}
	return inner, nil
}

// readHead reads the head of the image in force out of the kernel; a head of
// zeros where there is none yet.
func (t tray) readHead() (*bpf.GateImage, error) {
	head := &bpf.GateImage{}
	inner, err := t.current()
	if err != nil || inner == nil {
		return head, err
	}
	defer func() { _ = inner.Close() }()
	if err := inner.Lookup(uint32(0), head); err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	return head, nil
}

// readImage reads the whole image in force.
func (t tray) readImage() (*image, error) {
	head, err := t.readHead()
	if err != nil {
		return nil, err
	}
	i := &image{head: *head, pages: map[bpf.GatePlace][]byte{}}
	for place := range bpf.GatePlacePLACE_END {
		var inner *ebpf.Map
		err := t.pages.Lookup(head.Base+uint32(place), &inner)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up page: %w", err)
		}
		bytes, err := inner.LookupBytes(uint32(0))
		if err := errors.Join(err, inner.Close()); err != nil {
			return nil, fmt.Errorf("read page: %w", err)
		}
		i.pages[place] = bytes
	}
	return i, nil
}
