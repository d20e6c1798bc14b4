// Package audit tests whether a secret is weak, from nothing but the proof that it
// is known: a digest response that crossed the box. A secret that a short
// dictionary holds will be found by whoever scans for it; here it is found first.
//
// The package is paper. It never says, returns or keeps a secret: a finding names
// the account and the class of word that the secret belongs to.
package audit

import (
	"crypto/md5" //nolint:gosec // what RFC 3261 and RFC 8760 devices speak
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"strings"
	"time"
)

// Digest is a response of HTTP digest authentication as SIP uses it (RFC 3261
// section 22, RFC 8760), with the challenge that it answers.
type Digest struct {
	Username, Realm, Nonce string
	Method, URI            string // of the request; URI as the digest names it
	Algorithm              string // empty for MD5
	QOP, NC, CNonce        string // QOP is empty, auth or auth-int
	Body                   []byte // what auth-int covers
	Response               string // lower-case hexadecimal
}

// Class is the kind of word that a weak secret is.
type Class string

// The classes, in the order in which they are tried.
const (
	Empty    Class = "empty"  // no secret at all
	SameName Class = "name"   // the user name itself, reversed, doubled or with a digit or two
	Digits   Class = "digits" // 1111, 1234, years: what voicemail PINs are made of
	Vendor   Class = "vendor" // what devices are shipped with
	Site     Class = "site"   // the site's name, extension and trunk, in combinations
	Common   Class = "common" // among the 10,000 commonest passwords
)

// Sentence says what a class means, for a person.
func (c Class) Sentence() string {
	switch c {
	case Empty:
		return "there is no password"
	case SameName:
		return "the password is made of the user name"
	case Digits:
		return "the password is a simple row of digits"
	case Vendor:
		return "the password is one that devices are shipped with"
	case Site:
		return "the password is made of the site's name or the extension"
	case Common:
		return "the password is one of the 10,000 commonest"
	}
	return "the password is weak"
}

// Finding is what the audit knows of an account's secret; never the secret.
type Finding struct {
	Account string    `json:"account"`
	Realm   string    `json:"realm"`
	Class   Class     `json:"class,omitempty"` // of the word, empty where none fits
	Was     Class     `json:"was,omitempty"`   // the class before that, empty where it was none
	Words   int       `json:"words"`           // that were tried
	Tested  time.Time `json:"tested"`
	Since   time.Time `json:"since"` // the first time that it came out so
}

// Supported reports whether a response can be tested: MD5 or SHA-256, with their
// session variants, and qop auth, auth-int or none.
func (d *Digest) Supported() bool {
	_, _, known := d.algorithm()
	return known && (d.QOP == "" || d.QOP == "auth" || d.QOP == "auth-int") && len(d.Response) == 2*d.size()
}

func (d *Digest) algorithm() (make func() hash.Hash, session, known bool) {
	name := strings.ToUpper(d.Algorithm)
	name, session = strings.CutSuffix(name, "-SESS")
	switch name {
	case "", "MD5":
		return md5.New, session, true
	case "SHA-256":
		return sha256.New, session, true
	}
	return nil, false, false
}

func (d *Digest) size() int {
	if strings.HasPrefix(strings.ToUpper(d.Algorithm), "SHA-256") {
		return sha256.Size
	}
	return md5.Size
}

// Weak tries every word of the dictionary and returns the class of the one that
// the response was made with. tries is how many words it took.
func (d *Digest) Weak(words Words) (class Class, tries int, weak bool) {
	if !d.Supported() {
		return "", 0, false
	}
	t := d.tester()
	for class, word := range words.all(d.Username) {
		tries++
		if t.made(word) {
			return class, tries, true
		}
	}
	return "", tries, false
}

// tester holds what does not depend on the secret.
type tester struct {
	hash     hash.Hash
	user     []byte // username:realm:
	session  []byte // :nonce:cnonce, of the session variants
	rest     []byte // :nonce[:nc:cnonce:qop]:HA2
	response []byte
	hex      []byte
	sum      []byte
}

func (d *Digest) tester() *tester {
	make, session, _ := d.algorithm()
	t := &tester{hash: make(), user: []byte(d.Username + ":" + d.Realm + ":"), response: []byte(strings.ToLower(d.Response))}
	if session {
		t.session = []byte(":" + d.Nonce + ":" + d.CNonce)
	}
	request := d.Method + ":" + d.URI
	if d.QOP == "auth-int" {
		request += ":" + string(t.digest(d.Body))
	}
	rest := ":" + d.Nonce
	if d.QOP != "" {
		rest += ":" + d.NC + ":" + d.CNonce + ":" + d.QOP
	}
	t.rest = []byte(rest + ":" + string(t.digest([]byte(request))))
	return t
}

// digest returns the hash of parts in hexadecimal. The result is good until the
// next call.
func (t *tester) digest(parts ...[]byte) []byte {
	t.hash.Reset()
	for _, part := range parts {
		t.hash.Write(part)
	}
	t.sum = t.hash.Sum(t.sum[:0])
	t.hex = hex.AppendEncode(t.hex[:0], t.sum)
	return t.hex
}

// made reports whether the response was made with a secret.
func (t *tester) made(secret string) bool {
	key := t.digest(t.user, []byte(secret))
	if t.session != nil {
		key = t.digest([]byte(string(key)), t.session)
	}
	return subtle.ConstantTimeCompare(t.digest([]byte(string(key)), t.rest), t.response) == 1
}
