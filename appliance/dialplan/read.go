package dialplan

import "strings"

// Reading is everything that a target can mean at a site.
type Reading struct {
	Dialled    string // the canonical form, the only one to send on
	Candidates []Candidate
}

// Far says how the far end reads what is sent to it.
type Far struct {
	National   bool // 0252615550 is a national number
	E164       bool // 61252615550 is an international number without its plus
	Extensions bool // a string as long as the site's extensions is one of them
}

// The bounds of one reading. Every step looks at a shorter piece of at most
// maxDialled characters, and no piece is looked at twice; a string that needs
// more than this is no telephone number.
const (
	maxPieces     = 48
	maxCandidates = 24
	maxSteps      = 48
)

// Read returns every meaning of a target that is not a name. It is total: a
// string without any meaning gives no candidates, and one with only meanings
// that no network could connect gives candidates of ClassUnknown. The error is
// an *Error, where there are more meanings than any honest string has.
//
// One rule keeps honest calls alive: where a piece of the string is, whole, a
// national number of the home country's plan, that piece is not also read as
// something that only a lenient network would see in it (an international
// prefix of another country, an outside-line digit, a country code without its
// plus). Readings that every network of the home country would make, by a plus
// or by the country's own international prefix, are never dropped.
func (p *Plan) Read(t Target, far Far) (Reading, error) {
	out := Reading{Dialled: t.Dialled}
	if t.Service {
		out.Candidates = []Candidate{{Number: t.Dialled, Class: ClassEmergency, Label: "Emergency service"}}
		return out, nil
	}
	if t.Name {
		return out, nil
	}
	r := reader{plan: p, far: far, last: none}
	r.out = make([]Candidate, 0, 2) // few strings mean more
	r.walk(t.Dialled, none, mayBeEmergency)
	if t.Local != "" {
		r.restart("local number")
		r.walk(t.Local, r.last, mayBeEmergency)
		if r.emergency() {
			out.Dialled = t.Local // what passes without a rule goes without its context too
		}
	}
	for _, routing := range t.Routing {
		r.restart("routing number")
		r.walk(routing, r.last, plain)
	}
	out.Candidates = r.out
	if r.overflow {
		return out, unreadable("the string has more meanings than a telephone number can have")
	}
	return out, nil
}

// mode narrows what a piece may be read as.
type mode uint8

const (
	plain          mode = iota
	mayBeEmergency      // nothing but outside-line digits and identity codes came before
	domestic            // a carrier's code or the home country's came before: no bare country code follows
	explicitOnly        // only an explicit international number would do here
)

// reader walks over the pieces of one dialled string.
type reader struct {
	plan     *Plan
	far      Far
	out      []Candidate
	steps    [maxSteps]step
	count    int
	last     int
	pieces   [maxPieces]piece
	seen     int
	doubtful bool // what is read now is doubtful
	overflow bool
}

// step is one thing stripped on the way to a piece.
type step struct {
	via    string
	before int
}

// restart begins with another string of the same target. That string is not
// what will be sent on, so its meanings are no ground to let the call pass.
func (r *reader) restart(via string) {
	r.doubtful = true
	r.seen = 0
	r.last = r.strip(via, none)
}

func (r *reader) strip(via string, before int) int {
	if r.count == maxSteps {
		r.overflow = true
		return before
	}
	r.steps[r.count] = step{via, before}
	r.count++
	return r.count - 1
}

func (r *reader) path(at int) []string {
	n := 0
	for i := at; i != none; i = r.steps[i].before {
		n++
	}
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := at; i != none; i = r.steps[i].before {
		n--
		out[n] = r.steps[i].via
	}
	return out
}

// add notes a candidate. The same number by another way is one meaning.
func (r *reader) add(number string, class Class, label string, via int) {
	if !r.noted("", number, class) {
		r.enter(number, class, label, via)
	}
}

// enter is add for a number that is not noted yet.
func (r *reader) enter(number string, class Class, label string, via int) {
	if len(r.out) == maxCandidates {
		r.overflow = true
		return
	}
	r.out = append(r.out, Candidate{Number: number, Class: class, Via: r.path(via), Label: label, Doubtful: r.doubtful})
}

// noted reports whether a number is a candidate already, and if so takes its doubt
// away where there is none now. The number comes in two parts, which nobody needs to
// put together for one that is known.
func (r *reader) noted(head, tail string, class Class) bool {
	for i := range r.out {
		one := &r.out[i]
		if one.Class == class && len(one.Number) == len(head)+len(tail) && one.Number[:len(head)] == head && one.Number[len(head):] == tail {
			one.Doubtful = one.Doubtful && r.doubtful
			return true
		}
	}
	return false
}

// emergency reports whether an emergency number came to light. A number that
// begins with a plus never shows one.
func (r *reader) emergency() bool {
	for i := range r.out {
		if r.out[i].Class == ClassEmergency {
			return true
		}
	}
	return false
}

// addHome notes a number of the home country.
func (r *reader) addHome(nsn string, via int) {
	r.addParts(r.plan.plus, nsn, r.plan.classifyNational(nsn), via)
}

// addDirect notes an E.164 number that was dialled with its country code. The
// home country's premium ranges count by their heads alone there: who dials one
// too long or too short is still connected.
func (r *reader) addDirect(digits string, via int) {
	class := r.plan.classify(digits)
	if nsn, ok := strings.CutPrefix(digits, r.plan.home.cc); ok && class == ClassUnknown && r.plan.premium(nsn) {
		class = ClassPremium
	}
	r.addClassed(digits, class, via)
}

func (r *reader) addClassed(digits string, class Class, via int) {
	r.addParts("+", digits, class, via)
}

// addParts notes an E.164 number in two parts, the first of which begins with the plus.
func (r *reader) addParts(head, tail string, class Class, via int) {
	if r.noted(head, tail, class) {
		return
	}
	number := head + tail
	label := ""
	if class != ClassUnknown || number[1] != '1' {
		label = r.plan.Label(number) // of an impossible +1 number it would name the United States
	}
	r.enter(number, class, label, via)
}

// piece is a part of the dialled string and how it was looked at.
type piece struct {
	text string
	mode mode
}

// first reports whether a piece is new, and remembers it. Pieces are told apart
// by their text: equal text has equal meanings.
func (r *reader) first(text string, m mode) bool {
	for i := range r.seen {
		if r.pieces[i].text == text && r.pieces[i].mode == m {
			return false
		}
	}
	if r.seen == maxPieces {
		r.overflow = true
		return false
	}
	r.pieces[r.seen] = piece{text, m}
	r.seen++
	return true
}

// meaning says what a piece turned out to be, whole.
type meaning uint8

const (
	nothing  meaning = iota
	foreign          // a number behind the home country's own international prefix
	national         // a national number, or one behind a code of the home country
)

// walk reads one piece in every way, and reports its meaning.
func (r *reader) walk(s string, via int, m mode) meaning {
	if s == "" || !r.first(s, m) {
		return nothing
	}
	if s[0] == '+' {
		r.plus(s[1:], via)
		return nothing
	}
	is := r.stripCodes(s, via, m)
	if symbolic(s) {
		if is != national {
			r.feature(s, via)
		}
		return is
	}
	r.whole(s, via, m)
	if r.nationalNumber(s, via) {
		is = national
	}
	if r.homeInternational(s, via) && is == nothing {
		is = foreign
	}
	if is != national {
		r.anyInternational(s, via)
		r.stripAccess(s, via, m)
	}
	if r.far.E164 && m != domestic && s[0] != '0' && (is != national || !r.far.National) {
		r.bareCountryCode(s, r.strip("country code without plus", via))
	}
	return is
}

// bareCountryCode reads s as an E.164 number that lacks its plus. Such a number
// has to fit, because nothing else says that it is one.
func (r *reader) bareCountryCode(s string, via int) {
	if len(s) > MaxDigits || (s[0] == '1' && !holdsAny(northAmerican, s[1:])) {
		r.addClassed(s, ClassUnknown, via)
		return
	}
	r.addDirect(s, via)
}

// plus reads what follows a plus. No country code begins with 0, so a second
// international prefix after the plus is read as what a careless switch makes
// of it.
func (r *reader) plus(s string, via int) {
	if s != "" && s[0] >= '1' && s[0] <= '9' {
		r.international(s, via)
		return
	}
	r.explicit(s, r.strip("stray plus", via))
}

// international reads digits that stand where a country code stands.
func (r *reader) international(s string, via int) {
	if s == "" {
		return
	}
	if s[0] == '0' || !allDigits(s) {
		r.broken(s, via)
		return
	}
	r.addDirect(s, via)
	home := r.plan.home.cc
	if nsn, ok := strings.CutPrefix(s, home); ok && nsn != "" && !r.plan.national(nsn) {
		// "+61 (0)2 5261 5550", or a whole dialled string after the home
		// country's code.
		r.walk(nsn, r.strip("country code +"+home, via), domestic)
	}
}

// broken reads an international number that has no country code at its head, or
// a symbol in its midst. Nobody dials a symbol there, and switches drop it: the
// number goes on behind it, and no other one begins.
func (r *reader) broken(s string, via int) {
	if isDigit(s[0]) && s[0] != '0' {
		r.addDirect(squeeze(s), r.strip("without symbols", via))
		return
	}
	r.explicit(s, via)
}

// explicit reads s only if it begins with a plus or an international prefix.
func (r *reader) explicit(s string, via int) {
	if strings.HasPrefix(s, "+") {
		r.walk(s, via, plain)
		return
	}
	if s == "" || s[0] != '0' || !r.first(s, explicitOnly) {
		return
	}
	r.homeInternational(s, via)
	r.anyInternational(s, via)
}

// homeInternational strips the home country's own prefix, of several that fit
// the longest, and reports whether a country code follows.
func (r *reader) homeInternational(s string, via int) bool {
	for i := range r.plan.home00 {
		if one := &r.plan.home00[i]; beginsWith(s, one.head) {
			rest := s[one.length:]
			r.international(rest, r.strip(one.via, via))
			return countryCode(rest) != ""
		}
	}
	return false
}

// anyInternational strips prefixes of elsewhere. Where 00 is read out of
// Australia's 0011, what follows begins with 11, which no number can.
func (r *reader) anyInternational(s string, via int) {
	for i := range r.plan.any00 {
		one := &r.plan.any00[i]
		if beginsWith(s, one.head) && !strings.HasPrefix(s[one.length:], "11") {
			r.international(s[one.length:], r.strip(one.via, via))
		}
	}
}

// stripCodes strips what may stand before a number without changing it, and
// reports what came to light. The first code that shows a number is what the
// caller meant: codes stand in the order of how special they are.
func (r *reader) stripCodes(s string, via int, m mode) meaning {
	if !r.plan.opens[s[0]] {
		return nothing
	}
	for i := range r.plan.codes {
		one := &r.plan.codes[i]
		if !beginsWith(s, one.head) || len(s) == one.length {
			continue
		}
		next := m
		if !one.private {
			next = domestic
		}
		if is := r.walk(s[one.length:], r.strip(one.via, via), next); is != nothing {
			return is
		}
	}
	return nothing
}

func (r *reader) stripAccess(s string, via int, m mode) {
	for i := range r.plan.access {
		if one := &r.plan.access[i]; strings.HasPrefix(s, one.head) {
			r.walk(s[one.length:], r.strip(one.via, via), m)
		}
	}
}

// whole reads s as something complete in itself: an emergency number, a short
// code, an extension.
func (r *reader) whole(s string, via int, m mode) {
	if m == mayBeEmergency && r.plan.home.isEmergency(s) {
		r.add(s, ClassEmergency, "Emergency service", via)
		return
	}
	extension := r.far.Extensions && r.plan.extensions > 0 && len(s) == r.plan.extensions
	if extension {
		r.add(s, ClassInternal, "Extension", via)
	}
	for i := range r.plan.home.short {
		one := &r.plan.home.short[i]
		if !one.holds(s) {
			continue
		}
		// Four digits or fewer are the extension where there are extensions of
		// that length. Longer ones are not: directory services connect onwards
		// to anywhere, at their price.
		if extension && one.class == ClassPremium && len(s) <= 4 {
			continue
		}
		r.add(s, one.class, one.label, via)
	}
}

// nationalNumber reads s as a number of the home country, and reports whether
// it is one, whole. What only looks a little like one (the wrong length, the
// trunk prefix left out) is noted with ClassUnknown: it explains a refusal and
// never passes.
func (r *reader) nationalNumber(s string, via int) bool {
	p := r.plan
	valid := false
	if holdsAny(p.home.open, s) {
		r.addHome(s, via)
		valid = true
	}
	for _, trunk := range p.home.trunk {
		nsn, ok := strings.CutPrefix(s, trunk)
		if !ok || nsn == "" {
			continue
		}
		if nsn[0] == '0' {
			// A dialler may put a 1 before everything, 011 among it. A zero
			// before zeros is read anyway.
			if trunk != "0" && beginsWithAny(nsn, "00 011") {
				r.explicit(nsn, r.strip("national prefix", via))
			}
			continue
		}
		if holdsAny(p.home.national, nsn) {
			valid = true
			r.addHome(nsn, via)
		} else if len(r.out) == 0 {
			r.addParts(p.plus, nsn, ClassUnknown, via)
		}
	}
	if !valid && holdsAny(p.home.local, s) {
		r.localNumber(s, via)
	}
	if !valid && len(r.out) == 0 && s[0] != '0' {
		r.addParts(p.plus, s, ClassUnknown, via)
	}
	return valid
}

// localNumber reads a subscriber number. Without an area code it stays as it
// is: nobody can say more of it than that it is near.
func (r *reader) localNumber(s string, via int) {
	p := r.plan
	if p.area == "" {
		r.add(s, ClassNational, "Local number", via)
	} else if full := p.area + s; p.national(full) {
		r.addHome(full, r.strip("local number", via))
	}
}
