package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
)

// walk tries one account after the other over TCP from the internet. The connection
// stays open until the test ends: one that is closed before it was read to the end
// takes with it what the box has not read yet.
func (l *lab) walk(to string, accounts int) {
	l.t.Helper()
	l.inside(l.far, func() error {
		conn, err := net.DialTimeout("tcp", to, patience)
		if err != nil {
			return err
		}
		l.t.Cleanup(func() { conn.Close() })
		for n := range accounts {
			text := fmt.Sprintf("REGISTER sip:203.0.112.1 SIP/2.0\nVia: SIP/2.0/TCP %s;branch=z9hG4bKwalk%d\nMax-Forwards: 70\nFrom: <sip:%[3]d@203.0.112.1>;tag=a\n"+
				"To: <sip:%[3]d@203.0.112.1>\nCall-ID: walk%[3]d\nCSeq: 1 REGISTER\nContact: <sip:%[3]d@%[1]s;transport=tcp>\nUser-Agent: walker\nContent-Length: 0\n\n", conn.LocalAddr(), n, 500+n)
			if _, err := conn.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestDaemonBansAScanner follows a walk over accounts from the wire to the kernel:
// the ban is at the gate, outlives kill -9, and is lifted with one command, here
// and in the inspector.
func TestDaemonBansAScanner(t *testing.T) {
	l := newLab(t)
	d := l.start()
	s := wired([]string{"wan0"}, "203.0.112.1:5060")
	s.SIP.PBX.Address, s.SIP.PBX.Transport = mustAddr("127.0.0.1:5080"), "udp"
	s.Accounts = []document.Account{{User: "101", Label: "Anna, at home", Remote: []netip.Prefix{netip.MustParsePrefix("203.0.112.0/25")}}}
	l.mustPut(s)
	l.level("inspector", appliance.Green, "tcp 203.0.112.1:5060")
	l.walk("203.0.112.1:5060", 25)
	banned := func() error {
		bans, err := l.api.Bans(context.Background(), 10)
		if err == nil && (bans.Total != 1 || bans.Bans[0].Source.String() != "203.0.112.2/32" || bans.Bans[0].Reason != "20 accounts tried in 60 s, none of them with success") {
			err = fmt.Errorf("bans %+v", bans)
		}
		return err
	}
	l.until(banned)
	l.knock("203.0.112.1:5060", 5)
	l.until(func() error {
		drops, err := l.api.Drops(context.Background(), 0, 10)
		if err == nil && drops.Tallies[appliance.ReasonBanned].Packets < 5 {
			err = fmt.Errorf("tallies %v", drops.Tallies)
		}
		return err
	})
	guard, err := l.api.Guard(context.Background(), 10)
	if err != nil || guard.Total != 1 || guard.Suspects[0].State != "banned" || guard.Suspects[0].Bans != 1 {
		t.Fatalf("guard %+v, err %v", guard, err)
	}
	_ = l.stop(d, syscall.SIGKILL)
	d = l.start()
	if err := banned(); err != nil {
		t.Fatalf("after kill -9: %v", err)
	}
	if _, err := l.api.Unban(context.Background(), "203.0.112.2"); err != nil {
		t.Fatal(err)
	}
	// He begins anew, and is told apart again: a first ban, and so a short one.
	l.level("inspector", appliance.Green, "tcp 203.0.112.1:5060")
	l.walk("203.0.112.1:5060", 25)
	l.until(banned)
	bans, err := l.api.Bans(context.Background(), 1)
	if err != nil || bans.Bans[0].Until.Sub(bans.Bans[0].Since) > 10*time.Minute {
		t.Fatalf("bans %+v, err %v", bans, err)
	}
	if err := l.stop(d, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.until(func() error { // the offender is known, and would get a longer one
		guard, err := l.api.Guard(context.Background(), 10)
		if err == nil && (guard.Total != 1 || guard.Suspects[0].Bans != 1) {
			err = fmt.Errorf("guard %+v", guard)
		}
		return err
	})
	if _, err := l.api.Unban(context.Background(), "203.0.112.2"); err != nil {
		t.Fatal(err)
	}
	if guard, err := l.api.Guard(context.Background(), 10); err != nil || guard.Total != 0 {
		t.Fatalf("guard %+v after the ban was lifted, err %v", guard, err)
	}
	accounts, err := l.api.Accounts(context.Background(), 10)
	if err != nil || accounts.Total != 1 || accounts.Accounts[0].Label != "Anna, at home" {
		t.Fatalf("accounts %+v, err %v", accounts, err)
	}
}
