package inspector

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// lowerBase32 spells identifiers that are safe in every SIP token.
var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// branches makes the branch of every request that we send: the magic cookie,
// 80 random bits, and a keyed hash of what decided how the request was handled.
// A request that comes back with the same hash has looped; with another one it
// spirals, which is allowed (RFC 3261 section 16.6 step 8, RFC 5393).
type branches struct{ seed maphash.Seed }

func newBranches() branches { return branches{maphash.MakeSeed()} }

// loopHash covers what the routing of a request depends on, and so also who sent it:
// a dialog by way of a trunk that is a proxy crosses the box twice under one
// Request-URI, once from either side.
func (b branches) loopHash(r *request) string {
	return b.hash(r.from.remote.Addr().String(), r.URI, r.CallID(), r.fromTag, r.toTag, strconv.FormatUint(uint64(r.cseq.Number), 10), r.Get("Proxy-Require"))
}

func (b branches) hash(parts ...string) string {
	var h maphash.Hash
	h.SetSeed(b.seed)
	for _, part := range parts {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

func (b branches) fresh(r *request) string {
	return message.MagicCookie + "." + randomID(10) + "." + b.loopHash(r)
}

// stateless returns the same branch for every repeat of a request, for the ACK
// to a 2xx, which has no transaction (RFC 3261 section 16.11).
func (b branches) stateless(r *request) string {
	return message.MagicCookie + "." + b.hash(r.via.Branch(), r.via.Host, r.fromTag, r.CallID()) + "." + b.loopHash(r)
}

// looped reports whether r has been through this box already.
func (b branches) looped(r *request) bool {
	var want string
	for n := range r.Headers {
		if r.Headers[n].Name != "Via" {
			continue
		}
		_, rest, found := strings.Cut(r.Headers[n].Value, ";branch="+message.MagicCookie+".")
		if !found {
			continue
		}
		if end := strings.IndexByte(rest, ';'); end >= 0 {
			rest = rest[:end]
		}
		if want == "" {
			want = "." + b.loopHash(r)
		}
		if strings.HasSuffix(rest, want) {
			return true
		}
	}
	return false
}

// randomID returns n random bytes in lower-case base32.
func randomID(n int) string {
	buf := make([]byte, n)
	_, _ = rand.Read(buf) // never fails (crypto/rand)
	return lowerBase32.EncodeToString(buf)
}

// stableID spells the first n bytes of a SHA-256 over parts.
func stableID(n int, parts ...string) string {
	var buf [2 * usualKey]byte // on the stack
	text := buf[:0]
	for k, part := range parts {
		if k > 0 {
			text = append(text, 0)
		}
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	return lowerBase32.EncodeToString(sum[:n])
}
