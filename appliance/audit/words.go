package audit

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/trustelem/zxcvbn/frequency"
)

// Words is what a dictionary is made from besides the words that everybody knows.
type Words struct {
	Site   string   // its name, as people say it
	Others []string // names of trunks, accounts, the town
}

// commonest is how many of the commonest passwords are tried.
const commonest = 10_000

// vendors is what telephone systems, phones and gateways are shipped with, and what
// their guides use as examples: from the vendors' own manuals and the defaults that
// scanners try first.
var vendors = []string{
	"admin", "admin1", "admin123", "administrator", "root", "password", "Password", "pass", "secret", "default", "user", "guest", "changeme", "ChangeMe",
	"asterisk", "freepbx", "elastix", "trixbox", "pbx", "voip", "sip", "phone", "amp109", "amp111", "maint", "passw0rd", "P@ssw0rd", "Passw0rd!",
	"polycom", "456", "cisco", "Cisco", "spa504g", "linksys", "grandstream", "yealink", "snom", "aastra", "22222", "mitel", "avaya", "panasonic", "gigaset",
	"fanvil", "audiocodes", "patton", "mediatrix", "sipura", "nortel", "siemens", "tenovis", "3cx", "3CX", "sangoma", "digium", "xorcom", "zycoo", "vodia", "kamailio",
	"lumenvox", "jim", "hello", "test", "test123", "demo", "operator", "service", "support", "tech", "technician", "installer", "voicemail", "0000#", "*#",
}

// all walks the dictionary for one account, the likeliest words first, each once.
func (w Words) all(user string) iter.Seq2[Class, string] {
	return func(yield func(Class, string) bool) {
		seen := make(map[string]bool, commonest)
		for _, part := range []struct {
			class Class
			words iter.Seq[string]
		}{
			{Empty, slices.Values([]string{""})}, {SameName, names(user)}, {Digits, digits()}, {Vendor, slices.Values(vendors)},
			{Site, w.site(user)}, {Common, slices.Values(frequency.FrequencyLists["passwords"][:commonest])},
		} {
			for word := range part.words {
				if seen[word] {
					continue
				}
				seen[word] = true
				if !yield(part.class, word) {
					return
				}
			}
		}
	}
}

// names are a user name and what people make of it.
func names(user string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, word := range spellings(user) {
			for _, suffix := range []string{"", "1", "12", "123", "1234", "!", "0", "00", "pass", "password", "sip", "voip"} {
				if !yield(word+suffix) || !yield(suffix+word) {
					return
				}
			}
		}
		_ = yield(user+user) && yield(user+reversed(user)) && yield(user+user+user)
	}
}

// spellings are the ways in which people write a word.
func spellings(word string) []string {
	out := []string{word, strings.ToLower(word), strings.ToUpper(word), reversed(word)}
	if word != "" {
		out = append(out, strings.ToUpper(word[:1])+strings.ToLower(word[1:]))
	}
	return out
}

func reversed(s string) string {
	runes := []rune(s)
	slices.Reverse(runes)
	return string(runes)
}

// digits are the rows that hands find by themselves: every one of four digits, the
// same digit again and again, up and down the keyboard, and years are among them.
func digits() iter.Seq[string] {
	return func(yield func(string) bool) {
		for n := range 10_000 {
			if !yield(fmt.Sprintf("%04d", n)) {
				return
			}
		}
		for n := range 1000 {
			if !yield(fmt.Sprintf("%03d", n)) {
				return
			}
		}
		const up, down = "01234567890123456789", "98765432109876543210"
		for length := 5; length <= 10; length++ {
			for first := range 10 {
				if !yield(strings.Repeat(up[first:first+1], length)) || !yield(up[first:first+length]) || !yield(down[first:first+length]) {
					return
				}
			}
		}
	}
}

// site is the words of the site, alone and with the extension.
func (w Words) site(user string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range append([]string{w.Site}, w.Others...) {
			for _, word := range append(strings.Fields(name), strings.Join(strings.Fields(name), "")) {
				for _, spelt := range spellings(word) {
					for _, made := range []string{spelt, spelt + user, user + spelt, spelt + "1", spelt + "123", spelt + "!", spelt + "-" + user, spelt + "_" + user, spelt + "2024", spelt + "2025", spelt + "2026"} {
						if !yield(made) {
							return
						}
					}
				}
			}
		}
	}
}
