package rules

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/policy"
)

func account(user string, lan bool, remote ...string) document.Account {
	out := document.Account{User: user, LAN: lan}
	for _, one := range remote {
		out.Remote = append(out.Remote, prefix(one))
	}
	return out
}

func TestAccounts(t *testing.T) {
	lan := site("AU", "").Network.LAN[0]
	desk := netip.PrefixFrom(lan.Addr().Next(), lan.Addr().BitLen())
	for _, row := range []struct {
		name        string
		provider    []document.Account
		installer   []document.Account
		grant       bool
		refused     string // field, empty where it is in order
		want        []document.Account
		wantSources []string // on the WAN, at the gate
	}{
		{name: "the policy's alone", provider: []document.Account{account("1", false, "198.51.100.0/25")},
			want: []document.Account{account("1", false, "198.51.100.0/25")}, wantSources: []string{"198.51.100.0/25"}},
		{name: "narrowed without a grant", provider: []document.Account{account("1", false, "198.51.100.0/25")},
			installer: []document.Account{account("1", false, "198.51.100.7/32")},
			want:      []document.Account{account("1", false, "198.51.100.7/32")}, wantSources: []string{"198.51.100.7/32"}},
		{name: "one telephone of the LAN only, without a grant", installer: []document.Account{account("1", false, desk.String())},
			want: []document.Account{account("1", false, desk.String())}},
		{name: "widened without a grant", provider: []document.Account{account("1", false, "198.51.100.0/25")},
			installer: []document.Account{account("1", false, "198.51.100.0/24")}, refused: "accounts[0].sources"},
		{name: "to the LAN without a grant", provider: []document.Account{account("1", false, "198.51.100.0/25")},
			installer: []document.Account{account("1", true)}, refused: "accounts[0].sources"},
		{name: "another's sources without a grant", provider: []document.Account{account("1", false, "198.51.100.0/25")},
			installer: []document.Account{account("2", true, "198.51.100.7/32")}, refused: "accounts[0].sources"},
		{name: "added with a grant", grant: true, provider: []document.Account{account("1", false, "198.51.100.0/25")},
			installer: []document.Account{account("2", true, "2001:db8:7::/48")},
			want:      []document.Account{account("1", false, "198.51.100.0/25"), account("2", true, "2001:db8:7::/48")}, wantSources: []string{"198.51.100.0/25", "2001:db8:7::/48"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, s := policy.Builtin(), site("AU", "")
			p.Grants.Accounts, p.Accounts, s.Accounts = row.grant, row.provider, row.installer
			s.Trunks = nil
			if row.refused != "" {
				if got := mistakes(t, p, s, Facts{}); len(got) != 1 || got[0][0] != "forbidden "+row.refused {
					t.Errorf("got %v", got)
				}
				return
			}
			r := compiled(t, p, s)
			if got := r.SIP().Accounts; !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
			var sources []string
			for _, one := range r.Guard().Sources {
				if sources = append(sources, one.Prefix.String()); one.Services != sipBit || one.Firm {
					t.Errorf("%s may %b, firm %t", one.Prefix, one.Services, one.Firm)
				}
			}
			if strings.Join(sources, " ") != strings.Join(row.wantSources, " ") {
				t.Errorf("sources %v, want %v", sources, row.wantSources)
			}
		})
	}
}

func TestAccountOfTheWholeLAN(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	s.Network.LAN = []netip.Prefix{prefix("192.168.1.0/24")}
	s.Accounts = []document.Account{account("1", false, "192.168.0.0/16")}
	if got := mistakes(t, p, s, Facts{}); len(got) != 1 || got[0][0] != "invalid settings accounts[0].sources[0]" {
		t.Errorf("got %v", got)
	}
}

func TestGuardThresholds(t *testing.T) {
	builtin := document.BuiltinGuard()
	for _, row := range []struct {
		name            string
		provider, local document.Guard
		grant           bool
		want            document.Guard
		refused         []string
	}{
		{name: "nobody says anything", want: builtin},
		{name: "the policy's", provider: document.Guard{Accounts: 30}, want: document.Guard{Accounts: 30, Guesses: builtin.Guesses, Window: builtin.Window, Bans: builtin.Bans}},
		{name: "tighter", provider: document.Guard{Accounts: 30}, local: document.Guard{Accounts: 10, Window: time.Hour, Bans: []time.Duration{24 * time.Hour}},
			want: document.Guard{Accounts: 10, Guesses: builtin.Guesses, Window: time.Hour, Bans: []time.Duration{24 * time.Hour}}},
		{name: "looser with a grant", grant: true, local: document.Guard{Guesses: 200}, want: document.Guard{Accounts: builtin.Accounts, Guesses: 200, Window: builtin.Window, Bans: builtin.Bans}},
		{name: "looser without", local: document.Guard{Accounts: 21, Guesses: 61, Window: 59 * time.Second, Bans: []time.Duration{9 * time.Minute}},
			refused: []string{"guard.accounts", "guard.guesses", "guard.window_seconds", "guard.ban_minutes[0]", "guard.ban_minutes"}},
		{name: "a shorter second ban", local: document.Guard{Bans: []time.Duration{24 * time.Hour, 24 * time.Hour, 24*time.Hour - time.Minute}}, refused: []string{"guard.ban_minutes[2]", "guard.ban_minutes"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, s := policy.Builtin(), site("AU", "")
			p.Grants.Guard, p.Guard, s.Guard = row.grant, row.provider, row.local
			if row.refused == nil {
				if got := compiled(t, p, s).SIP().Guard; !reflect.DeepEqual(got, row.want) {
					t.Errorf("got %+v, want %+v", got, row.want)
				}
				return
			}
			var fields []string
			for _, one := range mistakes(t, p, s, Facts{}) {
				fields = append(fields, strings.TrimPrefix(one[0], "forbidden "))
			}
			if !reflect.DeepEqual(fields, row.refused) {
				t.Errorf("refused %v, want %v", fields, row.refused)
			}
		})
	}
}

func TestRemote(t *testing.T) {
	p, s := policy.Builtin(), site("AU", "")
	s.Network.LAN = []netip.Prefix{prefix("192.168.1.0/24")}
	s.Accounts = []document.Account{account("1", true, "198.51.100.0/24", "2001:db8:7::/48"), account("2", false, "198.51.100.128/25", "192.168.1.9/32"),
		account("3", false, "198.51.100.7/32", "192.0.2.9/32", "198.51.101.0/24")}
	sip := compiled(t, p, s).SIP()
	want := []netip.Prefix{prefix("192.0.2.9/32"), prefix("198.51.100.0/24"), prefix("198.51.101.0/24"), prefix("2001:db8:7::/48")}
	if !reflect.DeepEqual(sip.Remote, want) {
		t.Errorf("got %v, want %v", sip.Remote, want)
	}
	for text, may := range map[string]bool{
		"192.0.2.9": true, "192.0.2.8": false, "192.0.2.10": false, "198.51.100.0": true, "198.51.100.255": true, "198.51.101.1": true, "198.51.102.0": false,
		"2001:db8:7::1": true, "2001:db8:8::": false, "192.168.1.9": false, "0.0.0.0": false, "::": false,
	} {
		if got := sip.May(netip.MustParseAddr(text)); got != may {
			t.Errorf("%s: %t", text, got)
		}
	}
	if none := (&SIP{}); none.May(netip.MustParseAddr("192.0.2.9")) {
		t.Error("no rules let somebody in")
	}
}
