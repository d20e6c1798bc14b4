package network

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
)

// What rules are made of. Every match loads into the first register and compares
// it at once, so that parts can be put together in any order.
const register, second = unix.NFT_REG_1, unix.NFT_REG_2

func equals(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data} }

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: register} }

func ofFamily(family byte) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyNFPROTO), equals([]byte{family})}
}

func protocol(number byte) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyL4PROTO), equals([]byte{number})}
}

func within(set string, id uint32) expr.Any {
	return &expr.Lookup{SourceRegister: register, SetName: set, SetID: id}
}

// from matches the LAN interfaces.
func from(w *lockWriter) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyIIFNAME), within(w.inside.Name, w.inside.ID)}
}

// toward matches the interface that a packet leaves by.
func toward(set string, id uint32) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyOIFNAME), within(set, id)}
}

func atTransport(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

func toPorts(set string, id uint32) []expr.Any { return []expr.Any{atTransport(2, 2), within(set, id)} }
func toPort(port uint16) []expr.Any            { return []expr.Any{atTransport(2, 2), equals(portKey(port))} }
func fromPort(port uint16) []expr.Any          { return []expr.Any{atTransport(0, 2), equals(portKey(port))} }

// udpHeader is its length, bytes.
const udpHeader = 8

// textAt matches bytes of a datagram's payload.
func textAt(offset uint32, text string) []expr.Any {
	return []expr.Any{atTransport(udpHeader+offset, uint32(len(text))), equals([]byte(text))}
}

// letterAt matches one of A to Z.
func letterAt(offset uint32) []expr.Any {
	return []expr.Any{atTransport(udpHeader+offset, 1), &expr.Range{Op: expr.CmpOpEq, Register: register, FromData: []byte("A"), ToData: []byte("Z")}}
}

// The places of the addresses in both headers, bytes.
func addressAt(family byte, source bool) expr.Any {
	load := &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if family == unix.NFPROTO_IPV6 {
		load.Offset, load.Len = 24, 16
	}
	if source {
		load.Offset -= load.Len
	}
	return load
}

func (n networks) of(family byte) *nftables.Set {
	if family == unix.NFPROTO_IPV6 {
		return n.v6
	}
	return n.v4
}

func source(family byte, of networks) []expr.Any {
	set := of.of(family)
	return append(ofFamily(family), addressAt(family, true), within(set.Name, set.ID))
}

func destination(family byte, of networks) []expr.Any {
	set := of.of(family)
	return append(ofFamily(family), addressAt(family, false), within(set.Name, set.ID))
}

func address(addr netip.Addr, source bool) []expr.Any {
	family := byte(unix.NFPROTO_IPV4)
	if addr.Is6() {
		family = unix.NFPROTO_IPV6
	}
	return append(ofFamily(family), addressAt(family, source), equals(addr.AsSlice()))
}

// addressType asks the routing table what kind of address the source or the
// destination is.
func addressType(kind uint32, source, not bool) []expr.Any {
	op := expr.CmpOpEq
	if not {
		op = expr.CmpOpNeq
	}
	return []expr.Any{
		&expr.Fib{Register: register, ResultADDRTYPE: true, FlagSADDR: source, FlagDADDR: !source},
		&expr.Cmp{Op: op, Register: register, Data: binaryutil.NativeEndian.PutUint32(kind)},
	}
}

// ofTransparentSocket matches packets of an open connection whose local address
// is not the box's.
func ofTransparentSocket() []expr.Any {
	return []expr.Any{&expr.Socket{Key: expr.SocketKeyTransparent, Register: register}, equals([]byte{1})}
}

// handOver gives the packet to the socket at the interceptor's address and the
// packet's own port.
func (w *lockWriter) handOver(family byte) []expr.Any {
	to := w.Interceptor4
	if family == unix.NFPROTO_IPV6 {
		to = w.Interceptor6
	}
	const port = unix.NFT_REG32_15 // beyond an IPv6 address in the first register
	return []expr.Any{
		&expr.Immediate{Register: register, Data: to.AsSlice()},
		&expr.Payload{DestRegister: port, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.TProxy{Family: family, TableFamily: byte(nftables.TableFamilyINet), RegAddr: register, RegPort: port},
	}
}

// markHome marks a packet for the route to the box itself: see routeHome.
func markHome() []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: binaryutil.NativeEndian.PutUint32(homeMark)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: register},
	}
}

func untracked() []expr.Any { return []expr.Any{&expr.Notrack{}} }

func count(reason appliance.Reason) []expr.Any {
	return []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: reason.String()}}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}
