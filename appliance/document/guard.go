package document

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Guard says how much guessing a source may do before it is shut out.
type Guard struct {
	// Accounts is how many accounts may fail, or names turn out to be nobody's,
	// at one source within Window.
	Accounts int
	// Guesses is how many passwords may be tried for one account from one source
	// within Window.
	Guesses int
	Window  time.Duration
	// Bans are how long the first ban of a source lasts, the second, and so on;
	// the last one is of every further ban.
	Bans []time.Duration
}

// BuiltinGuard is what holds where a document says nothing else. A phone with a
// wrong password tries it every 20 s to 5 min, a scanner tries 10 to 1,000 names
// a second: what lies between is not delicate.
func BuiltinGuard() Guard {
	return Guard{Accounts: 20, Guesses: 60, Window: time.Minute, Bans: []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}}
}

// The bounds of a Guard, in any document.
const (
	MaxGuardAccounts = 500
	MaxGuardGuesses  = 500
	minGuardWindow   = 10 * time.Second
	MaxGuardWindow   = time.Hour
	minBan           = time.Minute
	MaxGuardBan      = 30 * 24 * time.Hour
	maxBanSteps      = 8
)

// RawGuard is a Guard in JSON. What is 0, or absent, is left to the policy or to
// BuiltinGuard.
type RawGuard struct {
	Accounts int   `json:"accounts"`
	Guesses  int   `json:"guesses"`
	Window   int   `json:"window_seconds"`
	Bans     []int `json:"ban_minutes"`
}

// Guard checks the thresholds of the guard. What is zero was not named.
func (m *Mistakes) Guard(field string, raw RawGuard) Guard {
	out := Guard{Accounts: raw.Accounts, Guesses: raw.Guesses, Window: time.Duration(raw.Window) * time.Second}
	if raw.Accounts < 0 || raw.Accounts == 1 || raw.Accounts > MaxGuardAccounts {
		m.Add(field+".accounts", "want from 2 to %d accounts, or 0 for the usual number", MaxGuardAccounts)
	}
	if raw.Guesses < 0 || raw.Guesses > 0 && raw.Guesses < 5 || raw.Guesses > MaxGuardGuesses {
		m.Add(field+".guesses", "want from 5 to %d guesses, or 0 for the usual number", MaxGuardGuesses)
	}
	if raw.Window != 0 && (raw.Window < int(minGuardWindow/time.Second) || raw.Window > int(MaxGuardWindow/time.Second)) {
		m.Add(field+".window_seconds", "want from %d to %d seconds, or 0 for the usual time", minGuardWindow/time.Second, MaxGuardWindow/time.Second)
	}
	longest := int(MaxGuardBan / time.Minute)
	for i, minutes := range raw.Bans[:m.Count(field+".ban_minutes", len(raw.Bans), maxBanSteps)] {
		at := fmt.Sprintf("%s.ban_minutes[%d]", field, i)
		switch {
		case minutes < int(minBan/time.Minute) || minutes > longest:
			m.Add(at, "want from 1 to %d minutes", longest)
		case i > 0 && minutes < raw.Bans[i-1]:
			m.Add(at, "shorter than the ban before it")
		}
		out.Bans = append(out.Bans, time.Duration(minutes)*time.Minute)
	}
	return out
}

// RawGuardOf is the way back.
func RawGuardOf(g Guard) RawGuard {
	raw := RawGuard{Accounts: g.Accounts, Guesses: g.Guesses, Window: int(g.Window / time.Second), Bans: []int{}}
	for _, one := range g.Bans {
		raw.Bans = append(raw.Bans, int(one/time.Minute))
	}
	return raw
}

// Account is a name that somebody may register under, and from where.
type Account struct {
	User   string // "101", or "101@sip.example.net" where several registrars have a 101
	Label  string // for people: whose telephone it is
	LAN    bool   // it may register from the LAN
	Remote []netip.Prefix
}

// RawAccount is an Account in JSON. Sources are networks and the word "lan";
// without any the LAN is meant.
type RawAccount struct {
	User    string   `json:"user"`
	Label   string   `json:"label"`
	Sources []string `json:"sources"`
}

const (
	maxAccounts       = 2000
	maxAccountSources = 16
	maxAccountUser    = 128
	wordLAN           = "lan"
)

// Accounts checks a list of accounts.
func (m *Mistakes) Accounts(field string, raw []RawAccount) []Account {
	var out []Account
	taken := make(map[string]bool)
	for i, one := range raw[:m.Count(field, len(raw), maxAccounts)] {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case one.User == "":
			m.Add(at+".user", "missing")
		case !accountUser(one.User):
			m.Add(at+".user", "%s is not an account; write it like 101, or 101@sip.example.net", shorten(one.User))
		case taken[one.User]:
			m.Add(at+".user", "%s is given twice", shorten(one.User))
		}
		taken[one.User] = true
		account := Account{User: one.User, Label: m.Text(at+".label", one.Label, MaxName)}
		m.accountSources(at+".sources", one.Sources, &account)
		out = append(out, account)
	}
	return out
}

func (m *Mistakes) accountSources(field string, raw []string, into *Account) {
	into.LAN = len(raw) == 0
	raw = raw[:m.Count(field, len(raw), maxAccountSources)]
	var networks []string
	for i, one := range raw {
		switch {
		case one == wordLAN && into.LAN:
			m.Add(fmt.Sprintf("%s[%d]", field, i), "%s is given twice", wordLAN)
		case one == wordLAN:
			into.LAN = true
		default:
			networks = append(networks, one)
		}
	}
	into.Remote = m.Networks(field, networks, m.Network)
}

// accountUser takes what may stand before the @ without escapes (RFC 3261 section
// 25.1, unreserved), and a domain or an address behind it.
func accountUser(s string) bool {
	user, domain, found := strings.Cut(s, "@")
	if _, err := netip.ParseAddr(domain); found && err != nil && !Domain(domain) {
		return false
	}
	return user != "" && len(s) <= maxAccountUser && !strings.ContainsFunc(user, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.!~*'()&=+$,", r)
	})
}

// RawAccounts is the way back.
func RawAccounts(list []Account) []RawAccount {
	out := []RawAccount{}
	for _, one := range list {
		raw := RawAccount{User: one.User, Label: one.Label, Sources: []string{}}
		if one.LAN {
			raw.Sources = append(raw.Sources, wordLAN)
		}
		for _, network := range one.Remote {
			raw.Sources = append(raw.Sources, network.String())
		}
		out = append(out, raw)
	}
	return out
}

// May reports whether a source is among those of the account; onLAN says where it
// stands.
func (a Account) May(source netip.Addr, onLAN bool) bool {
	return onLAN && a.LAN || slices.ContainsFunc(a.Remote, func(p netip.Prefix) bool { return p.Contains(source) })
}
