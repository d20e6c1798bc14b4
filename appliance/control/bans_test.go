package control

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/settings"
)

func mustBan(t *testing.T, b *box, source string) api.Banned {
	t.Helper()
	banned, err := b.Ban(api.NewBan{Source: source, Reason: "scans"})
	if err != nil {
		t.Fatal(err)
	}
	return banned
}

func (b *box) atGate(source string) bool {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	_, found := b.gate.bans[netip.MustParsePrefix(source)]
	return found
}

func TestBanLife(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	banned := mustBan(t, b, "198.51.100.66")
	if !b.atGate("198.51.100.66/32") || !banned.Ban.Until.Equal(noon.Add(24*time.Hour)) || banned.Ban.Reason != "scans" {
		t.Fatalf("banned %+v", banned)
	}
	if banned := mustBan(t, b, "2001:db8:66::7"); banned.Ban.Source != netip.MustParsePrefix("2001:db8:66::/64") {
		t.Errorf("banned %s", banned.Ban.Source)
	}
	// Another end for the same source is one ban still.
	b.clock = noon.Add(time.Minute)
	if _, err := b.Ban(api.NewBan{Source: "2001:db8:66::/64", Until: noon.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if list := b.Bans(10); list.Total != 2 || list.Bans[0].Source.Addr().Is4() || list.Bans[0].Reason != "by hand" {
		t.Errorf("bans %+v", list)
	}
	if list := b.Bans(1); list.Total != 2 || len(list.Bans) != 1 {
		t.Errorf("bans %+v", list)
	}
	// After a restart, with an empty gate, those that have not ended are back.
	b.store.Close()
	b = newBox(t, dir)
	if !b.atGate("198.51.100.66/32") || !b.atGate("2001:db8:66::/64") {
		t.Fatal("a restart lost a ban")
	}
	b.clock = noon.Add(time.Hour)
	if err := b.Refresh(); err != nil || b.atGate("2001:db8:66::/64") || b.Bans(10).Total != 1 {
		t.Errorf("err %v; a ban outlived its end: %+v", err, b.Bans(10))
	}
	if _, err := b.Unban("198.51.100.66"); err != nil || b.atGate("198.51.100.66/32") {
		t.Errorf("unban: %v", err)
	}
	if _, err := b.Unban("198.51.100.66"); appliance.CodeOf(err) != appliance.CodeNotFound {
		t.Errorf("unban twice: %v", err)
	}
	b.store.Close()
	if b = newBox(t, dir); b.Bans(10).Total != 0 {
		t.Errorf("bans %+v after they were lifted", b.Bans(10))
	}
}

func TestWhatCannotBeBanned(t *testing.T) {
	b := newBox(t, t.TempDir())
	s := settings.Default()
	s.Trunks = []settings.Trunk{{Name: "a", Domain: "a.example", Address: netip.MustParseAddrPort("198.51.100.1:5060"), Transport: settings.UDP,
		Networks: []netip.Prefix{netip.MustParsePrefix("2001:db8:51::5/128")}, Names: []string{"sip.example.net"}}}
	s.Admins = []settings.Admin{{Name: "it", Network: netip.MustParsePrefix("198.51.100.200/32")}}
	b.network.resolved = map[string][]netip.Addr{"sip.example.net": {netip.MustParseAddr("198.51.100.77")}}
	mustChange(t, b, settings.Encode(s))
	for _, tc := range []struct {
		source string
		code   appliance.Code
		says   string
	}{
		{"198.51.100.1", appliance.CodeForbidden, "provider"},
		{"198.51.100.77", appliance.CodeForbidden, "provider"},
		{"2001:db8:51::9", appliance.CodeForbidden, "2001:db8:51::5"},
		{"192.168.1.7", appliance.CodeForbidden, "network.lan[2]"},
		{"fd00::7", appliance.CodeForbidden, "LAN"},
		{"203.0.113.1", appliance.CodeForbidden, "own address"},
		{"2001:db8:1::99", appliance.CodeForbidden, "2001:db8:1::1"},
		{"fe80::1", appliance.CodeInvalid, "link-local"},
		{"::ffff:198.51.100.66", appliance.CodeInvalid, "write it as 198.51.100.66"},
		{"0.0.0.0", appliance.CodeInvalid, "no host"},
		{"224.0.0.1", appliance.CodeInvalid, "no host"},
		{"127.0.0.1", appliance.CodeInvalid, "no host"},
		{"198.51.100.0/24", appliance.CodeInvalid, "a wider network belongs into a feed"},
		{"2001:db8::/48", appliance.CodeInvalid, "a wider network"},
		{"everybody", appliance.CodeInvalid, "not an address"},
		{"", appliance.CodeInvalid, "not an address"},
	} {
		_, err := b.Ban(api.NewBan{Source: tc.source})
		one, ok := errors.AsType[*appliance.Error](err)
		if !ok || one.Code != tc.code || one.Field != "source" || !strings.Contains(one.Message, tc.says) {
			t.Errorf("%s: err %v; want %s saying %q", tc.source, err, tc.code, tc.says)
		}
	}
	if b.Bans(1).Total != 0 || len(b.gate.bans) != 0 {
		t.Errorf("bans %+v", b.Bans(10))
	}
	if banned := mustBan(t, b, "198.51.100.200"); len(banned.Notes) != 2 || !strings.Contains(banned.Notes[0], "allowed source") {
		t.Errorf("an administrator was banned without a word: %+v", banned)
	}
	s.Bans.SpareAllowed = true
	mustChange(t, b, settings.Encode(s))
	if _, err := b.Ban(api.NewBan{Source: "198.51.100.200"}); appliance.CodeOf(err) != appliance.CodeForbidden {
		t.Errorf("an administrator who is spared: %v", err)
	}
}

func TestBanMistakes(t *testing.T) {
	b := newBox(t, t.TempDir())
	for name, item := range map[string]api.NewBan{
		"until":  {Source: "198.51.100.66", Until: noon},
		"reason": {Source: "198.51.100.66", Reason: strings.Repeat("x", 201)},
	} {
		_, err := b.Ban(item)
		if one, ok := errors.AsType[*appliance.Error](err); !ok || one.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Ban(api.NewBan{Source: "198.51.100.66", Until: noon.Add(366 * 24 * time.Hour)}); err == nil || !strings.Contains(err.Error(), "365 days") {
		t.Errorf("for ever: %v", err)
	}
	b.network.refuse = errNo
	if _, err := b.Ban(api.NewBan{Source: "198.51.100.66"}); !errors.Is(err, errNo) {
		t.Errorf("without knowing the box's own addresses: %v", err)
	}
}

// TestBanIsAllOrNothing has the gate and the disk say no in turn.
func TestBanIsAllOrNothing(t *testing.T) {
	b := newBox(t, t.TempDir())
	mustBan(t, b, "198.51.100.66")
	b.store.refuse = errNo
	if _, err := b.Ban(api.NewBan{Source: "198.51.100.67"}); !errors.Is(err, errNo) || b.atGate("198.51.100.67/32") || b.Bans(10).Total != 1 {
		t.Errorf("err %v, bans %+v", err, b.Bans(10))
	}
	if _, err := b.Unban("198.51.100.66"); !errors.Is(err, errNo) || !b.atGate("198.51.100.66/32") || b.Bans(10).Total != 1 {
		t.Errorf("err %v, bans %+v", err, b.Bans(10))
	}
	b.store.refuse, b.gate.noBans = nil, errNo
	if _, err := b.Ban(api.NewBan{Source: "198.51.100.67"}); !errors.Is(err, errNo) || b.Bans(10).Total != 1 {
		t.Errorf("err %v, bans %+v", err, b.Bans(10))
	}
}

// TestOldestBanMakesRoom fills the list.
func TestOldestBanMakesRoom(t *testing.T) {
	b := newBox(t, t.TempDir())
	for i := range maxBans {
		source := netip.PrefixFrom(netip.AddrFrom4([4]byte{45, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		b.bans.list[source] = appliance.Ban{Source: source, Since: noon.Add(-time.Duration(i) * time.Second), Until: noon.Add(time.Hour), Reason: "x"}
	}
	banned := mustBan(t, b, "198.51.100.66")
	if b.Bans(1).Total != maxBans || len(banned.Notes) != 2 || !strings.Contains(banned.Notes[0], "45.0.255.255") {
		t.Errorf("%d bans, notes %q", b.Bans(1).Total, banned.Notes)
	}
	if _, stays := b.bans.list[netip.MustParsePrefix("45.0.255.255/32")]; stays {
		t.Error("the oldest is still there")
	}
}

func TestDamagedBans(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	mustBan(t, b, "198.51.100.66")
	gate := b.gate
	for name, text := range map[string]string{
		"cut": `{`, "schema": `{"schema":2,"bans":[]}`, "unknown": `{"schema":1,"bans":[],"x":1}`,
		"wide":  `{"schema":1,"bans":[{"source":"198.51.0.0/16","since":"2026-07-01T00:00:00Z","until":"2027-07-01T00:00:00Z","reason":""}]}`,
		"twice": `{"schema":1,"bans":[]}{}`,
	} {
		t.Run(name, func(t *testing.T) {
			b.store.Close()
			for _, file := range []string{"bans.json", "bans.previous.json"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b = openBox(t, dir, gate)
			if err := b.Start(); err != nil {
				t.Fatal(err)
			}
			if b.Bans(10).Total != 1 || !b.atGate("198.51.100.66/32") {
				t.Errorf("what the gate held is not kept: %+v", b.Bans(10))
			}
			checks := b.Checks()
			if len(checks) != 1 || checks[0].Name != "bans" || checks[0].Level != appliance.Amber {
				t.Errorf("checks %+v", checks)
			}
		})
	}
	mustBan(t, b, "198.51.100.67")
	if checks := b.Checks(); len(checks) != 0 {
		t.Errorf("checks %+v after a sound list was written", checks)
	}
}

// TestLostBans loses the list, and then the gate.
func TestLostBans(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	mustBan(t, b, "198.51.100.66")
	gate := b.gate
	b.store.Close()
	if err := errors.Join(os.Remove(filepath.Join(dir, "bans.json")), os.RemoveAll(filepath.Join(dir, "bans.previous.json"))); err != nil {
		t.Fatal(err)
	}
	b = openBox(t, dir, gate)
	if err := b.Start(); err != nil || b.Bans(10).Total != 1 || !b.atGate("198.51.100.66/32") {
		t.Fatalf("err %v; what the gate held is not kept: %+v", err, b.Bans(10))
	}
	b.store.Close()
	if b = newBox(t, dir); b.Bans(10).Total != 1 || !b.atGate("198.51.100.66/32") {
		t.Errorf("what the gate held was not stored: %+v", b.Bans(10))
	}
}

// TestAnotherGateIsToldTheBans loses the gate's own table.
func TestAnotherGateIsToldTheBans(t *testing.T) {
	b := newBox(t, t.TempDir())
	for i := range 3 {
		mustBan(t, b, fmt.Sprintf("198.51.100.%d", i+1))
	}
	b.gate.bans = map[netip.Prefix]appliance.Ban{netip.MustParsePrefix("192.0.2.1/32"): {Source: netip.MustParsePrefix("192.0.2.1/32"), Until: noon.Add(time.Hour)}}
	b.gate.digest = "somebody else's"
	if err := b.Refresh(); err != nil || len(b.gate.bans) != 3 || b.atGate("192.0.2.1/32") {
		t.Errorf("err %v, the gate holds %v", err, b.gate.bans)
	}
	b.gate.noBans, b.gate.digest = errNo, "somebody else's"
	if err := b.Refresh(); err != nil {
		t.Errorf("the rules are in force, and yet: %v", err)
	}
	if checks := b.Checks(); len(checks) != 1 || checks[0].Level != appliance.Red {
		t.Errorf("checks %+v", checks)
	}
}

// TestBansAreTriedAgain has the gate lose its table and refuse one ban, and then
// any change.
func TestBansAreTriedAgain(t *testing.T) {
	b := newBox(t, t.TempDir())
	const many = 20
	for i := range many {
		mustBan(t, b, fmt.Sprintf("198.51.100.%d", i+1))
	}
	b.gate.bans, b.gate.noBan, b.gate.digest = nil, netip.MustParsePrefix("198.51.100.7/32"), "somebody else's"
	if err := b.Refresh(); err != nil || len(b.gate.bans) != many-1 {
		t.Errorf("err %v, one was refused and the gate holds %d of the other %d", err, len(b.gate.bans), many-1)
	}
	if checks := b.Checks(); len(checks) != 1 || checks[0].Level != appliance.Red {
		t.Errorf("checks %+v", checks)
	}
	b.gate.noBan = netip.Prefix{}
	if err := b.Refresh(); err != nil || len(b.gate.bans) != many {
		t.Errorf("err %v, the gate takes bans again and holds %d of %d", err, len(b.gate.bans), many)
	}
	if checks := b.Checks(); len(checks) != 0 {
		t.Errorf("checks %+v", checks)
	}
	// One that the gate lifted, and could not say so, is brought back.
	b.gate.noBans = errNo
	if _, err := b.Unban("198.51.100.7"); !errors.Is(err, errNo) || b.atGate("198.51.100.7/32") || len(b.Checks()) != 1 {
		t.Errorf("err %v, checks %+v", err, b.Checks())
	}
	b.gate.noBans = nil
	if err := b.Refresh(); err != nil || len(b.gate.bans) != many || len(b.Checks()) != 0 {
		t.Errorf("err %v, the gate holds %d of %d, checks %+v", err, len(b.gate.bans), many, b.Checks())
	}
}

// TestFewErrors keeps what a gate says that takes no bans at all short.
func TestFewErrors(t *testing.T) {
	if err := few(nil); err != nil {
		t.Error(err)
	}
	if err := few([]error{errNo, errNo, errNo}); err.Error() != "no\nno\nno" {
		t.Error(err)
	}
	if err := few([]error{errNo, errNo, errNo, errNo, errNo}); err.Error() != "no\nno\nno\nand 2 more" || !errors.Is(err, errNo) {
		t.Error(err)
	}
}

// TestShutOut is a ban that the inspector asks for.
func TestShutOut(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	source, hour := netip.MustParsePrefix("198.51.100.66/32"), noon.Add(time.Hour)
	if err := b.ShutOut(source, hour, "24 accounts tried in 60 s, none of them with success"); err != nil || !b.atGate("198.51.100.66/32") {
		t.Fatalf("err %v, bans %+v", err, b.Bans(1))
	}
	// It shortens none, and makes one longer.
	if err := b.ShutOut(source, noon.Add(time.Minute), "again"); err != nil || b.Bans(1).Bans[0].Until != hour {
		t.Errorf("err %v, bans %+v", err, b.Bans(1))
	}
	if err := b.ShutOut(source, hour.Add(time.Hour), strings.Repeat("again ", 100)); err != nil || b.Bans(1).Bans[0].Until != hour.Add(time.Hour) {
		t.Errorf("err %v, bans %+v", err, b.Bans(1))
	}
	for _, spared := range []string{"192.168.1.7/32", "203.0.113.1/32", "2001:db8:1::/64"} {
		if err := b.ShutOut(netip.MustParsePrefix(spared), hour, "x"); appliance.CodeOf(err) != appliance.CodeForbidden {
			t.Errorf("%s: %v", spared, err)
		}
	}
	// A full list keeps what it has.
	for i := range maxBans - 1 {
		one := netip.PrefixFrom(netip.AddrFrom4([4]byte{45, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		b.bans.list[one] = appliance.Ban{Source: one, Since: noon, Until: hour}
	}
	if err := b.ShutOut(netip.MustParsePrefix("198.51.100.67/32"), hour, "x"); appliance.CodeOf(err) != appliance.CodeUnavailable || len(b.bans.list) != maxBans {
		t.Errorf("err %v, %d bans", err, len(b.bans.list))
	}
	b.store.Close()
	if b = newBox(t, dir); b.Bans(1).Total != 1 || !strings.HasSuffix(b.Bans(1).Bans[0].Reason, "…") {
		t.Errorf("after a restart: %+v", b.Bans(2))
	}
}

// TestBansAreAppended counts what a ban costs the disk.
func TestBansAreAppended(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	mustBan(t, b, "198.51.100.1")
	list, err := os.Stat(filepath.Join(dir, "bans.json"))
	if err != nil {
		t.Fatal(err)
	}
	last := leastAppended + 10
	for i := range last {
		source := netip.PrefixFrom(netip.AddrFrom4([4]byte{45, 1, byte(i >> 8), byte(i)}), 32)
		if err := b.ShutOut(source, noon.Add(time.Hour), "x"); err != nil {
			t.Fatal(err)
		}
		if now, err := os.Stat(filepath.Join(dir, "bans.json")); err != nil || i == leastAppended/2 && now.Size() != list.Size() {
			t.Fatalf("ban %d rewrote the list: %v", i, err)
		}
	}
	if now, err := os.Stat(filepath.Join(dir, "bans.json")); err != nil || now.Size() <= list.Size() || b.bans.appended >= leastAppended {
		t.Errorf("after %d bans the list was not written anew: %v, %d appended", last, err, b.bans.appended)
	}
	if _, err := b.Unban("45.1.0.3"); err != nil {
		t.Fatal(err)
	}
	b.store.Close()
	if b = newBox(t, dir); b.Bans(1).Total != last || b.atGate("45.1.0.3/32") || !b.atGate("45.1.0.4/32") {
		t.Errorf("%d bans after a restart", b.Bans(1).Total)
	}
}

// TestUnbanPardons has the inspector forget, too.
func TestUnbanPardons(t *testing.T) {
	b := newBox(t, t.TempDir())
	mustBan(t, b, "198.51.100.66")
	var pardoned []string
	server := NewServer(b.Control, noCalls{&pardoned}, b.watch, green{}, someCertificates{}, slog.New(slog.DiscardHandler))
	for _, target := range []string{"/bans/198.51.100.66", "/guard/2001:db8:66::7", "/guard/fd00::%2F64"} {
		answer := httptest.NewRecorder()
		if server.ServeHTTP(answer, httptest.NewRequest("DELETE", target, nil)); answer.Code != 200 {
			t.Errorf("%s: %d %s", target, answer.Code, answer.Body)
		}
	}
	if got := strings.Join(pardoned, " "); got != "198.51.100.66/32 2001:db8:66::7/128 2001:db8:66::/64 fd00::/64" {
		t.Errorf("pardoned %s", got)
	}
}
