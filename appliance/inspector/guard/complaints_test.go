package guard

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// complaints has a row for each complaint about the systems that there are.
var complaints = []struct {
	name string
	play func(s *scene)
}{
	{"ivozprovider 704: an office comes back after an outage, over UDP and never seen before", func(s *scene) {
		storm(s, s.fleet("198.51.100.7", Open, 200))
		s.wantNothing()
	}},
	{"ivozprovider 704: the same on the LAN", func(s *scene) {
		storm(s, s.fleet("192.168.1.1", Local, 200))
		s.wantNothing()
	}},
	{"ivozprovider 704: and again with nonces of before", func(s *scene) {
		phones := s.fleet("198.51.100.7", Open, 200)
		for i, p := range phones {
			if i%3 == 0 {
				p.nonce = fmt.Sprintf("old-%d", i)
			}
		}
		storm(s, phones)
		s.wantNothing()
	}},
	{"dsiprouter 696: 2,000 extensions behind one address", func(s *scene) {
		storm(s, s.fleet("198.51.100.7", Open, 2000))
		s.wantNothing()
	}},
	{"fail2ban 2163: a thousand first challenges of one phone are no failure", func(s *scene) {
		p := s.fleet("198.51.100.7", Open, 1)[0]
		for range 1000 {
			if status := s.register(p); status != 200 {
				s.t.Fatalf("status %d", status)
			}
			s.now = s.now.Add(time.Second)
		}
		s.wantNothing()
	}},
	{"fail2ban 779: one phone has an old password and tries it all day", func(s *scene) {
		phones := s.fleet("198.51.100.7", Open, 20)
		storm(s, phones)
		phones[3].password = "before"
		for range 24 * 60 {
			s.register(phones[3])
			s.now = s.now.Add(time.Minute)
		}
		if len(s.found) > 0 || s.refused > 0 {
			s.t.Errorf("%d refused; found %+v", s.refused, s.found)
		}
		if v := s.view("198.51.100.7"); v.Accounts > 1 || v.State != Counted {
			s.t.Errorf("one wrong password counts as %+v", v)
		}
	}},
	{"fail2ban 779: a phone that was never right, in a tight loop, does not shut out its office", func(s *scene) {
		phones := s.fleet("198.51.100.7", Open, 20)
		storm(s, phones)
		wrong := &phone{at: "198.51.100.7", account: "999@pbx", password: "never"}
		for range 300 {
			s.register(wrong)
			s.now = s.now.Add(100 * time.Millisecond)
		}
		if len(s.bans()) > 0 || s.refused == 0 {
			s.t.Errorf("%d refused; found %+v", s.refused, s.found)
		}
		s.refused, s.found = 0, nil
		storm(s, phones)
		s.wantNothing()
	}},
	{"fail2ban 779: at an address that nobody proved, 60 a minute for one account are guesses", func(s *scene) {
		s.known["100@pbx"] = "right"
		for n := range 400 {
			s.register(&phone{at: "198.51.100.66", stream: true, account: "100@pbx", password: fmt.Sprint(n)})
			s.now = s.now.Add(100 * time.Millisecond)
		}
		s.wantBan("198.51.100.66/32", "60 passwords tried for 100@pbx in 60 s")
	}},
	{"fail2ban 1927, 822: what a request says of its source bans nobody else", func(s *scene) {
		p := &phone{at: "198.51.100.66", stream: true, account: "100@pbx",
			words: Words{Agent: "friendly-scanner", Displays: [2]string{"198.51.100.1"}, Users: [2]string{"100", "192.0.2.1"}, Hosts: [2]string{"198.51.100.1", "192.0.2.1"}}}
		s.send(p, "")
		s.wantBan("198.51.100.66/32", "REGISTER carries friendly-scanner")
	}},
	{"fail2ban 1999: no ban of 0.0.0.x, whatever stands in a name", func(s *scene) {
		s.known["*"] = "404"
		for n := range 40 {
			s.send(&phone{at: "198.51.100.66", stream: true, account: fmt.Sprintf("0.0.0.%d@0.0.0.1", n)}, "")
		}
		s.wantBan("198.51.100.66/32", "20 accounts tried in 60 s")
	}},
	{"FreePBX 963: a source that is spared is not counted", func(s *scene) {
		s.known["*"] = "404"
		for n := range 1000 {
			s.send(&phone{at: "203.0.113.9", stream: true, standing: Spared, account: fmt.Sprintf("%d@pbx", n), words: Words{Agent: "friendly-scanner"}}, "")
		}
		s.wantNothing()
		if views, total := s.g.Views(s.limits, s.now, 10); total != 0 {
			s.t.Errorf("views %+v", views)
		}
	}},
	{"FreePBX 963: a source that turns out to be spared is let go", func(s *scene) {
		s.sweep("198.51.100.66", true)
		s.g.Spare(netip.MustParsePrefix("198.51.100.66/32"), s.now, s.now.Add(time.Hour))
		p := s.fleet("198.51.100.66", Open, 1)[0]
		if status := s.register(p); status != 200 {
			s.t.Errorf("status %d", status)
		}
	}},
	{"FreePBX 963: and stays so while that is known", func(s *scene) {
		s.sweep("198.51.100.66", true)
		s.g.Spare(netip.MustParsePrefix("198.51.100.66/32"), s.now, s.now.Add(time.Hour))
		s.now, s.found = s.now.Add(20*time.Minute), nil
		s.sweep("198.51.100.66", true)
		if len(s.bans()) > 0 || len(s.found) != 1 || !strings.Contains(s.found[0].Why, "no ban may touch it") {
			s.t.Errorf("found %+v", s.found)
		}
	}},
	{"fail2ban 2163: a nonce that the far end calls stale is no failure", func(s *scene) {
		p := s.fleet("198.51.100.7", Open, 1)[0]
		_, nonce := s.send(p, "")
		for n := range 100 {
			r := s.request(p, "REGISTER", nonce)
			r.Credentials.Response = fmt.Sprint(n)
			s.g.Admit(s.limits, r, s.now)
			s.note(s.g.Settle(s.limits, r, Answer{Status: 401, Nonces: []string{nonce}, Stale: true}, s.now))
		}
		s.wantNothing()
		if v := s.view(p.at); v.Guesses > 0 {
			s.t.Errorf("%d guesses", v.Guesses)
		}
	}},
	{"fail2ban 2163: nor is the nonce that was good a minute ago, where the far end does not say so", func(s *scene) {
		p := s.fleet("198.51.100.7", Open, 1)[0]
		_, nonce := s.send(p, "")
		s.send(p, nonce)
		s.known[p.account] = "nonces end after a minute"
		s.send(p, nonce)
		if v := s.view(p.at); v.Guesses > 0 || v.Accounts > 0 {
			s.t.Errorf("counted as %+v", v)
		}
	}},
	{"a far end that takes a response to no challenge proves nobody", func(s *scene) {
		r := s.request(&phone{at: "198.51.100.7", stream: true, account: "1@pbx", password: "x"}, "REGISTER", "made-up")
		s.g.Admit(s.limits, r, s.now)
		s.note(s.g.Settle(s.limits, r, Answer{Status: 200}, s.now))
		if s.g.Office(r.Source, s.now) || s.g.Proves(r) {
			s.t.Error("and yet it did")
		}
	}},
	{"community 74038: a phone that is back within the hour is known", func(s *scene) {
		phones := s.fleet("198.51.100.7", Open, 5)
		storm(s, phones)
		s.now = s.now.Add(50 * time.Minute)
		s.sweep("198.51.100.7", false)
		s.refused = 0
		storm(s, phones)
		if s.refused > 0 || len(s.bans()) > 0 {
			s.t.Errorf("%d refused; found %+v", s.refused, s.found)
		}
	}},
	{"fail2ban 927, 1123, 3960: IPv6 is one /64", func(s *scene) {
		s.known["*"] = "404"
		for n := range 40 {
			s.send(&phone{at: fmt.Sprintf("2001:db8:66:1::%x", n+1), stream: true, account: fmt.Sprintf("%d@pbx", n)}, "")
		}
		s.wantBan("2001:db8:66:1::/64", "20 accounts tried")
	}},
	{"fail2ban 927: and its neighbour is another", func(s *scene) {
		s.known["*"] = "404"
		for n := range 40 {
			s.send(&phone{at: fmt.Sprintf("2001:db8:66:%x::1", n+1), stream: true, account: fmt.Sprintf("%d@pbx", n)}, "")
		}
		s.wantNothing()
	}},
	{"fail2ban 927: but a LAN is one /64 with many telephones", func(s *scene) {
		s.known["*"] = "404"
		for n := range 40 {
			s.send(&phone{at: fmt.Sprintf("fd00:1::%x", n+1), standing: Local, account: fmt.Sprintf("%d@pbx", n)}, "")
		}
		s.wantNothing()
	}},
	{"a walk over UDP from a forged address bans nobody, and its victim can register", func(s *scene) {
		s.sweep("198.51.100.7", false)
		if len(s.bans()) > 0 || len(s.found) != 1 || !strings.Contains(s.found[0].Why, "ignored and not banned") {
			s.t.Fatalf("found %+v", s.found)
		}
		p := s.fleet("198.51.100.7", Open, 1)[0]
		s.now = s.now.Add(2 * time.Second)
		if status := s.register(p); status != 200 {
			s.t.Fatalf("the victim gets %d", status)
		}
		if v := s.view("198.51.100.7"); v.State != Counted {
			s.t.Errorf("still %+v", v)
		}
	}},
	{"a walk over UDP that answers challenges is banned", func(s *scene) {
		for n := range 30 {
			s.known[fmt.Sprintf("%d@pbx", n)] = "x"
			s.register(&phone{at: "198.51.100.66", account: fmt.Sprintf("%d@pbx", n), password: "1234"})
			s.now = s.now.Add(time.Second)
		}
		s.wantBan("198.51.100.66/32", "20 accounts tried in 60 s, none of them with success")
	}},
	{"a walk that never answers a challenge is told after 32 s", func(s *scene) {
		for n := range 30 {
			s.send(&phone{at: "198.51.100.66", stream: true, account: fmt.Sprintf("%d@pbx", n)}, "")
		}
		s.wantNothing()
		s.now = s.now.Add(patience)
		s.send(&phone{at: "198.51.100.66", stream: true, account: "31@pbx"}, "")
		s.wantBan("198.51.100.66/32", "30 accounts tried in 60 s")
	}},
	{"a walk of one name in five minutes is told within the day", func(s *scene) {
		s.known["*"] = "404"
		for n := range 150 {
			s.send(&phone{at: "198.51.100.66", stream: true, account: fmt.Sprintf("%d@pbx", n)}, "")
			s.now = s.now.Add(5 * time.Minute)
		}
		s.wantBan("198.51.100.66/32", "100 accounts tried in 24 h")
	}},
	{"a walk from an office slows down new names there, and nobody else", func(s *scene) {
		phones := s.fleet("198.51.100.7", Open, 50)
		storm(s, phones)
		s.sweep("198.51.100.7", false)
		if len(s.bans()) > 0 || len(s.found) != 1 || !strings.Contains(s.found[0].Why, "proven there within a day") || s.refused == 0 {
			s.t.Fatalf("%d refused; found %+v", s.refused, s.found)
		}
		s.refused, s.found = 0, nil
		storm(s, phones)
		s.wantNothing()
	}},
	{"a walk from a host on the LAN bans nobody", func(s *scene) {
		s.known["*"] = "404"
		for n := range 100 {
			s.send(&phone{at: "192.168.1.66", standing: Local, account: fmt.Sprintf("%d@pbx", n)}, "")
		}
		if len(s.bans()) > 0 || len(s.found) != 1 || !strings.Contains(s.found[0].Why, "on the LAN") {
			s.t.Errorf("found %+v", s.found)
		}
	}},
	{"an administrator's sipsak on the LAN passes, elsewhere it is a scanner", func(s *scene) {
		s.send(&phone{at: "192.168.1.5", standing: Local, account: "100@pbx", words: Words{Agent: "sipsak 0.9.8"}}, "")
		s.wantNothing()
		s.send(&phone{at: "198.51.100.66", stream: true, account: "100@pbx", words: Words{Agent: "sipsak 0.9.8"}}, "")
		s.wantBan("198.51.100.66/32", "sipsak")
	}},
	{"noise in the name of a phone does not slow the phone down", func(s *scene) {
		p := s.fleet("198.51.100.7", Open, 1)[0]
		s.register(p)
		for n := range 500 {
			s.send(&phone{at: p.at, account: p.account, password: "noise"}, fmt.Sprintf("made-up-%d", n))
		}
		if s.refused == 0 {
			s.t.Error("the noise went through")
		}
		if status := s.register(p); status != 200 {
			s.t.Errorf("the phone gets %d", status)
		}
	}},
	{"the very same response again is not another guess", func(s *scene) {
		p := s.fleet("198.51.100.7", Open, 1)[0]
		p.password = "before"
		_, nonce := s.send(p, "")
		for range 50 {
			s.send(p, nonce)
		}
		if v := s.view("198.51.100.7"); v.Guesses != 1 {
			s.t.Errorf("%d guesses", v.Guesses)
		}
	}},
	{"a name that scanners borrow makes the rest count double", func(s *scene) {
		s.known["*"] = "404"
		for n := range 12 {
			s.send(&phone{at: "198.51.100.66", stream: true, account: fmt.Sprintf("%d@pbx", n), words: Words{Agent: "eyeBeam release 3006o stamp 17551"}}, "")
		}
		s.wantBan("198.51.100.66/32", "10 accounts tried")
	}},
	{"an outage of the far end is nobody's fault: proven accounts that all fail at once", func(s *scene) {
		phones := s.fleet("198.51.100.7", Open, 200)
		storm(s, phones)
		s.now = s.now.Add(25 * time.Hour) // the office is no longer one of the last day
		clear(s.known)
		for range 3 {
			for _, p := range phones {
				s.register(p)
			}
			s.now = s.now.Add(30 * time.Second)
		}
		s.wantNothing()
	}},
}

// storm has every phone register within 5 s, interleaved: all ask first, then all
// answer.
func storm(s *scene, phones []*phone) {
	s.t.Helper()
	nonces := make([]string, len(phones))
	for round := range 2 {
		for i, p := range phones {
			if round == 0 {
				_, nonces[i] = s.send(p, p.nonce)
				continue
			}
			if status, _ := s.send(p, nonces[i]); status != 200 {
				s.t.Fatalf("%s gets %d", p.account, status)
			}
		}
		s.now = s.now.Add(2500 * time.Millisecond)
	}
}

// sweep walks over names that are nobody's, ten a second.
func (s *scene) sweep(at string, stream bool) {
	s.known["*"] = "404"
	for n := range 60 {
		s.send(&phone{at: at, stream: stream, account: fmt.Sprintf("nobody%d@pbx", n)}, "")
		s.now = s.now.Add(100 * time.Millisecond)
	}
	delete(s.known, "*")
}

func TestComplaints(t *testing.T) {
	for _, row := range complaints {
		t.Run(row.name, func(t *testing.T) { row.play(newScene(t)) })
	}
}
