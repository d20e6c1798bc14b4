package dialplan

import "strings"

// unescape decodes percent escapes once (RFC 3261, section 19.1.2). What is
// left must be printable ASCII without a percent sign: a second layer of
// escapes, a NUL or a control character is somebody's trick.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, printable(s)
	}
	var buf [64]byte // on the stack
	out := buf[:0]
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", unreadable("a percent escape is broken")
			}
			c = fromHex(s[i+1])<<4 | fromHex(s[i+2])
			i += 2
			if c == '%' {
				return "", unreadable("a percent sign is escaped twice")
			}
			if c == ' ' {
				return "", unreadable("an escaped space")
			}
		}
		out = append(out, c)
	}
	decoded := string(out)
	return decoded, printable(decoded)
}

func printable(s string) error {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80:
			return unreadable("a character outside ASCII")
		case c < ' ' || c == 0x7f:
			return unreadable("a control character")
		}
	}
	return nil
}

func isHex(c byte) bool {
	return isDigit(c) || (c|0x20 >= 'a' && c|0x20 <= 'f')
}

func fromHex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// name reports whether a user part is a name: a letter first, and nothing that
// SIP systems don't put into names.
func name(s string) bool {
	if s == "" || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && strings.IndexByte("-._~+!", c) < 0 {
			return false
		}
	}
	return true
}

// canonical reduces a dialled string to digits, *, # and +. Visual separators
// go (RFC 3966, section 5.1.1), post-dial digits go, and letters become the
// digits of their key (ITU-T E.161). What was typed may hold spaces too, and the
// slash that Germans write behind an area code.
func canonical(s string, typed bool) (string, error) {
	s = beforePause(s)
	if bare(s) {
		return s, checkLength(s)
	}
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c) || c == '*' || c == '#' || c == '+':
			out = append(out, c)
		case isLetter(c):
			out = append(out, keypad[c|0x20-'a'])
		case c == '-' || c == '.' || c == '(' || c == ')' || (typed && (c == ' ' || c == '/')):
		default:
			return "", unreadable("a character that is never dialled: " + string(c))
		}
	}
	reduced := string(out)
	return reduced, checkLength(reduced)
}

func checkLength(s string) error {
	if s == "" {
		return unreadable("no digits")
	}
	if len(s) > maxDialled {
		return unreadable("longer than 64 digits")
	}
	return nil
}

// symbolic reports whether s holds a star, a hash or a plus.
func symbolic(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '*' || c == '#' || c == '+' {
			return true
		}
	}
	return false
}

// bare reports whether s is canonical already, as nearly every call is.
func bare(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && c != '*' && c != '#' && c != '+' {
			return false
		}
	}
	return true
}

// keypad is the assignment of letters to keys (ITU-T E.161, figure 2, option
// A).
const keypad = "22233344455566677778889999"

// beforePause cuts post-dial digits off: what follows a comma, or a p or w that
// stands for a pause because the string has no other letters.
func beforePause(s string) string {
	pause := -1
	for i := range len(s) {
		switch c := s[i]; {
		case c == ',' || c|0x20 == 'p' || c|0x20 == 'w':
			if pause < 0 {
				pause = i
			}
		case isLetter(c):
			if comma := strings.IndexByte(s, ','); comma >= 0 {
				return s[:comma]
			}
			return s
		}
	}
	if pause < 0 {
		return s
	}
	return s[:pause]
}
