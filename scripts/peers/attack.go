package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

// Scan runs a tool of the attacker's and returns all that it printed. Its exit
// status means nothing: the tools report success however little they find.
func (l *Lab) Scan(ctx context.Context, tool string, args ...string) (string, error) {
	out, err := l.Command(ctx, "attacker", tool, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("run %s: %w", tool, err)
	}
	return string(out), ctx.Err()
}

// Probe asks for a web page on the attacker's behalf and reports whether anything
// answered within a second, be it with a refusal.
func (l *Lab) Probe(ctx context.Context, url string) (bool, error) {
	const timedOut = "28"
	out, err := l.Scan(ctx, "curl", "--silent", "--insecure", "--globoff", "--max-time", "1",
		"--output", "/dev/null", "--write-out", "%{exitcode}", url)
	return strings.TrimSpace(out) != timedOut, err
}

// Flood sends count INVITEs over UDP from the attacker, every one a new call, one
// each interval, and returns how many the kernel took.
func (l *Lab) Flood(ctx context.Context, to string, count int, interval time.Duration) (int, error) {
	var socket net.Conn
	err := l.Inside("attacker", func() (err error) {
		socket, err = net.Dial("udp", to)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer socket.Close()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for sent := range count {
		if _, err := socket.Write(invite(netip.MustParseAddrPort(to), sent)); err != nil {
			return sent, fmt.Errorf("flood %s: %w", to, err)
		}
		select {
		case <-ctx.Done():
			return sent + 1, ctx.Err()
		case <-tick.C:
		}
	}
	return count, nil
}

func invite(to netip.AddrPort, n int) []byte {
	return fmt.Appendf(nil, "INVITE sip:00252615550148@%[1]s SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP %[2]s:5060;branch=z9hG4bKflood%[3]d;rport\r\n"+
		"Max-Forwards: 70\r\nFrom: <sip:100@%[1]s>;tag=f%[3]d\r\nTo: <sip:00252615550148@%[1]s>\r\n"+
		"Call-ID: flood-%[3]d@%[2]s\r\nCSeq: 1 INVITE\r\nContact: <sip:100@%[2]s:5060>\r\n"+
		"User-Agent: friendly-scanner\r\nContent-Length: 0\r\n\r\n", to, Attacker, n)
}
