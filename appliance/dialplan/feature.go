package dialplan

import "strings"

// feature reads a string with star, hash or an inner plus: a feature code of a
// PBX or exchange, which may hold the number that calls shall go to from then
// on (*72number, *21*number#, **61*number*11*20#). Every number inside is a
// callee.
//
// Sources: NANPA, vertical service codes (two digits, or three that begin with
// 2 or 3); 3GPP TS 22.030, section 6.5 (supplementary services).
func (r *reader) feature(s string, via int) {
	if pureCode(s) {
		r.add(s, ClassInternal, "Feature code", via)
	}
	opening := s[0] == '*' || s[0] == '#'
	for group, rest := "", s; rest != ""; opening = false {
		group, rest = nextGroup(rest)
		r.featureGroup(group, opening, r.strip("feature code", via))
	}
	// Last, so that no number is doubtful that was read in earnest.
	if squeezed := squeeze(s); len(squeezed) > longestCode {
		// A switch that does not know the code may drop its symbols, and any
		// switch a plus in the midst. The digits of a code in front are no
		// country code.
		next := plain
		if !isDigit(s[0]) {
			next = domestic
		}
		before := r.doubtful
		r.doubtful = true
		r.walk(squeezed, r.strip("without symbols", via), next)
		r.doubtful = before
	}
}

// nextGroup returns what stands behind the stars and hashes at the head of s, up to the
// next one, and what is left.
func nextGroup(s string) (group, rest string) {
	from := 0
	for from < len(s) && (s[from] == '*' || s[from] == '#') {
		from++
	}
	to := from
	for to < len(s) && s[to] != '*' && s[to] != '#' {
		to++
	}
	return s[from:to], s[to:]
}

// squeeze returns the digits of s.
func squeeze(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		if c := s[i]; c != '*' && c != '#' && c != '+' {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// The longest parts of a feature code that hold no number.
const (
	longestCode   = 4 // digits of a code, or of an extension behind one
	longestOption = 2 // digits of a service parameter, such as seconds to ring
)

// pureCode reports whether s is a feature code that holds no number: a code,
// and at most one short string behind it.
func pureCode(s string) bool {
	if s[0] != '*' && s[0] != '#' {
		return false
	}
	run, all := 0, 0
	for i := range len(s) {
		switch {
		case s[i] == '+':
			return false
		case isDigit(s[i]):
			run, all = run+1, all+1
		default:
			run = 0
		}
		if run > longestCode || all > 2*longestCode {
			return false
		}
	}
	return true
}

// featureGroup reads one run of digits between the symbols.
func (r *reader) featureGroup(s string, opening bool, via int) {
	if plus := strings.IndexByte(s, '+'); plus >= 0 {
		r.walk(s[plus:], via, plain)
		s = s[:plus]
	}
	if len(s) <= longestOption {
		return
	}
	if !opening {
		r.walk(s, via, plain)
		return
	}
	if len(s) <= longestCode {
		return
	}
	is := r.walk(s[2:], via, plain)
	if s[0] == '2' || s[0] == '3' {
		is = max(is, r.walk(s[3:], via, plain))
	}
	if is == national {
		return
	}
	// Codes of a PBX's own making have any length.
	for code := 0; code <= longestCode; code++ {
		r.explicit(s[code:], via)
	}
}
