package dialplan

import "strings"

// country holds the numbering facts of one home country, as the regulator
// publishes them. They are coarse where coarse is enough: they decide whether a
// string has a national meaning, never whether a number is in service.
type country struct {
	code          string   // ISO 3166-1 alpha-2
	cc            string   // E.164 country code
	international []string // international prefixes; the longest that fits counts
	trunk         []string // national prefixes
	national      []shape  // national significant numbers dialled after a trunk prefix
	open          []shape  // those dialled as they are
	local         []shape  // subscriber numbers dialled within an area
	strips        []strip  // codes before a number that don't change where it goes
	short         []short  // whole dialled strings with a meaning of their own
	emergency     []string // exact strings
	premium       shape    // national significant numbers whose price the callee sets, for Class only
	abroad        func(nsn string) bool
	neighbours    string // entries of the built-in list that are everyday calls from here, separated by spaces
}

// shape is a set of digit strings: those that begin with one of heads, but not
// with one of except, and have min to max digits. In a head, N stands for 2 to
// 9, Z for 1 to 9 and X for any digit, as in NANPA's tables.
type shape struct {
	heads    string // separated by spaces
	min, max int
	except   string
}

func (s *shape) holds(digits string) bool {
	return len(digits) >= s.min && len(digits) <= s.max && allDigits(digits) &&
		beginsWithAny(digits, s.heads) && !beginsWithAny(digits, s.except)
}

func holdsAny(shapes []shape, digits string) bool {
	for i := range shapes {
		if shapes[i].holds(digits) {
			return true
		}
	}
	return false
}

// beginsWithAny walks the list in place: it runs on the path of every call.
func beginsWithAny(digits, heads string) bool {
	for heads != "" {
		head := heads
		if i := strings.IndexByte(heads, ' '); i >= 0 {
			head, heads = heads[:i], heads[i+1:]
		} else {
			heads = ""
		}
		if beginsWith(digits, head) {
			return true
		}
	}
	return false
}

func beginsWith(digits, head string) bool {
	if len(digits) < len(head) {
		return false
	}
	for i := range len(head) {
		switch want, c := head[i], digits[i]; want {
		case 'X':
			if !isDigit(c) {
				return false
			}
		case 'N':
			if c < '2' || c > '9' {
				return false
			}
		case 'Z':
			if c < '1' || c > '9' {
				return false
			}
		default:
			if c != want {
				return false
			}
		}
	}
	return true
}

// strip is a code that is dialled before a number: caller-identity on or off, a
// carrier's own code, an operator's help. What follows is a dialled string in
// its own right.
type strip struct {
	head    string // as in shape
	length  int    // how many characters of head go; what is left of it is only looked at
	via     string
	private bool // a caller-identity code: an emergency number behind it is still one
}

// short is a set of short codes and what they are.
type short struct {
	shape
	class Class
	label string
}

// identityCodes are the star and hash codes for caller identity that mean the
// same everywhere: NANPA's vertical service codes and 3GPP TS 22.030's codes.
var identityCodes = []strip{
	{"*67", 3, "caller identity off *67", true},
	{"*82", 3, "caller identity on *82", true},
	{"*70", 3, "call waiting off *70", true},
	{"#31#", 4, "caller identity off #31#", true},
	{"*31#", 4, "caller identity on *31#", true},
}

// anyInternational are international prefixes that a provider or PBX may
// understand whatever the home country: the prefix that ITU-T E.164 recommends,
// North America's and Australia's.
var anyInternational = []string{"00", "011", "0011"}

// Countries returns the supported home countries as ISO 3166-1 alpha-2 codes,
// in the order in which a form shows them.
func Countries() []string {
	out := make([]string, len(countries))
	for i := range countries {
		out[i] = countries[i].code
	}
	return out
}

func countryOf(code string) *country {
	for i := range countries {
		if countries[i].code == code {
			return &countries[i]
		}
	}
	return nil
}

// EmergencyAnywhere reports whether s is, exactly, an emergency number of any
// supported home country, or an emergency service URN as Parse returns it. It
// is what a box without rules still lets pass.
func EmergencyAnywhere(t Target) bool {
	if t.Service {
		return true
	}
	for i := range countries {
		if countries[i].isEmergency(t.Dialled) || countries[i].isEmergency(t.Local) {
			return true
		}
	}
	return false
}

func (c *country) isEmergency(s string) bool {
	for _, number := range c.emergency {
		if s == number {
			return true
		}
	}
	return false
}
