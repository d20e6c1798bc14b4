package network

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// arrive takes SIP out of the stream before connections are tracked: neither an
// old NAT binding nor a port forwarding nor a helper of connection tracking can
// then touch it.
func (w *lockWriter) arrive() {
	if len(w.Inside) > 0 {
		// Answers to a connection that the inspector opened in a trunk's name.
		w.rule(chainArrive, from(w), protocol(unix.IPPROTO_TCP), ofTransparentSocket(), markHome(), untracked(), verdict(expr.VerdictAccept, ""))
		w.rule(chainArrive, from(w), verdict(expr.VerdictGoto, chainInside))
	}
	w.eachFamily(func(family byte) {
		w.rule(chainArrive, source(family, w.trunks), verdict(expr.VerdictGoto, chainOutside))
	})
	// A telephone's SIP to anywhere but the box and the LAN.
	w.rule(chainInside, addressType(unix.RTN_UNICAST, false, true), verdict(expr.VerdictReturn, ""))
	w.eachFamily(func(family byte) {
		w.sipTo(chainInside, destination(family, w.trunks), verdict(expr.VerdictGoto, chainTake))
	})
	w.eachFamily(func(family byte) {
		w.rule(chainInside, destination(family, w.lan), verdict(expr.VerdictReturn, ""))
	})
	w.sipTo(chainInside, verdict(expr.VerdictGoto, chainTake))
	// A trunk's SIP: to the inspector as it is, past it never.
	for _, at := range w.Listen {
		w.rule(chainOutside, protocol(unix.IPPROTO_UDP), toPort(at.Port()), w.own(at.Addr(), false), untracked(), verdict(expr.VerdictReturn, ""))
	}
	w.rule(chainOutside, addressType(unix.RTN_UNICAST, false, true), verdict(expr.VerdictReturn, ""))
	if len(w.Inside) > 0 {
		w.eachFamily(func(family byte) {
			w.sipTo(chainOutside, destination(family, w.lan), verdict(expr.VerdictGoto, chainTake))
		})
	}
}

// take hands a packet to the socket at its own port. Where there is none the
// rule breaks off, and the packet is dropped by the next: a dead inspector lets
// nothing out.
func (w *lockWriter) take() {
	w.rule(chainTake, untracked())
	w.eachFamily(func(family byte) {
		w.rule(chainTake, ofFamily(family), w.handOver(family), markHome(), count(appliance.ReasonIntercepted), verdict(expr.VerdictAccept, ""))
	})
	w.rule(chainTake, count(appliance.ReasonNoInspector), verdict(expr.VerdictDrop, ""))
}

// depart keeps NAT off what the inspector sends.
func (w *lockWriter) depart() {
	for _, at := range w.Listen {
		w.eachFamily(func(family byte) {
			w.rule(chainDepart, destination(family, w.trunks), protocol(unix.IPPROTO_UDP), fromPort(at.Port()), w.own(at.Addr(), true), untracked(), verdict(expr.VerdictReturn, ""))
		})
	}
	if len(w.Inside) > 0 {
		// In a trunk's name, to a telephone.
		w.rule(chainDepart, toward(w.inside.Name, w.inside.ID), addressType(unix.RTN_LOCAL, true, true), untracked())
	}
}

// forward sends what leaves the LAN to the lock: whatever goes out by a WAN
// interface, and to whatever is not the LAN by any other, such as a ppp device on
// top of the WAN port.
func (w *lockWriter) forward() {
	w.rule(chainForward, toward(w.wan.Name, w.wan.ID), verdict(expr.VerdictGoto, chainLocked))
	w.eachFamily(func(family byte) {
		w.rule(chainForward, destination(family, w.trunks), verdict(expr.VerdictGoto, chainLocked))
	})
	w.eachFamily(func(family byte) {
		w.rule(chainForward, destination(family, w.lan), verdict(expr.VerdictReturn, ""))
	})
	w.rule(chainForward, verdict(expr.VerdictGoto, chainLocked))
}

// portProtocols are those with ports at the place where UDP has them.
func portProtocols() []byte {
	return []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP, unix.IPPROTO_UDPLITE}
}

func (w *lockWriter) locked() {
	for _, one := range portProtocols() {
		w.rule(chainLocked, protocol(one), toPorts(w.sip.Name, w.sip.ID), count(appliance.ReasonEgressSIP), verdict(expr.VerdictDrop, ""))
	}
	if w.OpaqueTLS {
		w.eachFamily(func(family byte) {
			w.rule(chainLocked, destination(family, w.trunks), protocol(unix.IPPROTO_TCP), toPorts(w.tls.Name, w.tls.ID), count(appliance.ReasonOpaqueTLSPassed), verdict(expr.VerdictAccept, ""))
		})
	}
	for _, one := range portProtocols() {
		w.rule(chainLocked, protocol(one), toPorts(w.tls.Name, w.tls.ID), count(appliance.ReasonOpaqueTLS), verdict(expr.VerdictDrop, ""))
	}
	for n, pass := range w.Passes {
		w.pass(fmt.Sprintf("pass%d_", n), pass)
	}
	for _, one := range portProtocols() {
		w.rule(chainLocked, protocol(one), toPorts(w.other.Name, w.other.ID), count(appliance.ReasonEgressVoIP), verdict(expr.VerdictDrop, ""))
	}
	w.payloads()
}

func (w *lockWriter) pass(name string, pass Pass) {
	to, number := w.networks(name, pass.Networks), byte(unix.IPPROTO_UDP)
	if pass.TCP {
		number = unix.IPPROTO_TCP
	}
	w.eachFamily(func(family byte) {
		w.rule(chainLocked, destination(family, to), protocol(number), toPort(pass.Port), count(appliance.ReasonEgressPassed), verdict(expr.VerdictAccept, ""))
	})
}

// payloadOffsets are how many bytes of empty lines stand before a SIP message at
// most (RFC 3261 section 7.5 has them ignored).
var payloadOffsets = [...]uint32{0, 2, 4}

func payloadChain(n int) string { return fmt.Sprintf("%s%d", chainPayload, payloadOffsets[n]) }

// openings are the first bytes of SIP messages (RFC 3261, 3262, 3265, 3311, 3428,
// 3515, 3903, 6086).
func openings() []string {
	return []string{"SIP/2.0 ", "INVITE ", "REGISTER ", "OPTIONS ", "SUBSCRIBE ", "NOTIFY ", "MESSAGE ", "ACK ", "BYE ",
		"CANCEL ", "REFER ", "PUBLISH ", "INFO ", "PRACK ", "UPDATE "}
}

// payloads drops datagrams that begin as SIP does, whatever their port. Media
// begin with none of the letters, and cost two comparisons.
func (w *lockWriter) payloads() {
	udp := protocol(unix.IPPROTO_UDP)
	w.rule(chainLocked, udp, letterAt(0), verdict(expr.VerdictJump, payloadChain(0)))
	for n, offset := range payloadOffsets[1:] {
		w.rule(chainLocked, udp, textAt(0, "\r\n\r\n"[:offset]), letterAt(offset), verdict(expr.VerdictJump, payloadChain(n+1)))
	}
	for n, offset := range payloadOffsets {
		for _, text := range openings() {
			w.rule(payloadChain(n), textAt(offset, text), count(appliance.ReasonEgressPayload), verdict(expr.VerdictDrop, ""))
		}
	}
}

// sipTo adds a rule for SIP over either transport.
func (w *lockWriter) sipTo(chain string, parts ...[]expr.Any) {
	for _, one := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		w.rule(chain, append([][]expr.Any{protocol(one), toPorts(w.sip.Name, w.sip.ID)}, parts...)...)
	}
}

func (w *lockWriter) eachFamily(do func(family byte)) {
	do(unix.NFPROTO_IPV4)
	do(unix.NFPROTO_IPV6)
}

// own matches the box's side of a packet against a listening address.
func (w *lockWriter) own(at netip.Addr, ours bool) []expr.Any {
	if at.IsUnspecified() {
		family := byte(unix.NFPROTO_IPV4)
		if at.Is6() {
			family = unix.NFPROTO_IPV6
		}
		return append(ofFamily(family), addressType(unix.RTN_LOCAL, ours, false)...)
	}
	return address(at, ours)
}
