package inspector

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// routesMax bounds the remembered routes: trunks and PBXs are few, and phones
// answer over the flow that they came in by.
const routesMax = 1024

// routes remembers from which local address the kernel would reach a remote
// one. It asks by connecting a UDP socket, which sends nothing.
type routes struct {
	keep time.Duration

	mu     sync.Mutex
	known  map[netip.Addr]route
	own    map[netip.Addr]bool // addresses of the box
	listed time.Time           // when own was asked
}

type route struct {
	local netip.Addr
	asked time.Time
}

func newRoutes(keep time.Duration) *routes {
	return &routes{keep: keep, known: make(map[netip.Addr]route)}
}

// local returns the address that the box uses toward remote.
func (r *routes) local(remote netip.Addr) (netip.Addr, error) {
	now := time.Now()
	r.mu.Lock()
	found, ok := r.known[remote]
	r.mu.Unlock()
	if ok && now.Sub(found.asked) < r.keep {
		return found.local, nil
	}
	local, err := probe(remote)
	if err != nil {
		return netip.Addr{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= routesMax {
		clear(r.known)
	}
	r.known[remote] = route{local, now}
	return local, nil
}

func probe(remote netip.Addr) (netip.Addr, error) {
	// Port 9 is discard (RFC 863); nothing is sent.
	conn, err := net.Dial("udp", netip.AddrPortFrom(remote, 9).String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find route to %s: %w", remote, err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
}

// ours reports whether addr is an address of the box. The addresses are listed
// again when the list is older than keep, however often a stranger's is asked.
func (r *routes) ours(addr netip.Addr) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own == nil || now.Sub(r.listed) >= r.keep {
		r.own, r.listed = ownAddresses(), now
	}
	return r.own[addr.WithZone("")]
}

func ownAddresses() map[netip.Addr]bool {
	own := make(map[netip.Addr]bool)
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return own
	}
	for _, one := range interfaces {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil {
			own[prefix.Addr().Unmap()] = true
		}
	}
	return own
}
