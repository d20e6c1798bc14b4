package audit

import "time"

// Limiter says when an account may be tested: once in an hour, and as often as its
// secret may have changed. It is bounded; where it is full it forgets those whose
// hour is over, and tests no new account while there are none.
type Limiter struct {
	last map[string]time.Duration // account and realm: on a clock that never goes back
}

const (
	again       = time.Hour
	maxAccounts = 8192
)

// NewLimiter returns one that has seen nobody.
func NewLimiter() *Limiter { return &Limiter{last: make(map[string]time.Duration)} }

// May reports whether an account of a realm may be tested now, and notes that it is.
func (l *Limiter) May(user, realm string, up time.Duration) bool {
	key := user + "\x00" + realm
	if last, known := l.last[key]; known && up-last < again {
		return false
	}
	if len(l.last) >= maxAccounts {
		for old, last := range l.last {
			if up-last >= again {
				delete(l.last, old)
			}
		}
	}
	if len(l.last) >= maxAccounts {
		return false
	}
	l.last[key] = up
	return true
}

// Again lets an account be tested at once: its secret is said to have changed.
func (l *Limiter) Again(user, realm string) { delete(l.last, user+"\x00"+realm) }
