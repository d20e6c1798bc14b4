package audit

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"
)

// TestRFC is the examples of RFC 2617 section 3.5 and RFC 7616 section 3.9.1.
func TestRFC(t *testing.T) {
	for name, row := range map[string]struct {
		digest Digest
		secret string
	}{
		"RFC 2617": {Digest{
			Username: "Mufasa", Realm: "testrealm@host.com", Nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", Method: "GET", URI: "/dir/index.html",
			QOP: "auth", NC: "00000001", CNonce: "0a4f113b", Response: "6629fae49393a05397450978507c4ef1",
		}, "Circle Of Life"},
		"RFC 7616 MD5": {Digest{
			Username: "Mufasa", Realm: "http-auth@example.org", Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", Method: "GET", URI: "/dir/index.html",
			QOP: "auth", NC: "00000001", CNonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", Response: "8ca523f5e9506fed4657c9700eebdbec",
		}, "Circle of Life"},
		"RFC 7616 SHA-256": {Digest{
			Username: "Mufasa", Realm: "http-auth@example.org", Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", Method: "GET", URI: "/dir/index.html", Algorithm: "SHA-256",
			QOP: "auth", NC: "00000001", CNonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", Response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		}, "Circle of Life"},
	} {
		if !row.digest.Supported() || !row.digest.tester().made(row.secret) || row.digest.tester().made("circle of life") {
			t.Errorf("%s: the example does not hold", name)
		}
	}
}

// answer makes the response of a device, by the letter of RFC 7616 and apart from
// the code under test.
func answer(d Digest, secret string) Digest {
	sum := func(s string) string {
		if d.Algorithm == "SHA-256" || d.Algorithm == "SHA-256-sess" {
			out := sha256.Sum256([]byte(s))
			return hex.EncodeToString(out[:])
		}
		out := md5.Sum([]byte(s))
		return hex.EncodeToString(out[:])
	}
	one := sum(d.Username + ":" + d.Realm + ":" + secret)
	if d.Algorithm == "MD5-sess" || d.Algorithm == "SHA-256-sess" {
		one = sum(one + ":" + d.Nonce + ":" + d.CNonce)
	}
	two := d.Method + ":" + d.URI
	if d.QOP == "auth-int" {
		two += ":" + sum(string(d.Body))
	}
	middle := d.Nonce
	if d.QOP != "" {
		middle += ":" + d.NC + ":" + d.CNonce + ":" + d.QOP
	}
	d.Response = sum(one + ":" + middle + ":" + sum(two))
	return d
}

func TestWeak(t *testing.T) {
	words := Words{Site: "Smith & Sons", Others: []string{"itsp"}}
	for _, row := range []struct {
		user, secret string
		want         Class
	}{
		{"201", "", Empty}, {"201", "201", SameName}, {"201", "102", SameName}, {"201", "201201", SameName}, {"Reception", "reception1", SameName},
		{"201", "1234", Digits}, {"201", "1111", Digits}, {"201", "987654", Digits}, {"201", "2026", Digits}, {"201", "777777", Digits},
		{"201", "grandstream", Vendor}, {"201", "P@ssw0rd", Vendor},
		{"201", "smith201", Site}, {"201", "Smith123", Site}, {"201", "ITSP", Site},
		{"201", "liverpool", Common}, {"201", "trustno1", Common},
		{"201", "hAv3@nic3day", ""}, {"201", "x7#Qp0zL2m", ""}, {"201", "haveaniceday!", ""},
	} {
		for _, algorithm := range []string{"", "MD5", "MD5-sess", "SHA-256", "SHA-256-sess"} {
			for _, qop := range []string{"", "auth", "auth-int"} {
				d := answer(Digest{Username: row.user, Realm: "itsp", Nonce: "n1", Method: "REGISTER", URI: "sip:itsp.example", Algorithm: algorithm, QOP: qop, NC: "00000001", CNonce: "c", Body: []byte("v=0")}, row.secret)
				class, tries, weak := d.Weak(words)
				if class != row.want || weak != (row.want != "") || tries == 0 {
					t.Errorf("%s/%s, secret %q of %s: %q after %d words, want %q", algorithm, qop, row.secret, row.user, class, tries, row.want)
				}
			}
		}
	}
}

func TestUnsupported(t *testing.T) {
	good := answer(Digest{Username: "201", Realm: "itsp", Nonce: "n", Method: "INVITE", URI: "sip:x"}, "201")
	for name, change := range map[string]func(*Digest){
		"algorithm": func(d *Digest) { d.Algorithm = "AKAv1-MD5" }, "qop": func(d *Digest) { d.QOP = "other" },
		"length": func(d *Digest) { d.Response = d.Response[1:] }, "empty": func(d *Digest) { d.Response = "" },
	} {
		bad := good
		change(&bad)
		if _, tries, weak := bad.Weak(Words{}); weak || tries != 0 {
			t.Errorf("%s: tested %d words", name, tries)
		}
	}
}

func TestLimiter(t *testing.T) {
	l := NewLimiter()
	if !l.May("201", "itsp", 0) || l.May("201", "itsp", time.Minute) || !l.May("202", "itsp", time.Minute) || !l.May("201", "other", time.Minute) {
		t.Error("not once an hour for each account and realm")
	}
	if !l.May("201", "itsp", time.Hour) {
		t.Error("not after an hour")
	}
	l.Again("201", "itsp")
	if !l.May("201", "itsp", time.Hour+1) {
		t.Error("not after a change")
	}
	for n := range 2 * maxAccounts {
		l.May(fmt.Sprint("flood", n), "itsp", 2*time.Hour)
	}
	if len(l.last) > maxAccounts || l.May("new", "itsp", 2*time.Hour) || !l.May("new", "itsp", 3*time.Hour+1) {
		t.Errorf("%d accounts are remembered", len(l.last))
	}
}

func BenchmarkDictionary(b *testing.B) {
	d := answer(Digest{Username: "201", Realm: "itsp", Nonce: "n1", Method: "REGISTER", URI: "sip:itsp.example"}, "hAv3@nic3day")
	for b.Loop() {
		if _, _, weak := d.Weak(Words{Site: "Smith & Sons"}); weak {
			b.Fatal("weak")
		}
	}
}
