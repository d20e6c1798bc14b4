package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/settings"
)

// TestDaemonShowsACall refuses a call with the real daemon, asks for its record, its
// trail and its messages, and has copies of them sent to a collector.
func TestDaemonShowsACall(t *testing.T) {
	l := newLab(t)
	d := l.start()
	var collector net.PacketConn
	l.inside(l.box, func() (err error) {
		collector, err = net.ListenPacket("udp", "127.0.0.1:0")
		return err
	})
	defer collector.Close()
	s := wired(nil, "127.0.0.1:5060")
	s.Trunks = []settings.Trunk{{Name: "itsp", Domain: "sip.itsp.example", Address: mustAddr("127.0.0.3:5060"), Transport: settings.UDP}}
	s.HEP = settings.HEP{Address: collector.LocalAddr().String(), Transport: "udp", CaptureID: 2001, Password: "of-the-collector"}
	l.mustPut(s)
	l.level("inspector", appliance.Green, "127.0.0.1:5060")
	l.until(func() error {
		status, err := l.api.Status(context.Background())
		if err == nil && status.Export.Address == "" {
			err = errors.New("no copies are sent yet")
		}
		return err
	})
	answer := l.ask("127.0.0.1:5060", `INVITE sip:0011252615550148@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP LOCAL;branch=z9hG4bK1;rport
Max-Forwards: 70
From: <sip:201@127.0.0.1>;tag=a
To: <sip:0011252615550148@127.0.0.1>
Call-ID: shown
CSeq: 1 INVITE
Contact: <sip:201@LOCAL>
Proxy-Authorization: Digest username="201", realm="r", nonce="n0nce", uri="sip:x", response="deadbeef"
Content-Length: 0

`)
	if !strings.HasPrefix(answer, "SIP/2.0 403 ") {
		t.Fatalf("answer %q", answer)
	}
	var id string
	l.until(func() error {
		calls, err := l.api.Calls(context.Background(), appliance.CallFilter{Number: "252", Account: "201"})
		if err == nil && len(calls.Calls) != 1 {
			err = fmt.Errorf("%d calls", len(calls.Calls))
		}
		if err == nil {
			id = calls.Calls[0].ID
		}
		return err
	})
	got, err := l.api.Messages(context.Background(), id)
	if err != nil || len(got.Messages) != 2 || got.Messages[0].Sent || !strings.HasPrefix(got.Messages[1].Text, "SIP/2.0 403") {
		t.Fatalf("messages %+v, err %v", got, err)
	}
	if strings.Contains(got.Messages[0].Text, "deadbeef") {
		t.Error("credentials are shown")
	}
	if trail := got.Call.Trail; trail == nil || trail.Firmware != version() || len(trail.Candidates) == 0 {
		t.Errorf("trail %+v", trail)
	}
	for _, start := range []string{"INVITE ", "SIP/2.0 403"} {
		checkCopy(t, collector, start)
	}
	// Without a collector nothing is sent any more.
	s.HEP = settings.HEP{}
	l.mustPut(s)
	l.until(func() error {
		status, err := l.api.Status(context.Background())
		if err == nil && status.Export.Address != "" {
			err = errors.New("copies are still sent")
		}
		return err
	})
	// Another address makes another inspector, which has not seen the call.
	s.SIP.Listen[0] = mustAddr("127.0.0.1:5062")
	l.mustPut(s)
	l.level("inspector", appliance.Green, "127.0.0.1:5062")
	if got, err = l.api.Messages(context.Background(), id); err != nil || len(got.Messages) != 2 {
		t.Errorf("after the inspector restarted: %+v, err %v", got, err)
	}
	if strings.Contains(d.log.String(), "deadbeef") || strings.Contains(d.log.String(), "of-the-collector") {
		t.Error("a secret is in the log")
	}
}

func checkCopy(t *testing.T, collector net.PacketConn, start string) {
	t.Helper()
	packet := make([]byte, 65536)
	if err := collector.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, _, err := collector.ReadFrom(packet)
	if err != nil {
		t.Fatal(err)
	}
	packet = packet[:n]
	if !bytes.HasPrefix(packet, []byte("HEP3")) || !bytes.Contains(packet, []byte(start)) || !bytes.Contains(packet, []byte("shown")) ||
		!bytes.Contains(packet, []byte("of-the-collector")) || bytes.Contains(packet, []byte("deadbeef")) {
		t.Errorf("the copy of %q is %q", start, packet)
	}
}
