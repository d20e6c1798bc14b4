package names

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	queryTime    = 3 * time.Second // for one server's answer over one transport
	maxServers   = 3               // of resolv.conf, as for libc (MAXNS)
	maxStrangers = 16              // datagrams that are not the answer, before TCP is asked instead
	// udpSize is what is asked for in EDNS0: answers that no link fragments
	// (DNS flag day 2020), for a fragment's content is easily forged.
	udpSize = 1232
)

var (
	errNoServer = errors.New("no resolver is known")
	errDoubt    = errors.New("answers that may be forged")
)

// resolver asks the servers in turn.
type resolver struct {
	servers []netip.AddrPort
	err     error // why there are none
}

// servers returns whom to ask now.
func (t *Tracker) servers() resolver {
	if len(t.config.Servers) > 0 || t.config.ResolvConf == "" {
		return resolver{servers: t.config.Servers, err: errNoServer}
	}
	conf, err := dns.ClientConfigFromFile(t.config.ResolvConf)
	if err != nil {
		return resolver{err: fmt.Errorf("read resolvers: %w", err)}
	}
	var out []netip.AddrPort
	for _, text := range conf.Servers {
		if addr, err := netip.ParseAddr(text); err == nil && len(out) < maxServers {
			out = append(out, netip.AddrPortFrom(addr, 53))
		}
	}
	return resolver{servers: out, err: fmt.Errorf("%s: %w", t.config.ResolvConf, errNoServer)}
}

// ask returns the first answer that is one: records, or that there are none.
// Each server is asked twice, the second time without EDNS0, which old ones
// choke on.
func (r resolver) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	err := r.err
	for _, size := range []uint16{udpSize, 0} {
		for _, server := range r.servers {
			reply, problem := r.exchange(ctx, server, question(name, kind, size))
			if problem == nil && (reply.Rcode == dns.RcodeSuccess || reply.Rcode == dns.RcodeNameError) {
				return reply, nil
			}
			if problem == nil {
				problem = fmt.Errorf("it says %s", dns.RcodeToString[reply.Rcode])
			}
			err = fmt.Errorf("ask %s: %w", server, problem)
			if ctx.Err() != nil {
				return nil, err
			}
		}
	}
	return nil, err
}

// question makes a query with an ID that can't be guessed, and the letters of
// its name in a mixture that can't be either: a server repeats them as they are
// (draft-vixie-dnsext-dns0x20).
func question(name string, kind, size uint16) *dns.Msg {
	q := new(dns.Msg).SetQuestion(mixed(name), kind)
	if size > 0 {
		q.SetEdns0(size, false)
	}
	return q
}

func mixed(name string) string {
	out := []byte(name)
	coins := make([]byte, len(out))
	rand.Read(coins)
	for i, c := range out {
		if 'a' <= c && c <= 'z' && coins[i]&1 == 1 {
			out[i] = c - 'a' + 'A'
		}
	}
	return string(out)
}

// exchange asks one server over UDP, and over TCP where the answer was cut off
// or somebody may be forging.
func (r resolver) exchange(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	reply, err := over(ctx, "udp", server, q)
	if errors.Is(err, errDoubt) || (err == nil && reply.Truncated) {
		return over(ctx, "tcp", server, q)
	}
	return reply, err
}

// over asks on a socket of its own, so that the kernel picks a port by chance
// for every question and takes datagrams from nobody but the server.
func over(ctx context.Context, transport string, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, transport, server.String())
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := &dns.Conn{Conn: socket}
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	reply, err := await(conn, q, transport == "udp")
	if ctx.Err() != nil && err != nil {
		return nil, errors.New("no answer in time")
	}
	return reply, err
}

// await reads until the answer is there. On UDP strangers are passed over: the
// true answer may come behind a forged one.
func await(conn *dns.Conn, q *dns.Msg, datagrams bool) (*dns.Msg, error) {
	buffer := make([]byte, dns.MaxMsgSize)
	for range maxStrangers {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		reply := new(dns.Msg)
		problem := reply.Unpack(buffer[:n])
		if problem != nil && (!reply.Truncated || !datagrams) {
			reply = nil
		}
		switch fit := fits(reply, q); {
		case fit == exact || (fit == caseless && !datagrams):
			return reply, nil
		case fit == caseless || !datagrams:
			return nil, errDoubt
		}
	}
	return nil, errDoubt
}

// fit is how well a message answers a question.
type fit int

const (
	stranger fit = iota // it does not
	caseless            // it does, but for the mixture of letters
	exact
)

func fits(reply, q *dns.Msg) fit {
	if reply == nil || !reply.Response || reply.Id != q.Id || reply.Opcode != dns.OpcodeQuery {
		return stranger
	}
	if len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return exact // an error without a question tells of no name, hence can't lie about one
	}
	if len(reply.Question) != 1 {
		return stranger
	}
	got, want := reply.Question[0], q.Question[0]
	switch {
	case got.Qtype != want.Qtype || got.Qclass != want.Qclass || !strings.EqualFold(got.Name, want.Name):
		return stranger
	case got.Name != want.Name:
		return caseless
	}
	return exact
}
