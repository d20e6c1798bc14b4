package inspector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// secureRetry is how long the door waits before it tries again to listen for TLS.
const secureRetry = 2 * time.Second

// openSecure binds the addresses for TLS that are not bound yet. One that is
// taken keeps nothing else from working: it is told, and tried again.
func (d *door) openSecure(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var problems []error
	for _, at := range d.wanted {
		bound := func(one secureListener) bool { return one.at == at }
		if d.shuttered || slices.ContainsFunc(d.securely, bound) {
			continue
		}
		acceptor, err := listenTCP(ctx, at)
		if err != nil {
			problems = append(problems, fmt.Errorf("for TLS, %w", err))
			continue
		}
		d.securely = append(d.securely, secureListener{at, acceptor})
	}
	d.trouble = errors.Join(problems...)
}

// secureListener listens for TLS. at is the address that was asked for.
type secureListener struct {
	at       netip.AddrPort
	acceptor *net.TCPListener
}

// bound is the address that it listens on.
func (l secureListener) bound() netip.AddrPort { return unmapped(l.acceptor.Addr()) }

// serveSecure accepts on every listener for TLS, those that open late too, until
// ctx ends.
func (d *door) serveSecure(ctx context.Context) {
	started := 0
	ticker := time.NewTicker(secureRetry)
	defer ticker.Stop()
	for ctx.Err() == nil {
		d.mu.Lock()
		fresh := slices.Clone(d.securely[started:])
		complete := len(d.securely) == len(d.wanted)
		d.mu.Unlock()
		started += len(fresh)
		for _, one := range fresh {
			d.tasks.Go(func() { d.serveTCP(ctx, one.acceptor, true) })
		}
		if complete {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.openSecure(ctx)
		}
	}
}

// secureLocal is the address of ours that goes into messages which leave over TLS
// from addr.
func (d *door) secureLocal(addr netip.Addr) netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	port := uint16(securePort)
	for n, one := range d.securely {
		if at := one.bound(); at.Addr() == addr || at.Addr().IsUnspecified() && at.Addr().Is4() == addr.Is4() || n == 0 {
			port = at.Port()
		}
		if one.bound().Addr() == addr {
			break
		}
	}
	return netip.AddrPortFrom(addr, port)
}

// ownsSecurely reports whether a listener for TLS stands at that address.
func (d *door) ownsSecurely(at netip.AddrPort) bool {
	d.mu.Lock()
	bound := make([]netip.AddrPort, len(d.securely))
	for n, one := range d.securely {
		bound[n] = one.bound()
	}
	d.mu.Unlock()
	return slices.ContainsFunc(bound, func(one netip.AddrPort) bool { return d.holds(one, at) })
}

// securePort is SIP's over TLS (RFC 3261 section 19.1.2).
const securePort = 5061

// Trouble returns why some address is not listened on for TLS, nil where all are.
func (i *Inspector) Trouble() error {
	i.door.mu.Lock()
	defer i.door.mu.Unlock()
	return i.door.trouble
}

// local implements visitors.
func (i *Inspector) local(remote netip.AddrPort) bool {
	sip := i.current().SIP()
	return partyOf(&sip, remote).side == inside
}

// mistrusted implements visitors.
func (i *Inspector) mistrusted(remote netip.AddrPort, cause error) {
	i.tallies.count(appliance.ReasonTLS)
	i.report(appliance.Event{
		Time: i.now(), Kind: appliance.EventRefusal, Reason: appliance.ReasonTLS, Source: remote,
		Message: "no TLS was agreed on: " + cause.Error(),
	})
}
