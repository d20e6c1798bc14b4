package message

import (
	"strings"
	"testing"
)

// uriCase reads text. Where problem is empty want is the canonical form.
type uriCase struct{ text, want, problem string }

var uriCases = []uriCase{
	{"sip:alice@example.com", "sip:alice@example.com", ""},
	{"SIPS:Alice@EXAMPLE.Com", "sips:Alice@example.com", ""},
	{"sip:example.com", "sip:example.com", ""},
	{"sip:a@example.com;transport=tcp;lr?Route=%3Csip:x%3E&a=", "sip:a@example.com;transport=tcp;lr?Route=%3Csip:x%3E&a=", ""},
	{"sip:+252;rn=1;npdi@a;user=phone", "sip:+252;rn=1;npdi@a;user=phone", ""},
	{"sip:%2B252%30@a", "sip:%2B252%30@a", ""},
	{"sip:*72#1@a", "sip:*72%231@a", ""},
	{"sip:a:secret@b", "sip:a:secret@b", ""},
	{"sip:a?b@c", "", "user"},
	// Hosts and ports.
	{"sip:a@192.0.2.1:5060", "sip:a@192.0.2.1:5060", ""},
	{"sip:a@[2001:DB8:0:0::1]:5061", "sip:a@[2001:db8::1]:5061", ""},
	{"sip:a@[::]", "sip:a@[::]", ""},
	{"sip:a@b:65535", "sip:a@b:65535", ""},
	{"sip:a@b:0", "", "port"},
	{"sip:a@b:65536", "", "port"},
	{"sip:a@b:99999999999", "", "port"},
	{"sip:a@b:000005060", "", "port"},
	{"sip:a@b:", "", "port"},
	{"sip:a@b:+1", "", "port"},
	{"sip:a@b:5060:5061", "", "port"},
	{"sip:a@b.", "", "host"},
	{"sip:a@.b", "", "host"},
	{"sip:a@b..c", "", "host"},
	{"sip:a@-b", "", "host"},
	{"sip:a@b-.c", "", "host"},
	{"sip:a@PBX_1.lan", "sip:a@pbx_1.lan", ""}, // not a host name, but Windows makes them,
	{"sip:a@bücher.example", "", "host"},
	{"sip:a@", "", "host"},
	{"sip:", "", "host"},
	{"sip:a@" + strings.Repeat("a", 64), "", "host"},
	{"sip:a@" + strings.Repeat("a.", 127) + "a", "", "host"},
	{"sip:a@010.0.0.1", "", "IPv4"},
	{"sip:a@192.168.1", "", "IPv4"},
	{"sip:a@192.168.1.256", "", "IPv4"},
	{"sip:a@192.168.1.1.", "", "host"},
	{"sip:a@0x7f000001", "", "IPv4"},
	{"sip:a@0x7f.0.0.1", "", "IPv4"},
	{"sip:a@2130706433", "", "IPv4"},
	{"sip:a@127.1", "", "IPv4"},
	{"sip:a@127.0.0.0x1", "", "IPv4"},
	{"sip:a@１２７.0.0.1", "", "host"},
	{"sip:a@2001:db8::1", "", "IPv4"},
	{"sip:a@[2001:db8::1", "", "host"},
	{"sip:a@[2001:db8::1]x", "", "host"},
	{"sip:a@[2001:db8::1%eth0]", "", "IPv6"},
	{"sip:a@[2001:db8::1%25eth0]", "", "IPv6"},
	{"sip:a@[::ffff:192.0.2.1]", "", "IPv6"},
	{"sip:a@[::ffff:c000:201]", "", "IPv6"},
	{"sip:a@[192.0.2.1]", "", "IPv6"},
	{"sip:a@[2001:db8:::1]", "", "IPv6"},
	{"sip:a@[v1.x]", "", "IPv6"},
	{"sip:a@[]", "", "IPv6"},
	// N13, N14: tricks in the user part.
	{"sip:a@b@c", "", "more than one"},
	{"sip:a@b;x=@c", "", "more than one"},
	{"sip:252@evil?x=y@pbx", "", "more than one"},
	{"sip://a@b", "", "user"}, // the grammar allows it, URL readers drop the slashes
	{"sip://b", "", "host"},
	{"sip:[::1]@b", "", "password"},
	{"sip:[1]@b", "", "user"},
	{"sip:@b", "", "user"},
	{"sip::pw@b", "", "user"},
	{"sip:a:@b", "", "password"},
	{"sip:a:b:c@d", "", "password"},
	{"sip:a|b@c", "", "user"},
	{"sip:a b@c", "", "user"},
	{`sip:a"b@c`, "", "user"},
	{"sip:a<b@c", "", "user"},
	{`sip:a\b@c`, "", "user"},
	{"sip:a^b@c", "", "user"},
	{"sip:\u0661@c", "", "user"},
	{"sip:a\x00@c", "", "user"},
	{"sip:%00@c", "", "user"},
	{"sip:a%0d%0aTo%3ab@c", "", "user"},
	{"sip:a%0A@c", "", "user"},
	{"sip:a%0D@c", "", "user"},
	{"sip:3Zqkv7%0BaGqmaaaaacbsip%3Ax@c", "sip:3Zqkv7%0BaGqmaaaaacbsip%3Ax@c", ""},
	{"sip:a%@c", "", "user"},
	{"sip:a%2@c", "", "user"},
	{"sip:a%2g@c", "", "user"},
	{"sip:a%C3%A9@c", "sip:a%C3%A9@c", ""},
	{"sip:500&PJSIP/itsp/1416@c", "sip:500&PJSIP/itsp/1416@c", ""}, // the dial plan refuses it
	// N15: parameters and headers.
	{"sip:a@b;", "", "parameter"},
	{"sip:a@b;;lr", "", "parameter"},
	{"sip:a@b;lr;LR", "", "repeats"},
	{"sip:a@b;maddr=x;MAddr=y", "", "repeats"},
	{"sip:a@b;x=", "", "parameter"},
	{"sip:a@b;=x", "", "parameter"},
	{"sip:a@b;x=%0a", "", "parameter"},
	{"sip:a@b;%6cr", "", "parameter"},
	{"sip:a@b;x=y=z", "", "parameter"},
	{"sip:a@b;LR;Transport=TCP;X-Y=Z;USER=Phone", "sip:a@b;lr;transport=TCP;X-Y=Z;user=Phone", ""},
	{"sip:a@b;transport=%74cp", "", "parameter"},
	{"sip:a@b;transport", "", "parameter"},
	{"sip:a@b;user=%70hone", "", "parameter"},
	{"sip:a@b;method=B%59E", "", "parameter"},
	{"sip:a@b;maddr=%31.2.3.4", "", "parameter"},
	{"sip:a@b;maddr=0x7f.1", "", "parameter"},
	{"sip:a@b;ttl=256", "", "parameter"},
	{"sip:a@b;transport=TLS;user=phone;method=INVITE;maddr=[2001:db8::1];ttl=1", "sip:a@b;transport=TLS;user=phone;method=INVITE;maddr=[2001:db8::1];ttl=1", ""},
	{"sip:a@b;x=<y>", "", "parameter"},
	{"sip:a@b?", "", "headers"},
	{"sip:a@b?x", "", "headers"},
	{"sip:a@b?=x", "", "headers"},
	{"sip:a@b?x=y&", "", "headers"},
	{"sip:a@b?x=%0d%0ay", "", "headers"},
	{"sip:a@b?x=y;z", "", "headers"},
	// tel.
	{"tel:+252-61-1234567", "tel:+252-61-1234567", ""},
	{"tel:0011252611234567;phone-context=+61", "tel:0011252611234567;phone-context=+61", ""},
	{"TEL:*72#", "tel:*72#", ""},
	{"tel:(02)5550.1234", "tel:(02)5550.1234", ""},
	{"tel:", "", "number"},
	{"tel:+", "", "number"},
	{"tel:-", "", "number"},
	{"tel:1+2", "", "number"},
	{"tel:%2B252", "", "number"},
	{"tel:252@b", "", "number"},
	{"tel:252?x=y", "", "number"},
	{"tel:252p1", "", "number"},
	{"tel:252 1", "", "number"},
	{"tel:252;ext=1;ext=2", "", "repeats"},
	// Other schemes.
	{"urn:service:sos", "urn:service:sos", ""},
	{"MAILTO:a@b", "mailto:a@b", ""},
	{"http://www.example.com/%7Ea?b=c", "http://www.example.com/%7Ea?b=c", ""},
	{"x:", "", "character"},
	{"x:a b", "", "character"},
	{"x:a>b", "", "character"},
	{"x:a%0ab", "", "character"},
	{"x:[a]", "", "character"},
	{"1x:a", "", "scheme"},
	{"x_y:a", "", "scheme"},
	{":a", "", "scheme"},
	{"alice", "", "scheme"},
	{"", "", "scheme"},
	{" sip:a@b", "", "scheme"},
	{"sip :a@b", "", "scheme"},
	{"sip:a@b ", "", "host"},
}

func TestURI(t *testing.T) {
	for _, c := range uriCases {
		u, err := ParseURI(c.text)
		switch {
		case c.problem != "":
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%q: got %v, want %q", c.text, err, c.problem)
			}
		case err != nil:
			t.Errorf("%q: %v", c.text, err)
		case u.String() != c.want:
			t.Errorf("%q became %q, want %q", c.text, u, c.want)
		}
	}
}

func TestURIParts(t *testing.T) {
	u, err := ParseURI("sip:0011252;cpc=x:pw@PBX.example.com:5070;user=phone;lr?Replaces=a")
	if err != nil {
		t.Fatal(err)
	}
	want := URI{Scheme: "sip", User: "0011252;cpc=x", Password: "pw", Host: "pbx.example.com",
		Port: 5070, Params: ";user=phone;lr", Headers: "Replaces=a"}
	if u != want {
		t.Errorf("got %+v, want %+v", u, want)
	}
	u, err = ParseURI("tel:+252611234567;phone-context=x")
	if err != nil || u != (URI{Scheme: "tel", User: "+252611234567", Params: ";phone-context=x"}) {
		t.Errorf("got %+v, %v", u, err)
	}
}

// addressCase reads text as a name-addr or addr-spec with parameters.
type addressCase struct{ text, want, problem string }

var addressCases = []addressCase{
	{"<sip:a@b>", "<sip:a@b>", ""},
	{"sip:a@b", "<sip:a@b>", ""},
	{"sip:a@b;tag=c", "<sip:a@b>;tag=c", ""},
	{"tel:+252;phone-context=x", "<tel:+252>;phone-context=x", ""},
	{"<sip:a@b;x=y>;tag=c", "<sip:a@b;x=y>;tag=c", ""},
	{"Alice <sip:a@b>", `"Alice" <sip:a@b>`, ""},
	{"Alice  B. Smith<sip:a@b>", `"Alice B. Smith" <sip:a@b>`, ""},
	{`""<sip:a@b>`, "<sip:a@b>", ""},
	{`"Alice"<sip:a@b>`, `"Alice" <sip:a@b>`, ""},
	{`"A \"B\" \\ \C" <sip:a@b>`, `"A \"B\" \\ C" <sip:a@b>`, ""},
	{`"<sip:evil@x>;tag=1" <sip:a@b> ; tag=c ; x = "y;z=\"" `, `"<sip:evil@x>;tag=1" <sip:a@b>;tag=c;x="y;z=\""`, ""},
	{`"Ünï" <sip:a@b>`, `"Ünï" <sip:a@b>`, ""},
	{`Ünï <sip:a@b>`, "", "scheme"},
	{`"a" sip:a@b`, "", "angle brackets"},
	{`"a"`, "", "angle brackets"},
	{`Alice sip:a@b`, "", "scheme"},
	{"< sip:a@b>", "", "scheme"},
	{"<sip:a@b >", "", "host"},
	{"<>", "", "scheme"},
	{"<sip:a@b>;", "", "empty parameter"},
	{"<sip:a@b>;x=", "", "wrong value"},
	{"<sip:a@b>;x=y z", "", "more than its grammar"},
	{`<sip:a@b>;x="y`, "", "unclosed quoted"},
	{`<sip:a@b>;x="y"z`, "", "more than its grammar"},
	{"<sip:a@b>;x=[::1]", "<sip:a@b>;x=[::1]", ""},
	{"<sip:a@b>;x=[::1", "", "unclosed"},
	{"<sip:a@b>;x=::1", "", "wrong value"},
	{"<sip:a@b>,<sip:c@d>", "", "more than its grammar"},
	{"sip:a@b?x=y", "", "without angle brackets"},
	{"sip:a@b,c", "", "more than its grammar"},
	{"<sip:a@b>;tag=<x>", "", "wrong value"},
	{`<sip:a@b>;TAG=C; Q = 0.5;X="Y;TAG=z"`, `<sip:a@b>;tag=C;q=0.5;X="Y;TAG=z"`, ""},
	{"<sip:a>b@c>", "", "more than its grammar"},
	{`<sip:"a>"@b>`, "", "host"},
}

func TestNameAddr(t *testing.T) {
	for _, c := range addressCases {
		a, err := ParseNameAddr(c.text)
		switch {
		case c.problem != "":
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%q: got %v, want %q", c.text, err, c.problem)
			}
		case err != nil:
			t.Errorf("%q: %v", c.text, err)
		case a.String() != c.want:
			t.Errorf("%q became %q, want %q", c.text, a, c.want)
		}
	}
}

func TestParams(t *testing.T) {
	p := Params(`;lr;x="a;b=\"c";Tag=d`)
	if v, ok := p.Get("X"); !ok || v != `"a;b=\"c"` || p.Text("x") != `a;b="c` {
		t.Errorf("x is %q %q", v, p.Text("x"))
	}
	if v, ok := p.Get("lr"); !ok || v != "" {
		t.Errorf("lr is %q, %v", v, ok)
	}
	if p.Has("b") || p.Has("") {
		t.Error("text inside quotes is taken for a parameter")
	}
	if got := p.Set("tag", "e").Set("rport", ""); got != `;lr;x="a;b=\"c";Tag=e;rport` {
		t.Errorf("Set made %q", got)
	}
	if got := p.Del("X").Del("none"); got != ";lr;Tag=d" {
		t.Errorf("Del made %q", got)
	}
	n := 0
	for range p.All() {
		n++
		break
	}
	if n != 1 {
		t.Error("All goes on after the end")
	}
}

func TestAccount(t *testing.T) {
	for user, want := range map[string]string{
		"201": "201", "20%31": "201", "%32%30%31": "201", "Anna": "anna", "%41nna": "anna", "a%2Db": "a-b", "a%23b": "a%23b", "a%2Fb": "a%2fb", "a%2fb": "a%2fb",
		"": "", "%": "%", "50%2": "50%2", "%C3%A4": "%c3%a4",
	} {
		if got := (URI{User: user}).Account(); got != want {
			t.Errorf("%q is %q, want %q", user, got, want)
		}
	}
}
