package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// trick is a way to have the provider connect a number that is not its caller's
// to call. play returns what whoever tried it was answered.
type trick struct {
	name   string
	only   string // "datagrams" or "streams", "" for both
	honest string // what becomes of the same with a number that may be called
	play   func(*smuggler, number) string
}

// number is a number in the ways in which the tricks write it.
type number struct {
	country, rest string // "252" and "615550100"
	id            string // of its call
}

func (n number) dialled() string { return "0011" + n.country + n.rest }

// What becomes of an honest number.
const (
	arrives = "reaches it"
	refused = "does not reach it" // the message is broken, whatever it says
)

var tricks = []trick{
	{"dialled", "", arrives, func(s *smuggler, n number) string { return s.dial(s.number(n.dialled()), n) }},
	{"%2B", "", arrives, func(s *smuggler, n number) string { return s.dial(s.number("%2B"+n.country+n.rest), n) }},
	{"a tel: URI", "", arrives, func(s *smuggler, n number) string {
		return s.dial("tel:+"+n.country+"-"+n.rest[:2]+"."+n.rest[2:5]+"-"+n.rest[5:], n)
	}},
	{";phone-context", "", arrives, func(s *smuggler, n number) string {
		return s.dial("sip:"+n.rest+";phone-context=+"+n.country+"@"+s.domain+";user=phone", n)
	}},
	{"tel: with ;phone-context", "", arrives, func(s *smuggler, n number) string {
		return s.dial("tel:"+n.rest+";phone-context=+"+n.country, n)
	}},
	{"a REFER in a call", "", arrives, func(s *smuggler, n number) string {
		return s.within(n, "REFER", "", "Refer-To: <"+s.number(n.dialled())+">")
	}},
	{"a re-INVITE", "", refused, func(s *smuggler, n number) string { return s.within(n, "INVITE", s.number(n.dialled())) }},
	{"a 3xx to the provider's call", "", arrives, func(s *smuggler, n number) string { return s.redirect(n) }},
	{"a header behind a bare LF", "", refused, func(s *smuggler, n number) string {
		return s.broken(n, "Subject: tea\nRoute: <"+s.number(n.dialled())+";lr>")
	}},
	{"an INVITE behind bare LFs", "", refused, func(s *smuggler, n number) string {
		return s.broken(n, "Subject: tea\n\n"+s.invite(s.number(n.dialled()), n.id+"in"))
	}},
	{"an INVITE behind two Content-Lengths", "", refused, func(s *smuggler, n number) string {
		inner := s.invite(s.number(n.dialled()), n.id+"in")
		return s.broken(n, fmt.Sprintf("Content-Length: %d", len(inner)), inner)
	}},
	{"a second INVITE in one datagram", "datagrams", refused, func(s *smuggler, n number) string {
		return s.raw(s.invite(s.honest(), n.id)+s.invite(s.number(n.dialled()), n.id+"in"), n.id) + " to the first"
	}},
	{"a second INVITE, pipelined", "streams", arrives, func(s *smuggler, n number) string {
		return s.raw(s.invite(s.honest(), n.id+"first")+s.invite(s.number(n.dialled()), n.id), n.id)
	}},
}

// smuggler is a telephone in a town, which is registered.
type smuggler struct {
	*town
	phone *ua
	from  heard // the REGISTER, as the provider got it
}

func (s *smuggler) honest() string { return s.number("+61255509999") }

func (s *smuggler) dial(uri string, n number) string {
	return status(s.ask(s.phone, "INVITE", uri, "100", n.id, 1))
}

func (s *smuggler) invite(uri, callID string) string {
	return s.phone.request("INVITE", uri, s.numberOf("100")+";tag=p100", "<"+uri+">", callID, 1, "Contact: "+s.phone.contact("100"))
}

// raw sends bytes and waits for what becomes of a call.
func (s *smuggler) raw(text, callID string) string {
	return status(s.askAt(s.phone, s.box, "INVITE", text, callID))
}

// broken sends an INVITE to an honest number with a line that is not one, and
// what follows the head.
func (s *smuggler) broken(n number, line string, body ...string) string {
	text := strings.Replace(s.invite(s.honest(), n.id), "Content-Length: 0\r\n", line+"\r\nContent-Length: 0\r\n", 1)
	defer s.phone.forget(s.box) // such a connection is closed
	return s.raw(text+strings.Join(body, ""), n.id)
}

// within makes an honest call and sends a request within it, to its target where
// uri is empty.
func (s *smuggler) within(n number, method, uri string, headers ...string) string {
	ok := s.ask(s.phone, "INVITE", s.honest(), "100", n.id, 1)
	if status(ok) != "200" {
		s.t.Fatalf("an honest call:\n%s", ok.text)
	}
	target := strings.Trim(field(ok.text, "Contact"), "<>")
	from, to := field(ok.text, "From"), field(ok.text, "To")
	var route []string
	for _, one := range fields(ok.text, "Record-Route") {
		route = append([]string{"Route: " + one}, route...)
	}
	s.phone.send(s.Lab, "pbx", s.box, s.phone.request("ACK", target, from, to, n.id, 1, route...))
	s.provider.find("the ACK", requestOf(n.id, "ACK"))
	if uri == "" {
		uri = target
	}
	headers = append(append(headers, route...), "Contact: "+s.phone.contact("100"))
	text := s.phone.request(method, uri, from, to, n.id, 2, headers...)
	s.phone.send(s.Lab, "pbx", s.box, text)
	return status(s.phone.find(method+" answered", func(m heard) bool {
		return responseTo(n.id, method, "")(m) && m.text[len("SIP/2.0 ")] != '1' && strings.HasPrefix(field(m.text, "CSeq"), "2 ")
	}))
}

// redirect has the provider call the telephone, which answers with somewhere else
// to call. It returns what the provider was answered.
func (s *smuggler) redirect(n number) string {
	target, _, _ := strings.Cut(strings.TrimPrefix(field(s.from.text, "Contact"), "<"), ">")
	text := s.provider.request("INVITE", target, "<sip:0298765432@"+s.domain+">;tag=gw", s.numberOf("100"), n.id, 1, "Contact: "+s.provider.contact("gw"))
	s.provider.send(s.Lab, "provider", s.from.from, text)
	got := s.phone.find("its call", requestOf(n.id, "INVITE"))
	s.phone.send(s.Lab, "pbx", got.from, answer(got.text, "302 Moved Temporarily", "p100", "Contact: <"+s.number(n.dialled())+">"))
	return status(s.provider.find("an answer", func(m heard) bool {
		return responseTo(n.id, "INVITE", "")(m) && m.text[len("SIP/2.0 ")] != '1'
	}))
}

// TestSmuggling tries to have a forbidden number called in every way that the
// issue names, over every transport and family, by way of the box and past it, and
// looks for the number in all that came to the provider's interface. The same with a
// number that may be called shows that the capture would hold it.
func TestSmuggling(t *testing.T) {
	rows := [][]string{{"a forbidden number in", "way", "answered", "the provider's capture", "an allowed number", "answered"}}
	for _, transparent := range []bool{false, true} {
		for _, transport := range []string{"udp", "tcp", "tls"} {
			for _, ip6 := range []bool{false, true} {
				if transparent && transport == "tls" {
					continue // nobody reads it: the policy lets it pass or not
				}
				way := map[bool]string{false: "explicit", true: "through"}[transparent] + "-" + transport + "-" + map[bool]string{false: "v4", true: "v6"}[ip6]
				t.Run(way, func(t *testing.T) {
					s := newSmuggler(t, transparent, transport, ip6)
					rows = append(rows, s.tryAll(way)...)
				})
			}
		}
	}
	show(rows)
}

func newSmuggler(t *testing.T, transparent bool, transport string, ip6 bool) *smuggler {
	t.Helper()
	s := &smuggler{town: newTownOver(t, transparent, transport, ip6)}
	s.phone = s.phones[0]
	if m := s.ask(s.phone, "REGISTER", "sip:"+s.domain, "100", "reg100", 1, "Expires: 600"); status(m) != "200" {
		t.Fatalf("could not register:\n%s", m.text)
	}
	s.from = s.provider.find("REGISTER", requestOf("reg100", "REGISTER"))
	return s
}

// tryAll plays every trick with a forbidden number and with an honest one.
func (s *smuggler) tryAll(way string) (rows [][]string) {
	s.t.Helper()
	capture := startCapture(s.t, s.Lab, "provider")
	type try struct {
		trick
		bad, good                number
		answered, answeredHonest string
	}
	var tries []try
	carried := map[bool]string{false: "datagrams", true: "streams"}[s.phone.tcp]
	for n, one := range tricks {
		if one.only != "" && one.only != carried {
			continue
		}
		bad := number{"252", fmt.Sprintf("6155501%02d", n), fmt.Sprint("bad", n)}
		good := number{"61", fmt.Sprintf("2555001%02d", n), fmt.Sprint("good", n)}
		tries = append(tries, try{one, bad, good, one.play(s, bad), one.play(s, good)})
	}
	s.ask(s.phone, "INVITE", s.honest(), "100", "the-last-call", 1)
	texts := capture.received(s.provider.at.Addr().String(), "the-last-call")
	for _, one := range tries {
		found, honest := "nothing", refused
		if mention(texts, one.bad.rest) {
			found = "HAS IT"
			s.t.Errorf("%s: %s reached the provider", way, one.name)
		}
		if mention(texts, one.good.rest) {
			honest = arrives
		}
		if honest != one.honest {
			s.t.Errorf("%s: %s with an allowed number %s, answered %s; want: %s", way, one.name, honest, one.answeredHonest, one.trick.honest)
		}
		if !strings.HasPrefix(one.answered, "4") && !strings.HasSuffix(one.answered, "first") {
			s.t.Errorf("%s: %s was answered %s", way, one.name, one.answered)
		}
		rows = append(rows, []string{one.name, way, one.answered, found, honest, one.answeredHonest})
	}
	return rows
}
