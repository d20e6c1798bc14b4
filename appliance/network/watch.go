package network

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// settle is how long a burst may go on: a cable that is plugged in, or a
	// bond that is built, is many events and one change.
	settle = 100 * time.Millisecond
	// resubscribe is the pause before another try, where the kernel ended or
	// refused a subscription.
	resubscribe = time.Second
)

// Watch calls changed when an interface appears, goes, is renamed, goes up or
// down, gains or loses its carrier, its bond or bridge, or has its MTU set, and
// when an address comes, goes or becomes usable; a burst of these is one call.
// What the kernel merely repeats is none: it tells of each attached XDP program
// and of each renewed lease too. Where the kernel had more to tell than it
// could keep, or an interface went, in whose place one like it may have come,
// changed is called whatever there is to see.
//
// Watch returns nil when ctx ends, and an error where it can't even begin. It
// calls changed from its own goroutine and hears nothing meanwhile, but forgets
// nothing either.
func Watch(ctx context.Context, changed func()) error {
	w, err := newWatcher(changed)
	if err != nil {
		return fmt.Errorf("watch interfaces: %w", err)
	}
	w.run(ctx)
	return nil
}

type watcher struct {
	changed       func()
	socket        *os.File
	seen          []facet
	settle, pause time.Duration
}

// newWatcher subscribes, and only then takes the picture that it compares with:
// what comes in between is heard.
func newWatcher(changed func()) (*watcher, error) {
	socket, err := subscribe()
	if err != nil {
		return nil, err
	}
	seen, err := picture()
	if err != nil {
		socket.Close()
		return nil, err
	}
	return &watcher{changed: changed, socket: socket, seen: seen, settle: settle, pause: resubscribe}, nil
}

func (w *watcher) run(ctx context.Context) {
	for {
		w.listen(ctx)
		if w.socket = again(ctx, w.pause); w.socket == nil {
			return
		}
		w.look(true) // who knows what was missed
	}
}

// again subscribes anew, however long it takes; it returns nil when ctx ends.
func again(ctx context.Context, pause time.Duration) *os.File {
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if socket, err := subscribe(); err == nil {
			return socket
		}
	}
}

// subscribe opens a socket that gets a datagram for each event, in the network
// namespace of the calling thread (rtnetlink(7)). It is one for links and
// addresses, and none of the library's, so that reading it can end with a
// deadline and an overrun is seen.
func subscribe() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("subscribe to netlink: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// listen looks again after every burst of events, until ctx or the socket ends.
func (w *watcher) listen(ctx context.Context) {
	socket := w.socket
	defer socket.Close()
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	defer stop()
	for {
		sure, err := burst(socket, w.settle)
		if err != nil {
			return
		}
		w.look(sure)
	}
}

// burst waits for an event and for those that come close behind it. It reports
// whether they are sure to be a change, whatever a look would show: the kernel
// dropped some, or a link went, in whose place there may be one like it.
func burst(socket *os.File, settle time.Duration) (sure bool, err error) {
	head := make([]byte, unix.SizeofNlMsghdr) // an event is a reason to look, not what is seen
	var deadline time.Time
	for {
		_ = socket.SetReadDeadline(deadline) // Read tells where it is closed
		n, err := socket.Read(head)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return sure, nil
		case errors.Is(err, unix.ENOBUFS):
			sure = true
		case err != nil:
			return sure, err
		case n == len(head) && binary.NativeEndian.Uint16(head[4:]) == unix.RTM_DELLINK:
			sure = true
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(settle)
		}
	}
}

// look compares what there is with what there was, and tells where that is not
// the same, can't be known, or is sure to be told.
func (w *watcher) look(sure bool) {
	now, err := picture()
	if err == nil && !sure && slices.Equal(now, w.seen) {
		return
	}
	w.seen = now // nothing where it is unknown: then the next event is a change
	w.changed()
}

// facet is what counts of one link or of one of its addresses.
type facet struct {
	index  int
	addr   netip.Prefix // invalid for the link itself
	name   string
	flags  uint32
	mtu    int
	master int
}

func (f facet) compare(g facet) int {
	return cmp.Or(cmp.Compare(f.index, g.index), f.addr.Addr().Compare(g.addr.Addr()), cmp.Compare(f.addr.Bits(), g.addr.Bits()))
}

// picture lists everything that counts, in order. A list that changed while it
// was read is good enough, for an event of that change is to follow.
func picture() ([]facet, error) {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	out := make([]facet, 0, len(links)+len(addrs))
	for _, link := range links {
		a := link.Attrs()
		out = append(out, facet{index: a.Index, name: a.Name, mtu: a.MTU, master: a.MasterIndex,
			flags: a.RawFlags & (unix.IFF_UP | unix.IFF_LOWER_UP)})
	}
	for _, one := range addrs {
		addr, _ := netip.AddrFromSlice(one.IP)
		bits, _ := one.Mask.Size()
		// An address that is still being looked for in the neighbourhood can't be
		// listened on.
		out = append(out, facet{index: one.LinkIndex, addr: netip.PrefixFrom(addr.Unmap(), bits),
			flags: uint32(one.Flags) & (unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED)})
	}
	slices.SortFunc(out, facet.compare)
	return out, nil
}
