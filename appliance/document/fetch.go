package document

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/feed"
)

// What a document says of a feed that the box fetches by itself.

// Bounds of a feed's every, and what it is where there is a url alone. No list
// in use changes more than hourly, and one of last week blocks last week's
// botnet.
const (
	minEvery     = 1
	maxEvery     = 168
	defaultEvery = 24 * time.Hour
)

// maxURL is the longest address of a feed, in characters.
const maxURL = 500

// fetched checks where a feed comes from and how often. Both are zero for a
// feed that is imported by hand.
func (m *Mistakes) fetched(at string, raw RawFeed) (string, time.Duration) {
	if raw.URL == "" {
		if raw.Every != "" {
			m.Add(at+".every", "without a url nothing is fetched: leave it out, or name both")
		}
		return "", 0
	}
	if feed.Format(raw.Format) == feed.FormatAPIBAN {
		m.Add(at+".url", "the list of apiban comes in pages, which the box does not fetch by itself: leave the url out and import the list")
	} else if problem := wrongURL(raw.URL); problem != "" {
		m.Add(at+".url", "%s: write it like https://lists.example.net/drop.txt", problem)
	}
	return raw.URL, m.every(at+".every", raw.Every)
}

// wrongURL says what keeps an address from being one to fetch a feed from. It
// has one host, which is not the box's to guess, and nothing secret that an
// error or a log would show.
func wrongURL(s string) string {
	if len(s) > maxURL {
		return "longer than " + strconv.Itoa(maxURL) + " characters"
	}
	at, err := url.Parse(s)
	switch {
	case strings.Trim(s, printable) != "", err != nil:
		return "not a URL"
	case !strings.HasPrefix(s, "https://"):
		return "a list that cuts networks off comes over https alone"
	case at.User != nil:
		return "names a user or a password"
	case strings.Contains(s, "#"):
		return "has a fragment, which no server sees"
	case !strings.HasPrefix(at.Path, "/"):
		return "has no path"
	case !hostOf(at):
		return "the host is neither a domain name in lower case nor an IP address, with a port or without"
	}
	return ""
}

// printable is what stands in a URL: RFC 3986, section 2.
const printable = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#[]@!$&'()*+,;=%"

func hostOf(at *url.URL) bool {
	host := at.Host
	if port := at.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
		host = strings.TrimSuffix(host, ":"+port)
	}
	if bare, inBrackets := strings.CutPrefix(host, "["); inBrackets {
		addr, err := netip.ParseAddr(strings.TrimSuffix(bare, "]"))
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Is4() || qualified(host)
}

// every reads whole hours, in one spelling.
func (m *Mistakes) every(field, s string) time.Duration {
	if s == "" {
		return defaultEvery
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, "h"))
	if err != nil || n < minEvery || n > maxEvery || s != hours(time.Duration(n)*time.Hour) {
		m.Add(field, "want whole hours from %dh to %dh, like 24h", minEvery, maxEvery)
		return 0
	}
	return time.Duration(n) * time.Hour
}

// hours is the way back; empty for a feed that is not fetched.
func hours(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return strconv.Itoa(int(d/time.Hour)) + "h"
}
