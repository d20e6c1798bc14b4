package control

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

func TestNewBox(t *testing.T) {
	b := newBox(t, t.TempDir())
	state := b.State()
	if got := state.Notes[appliance.DocumentSettings].Level; got != appliance.Amber {
		t.Errorf("settings of a new box are %v; want amber", got)
	}
	if got := state.Notes[appliance.DocumentPolicy].Level; got != appliance.Green {
		t.Errorf("policy of a new box is %v; want green", got)
	}
	if b.gate.Generation() == "" || b.gate.Generation() != b.Rules().Digest() {
		t.Errorf("gate holds %q, rules are %q", b.gate.Generation(), b.Rules().Digest())
	}
}

func TestChange(t *testing.T) {
	b := newBox(t, t.TempDir())
	before := b.State()
	applied := mustChange(t, b, named("Depot"))
	state := b.State()
	if state.Settings.Site.Name != "Depot" || applied.Generation != state.Rules.Digest() || b.gate.Generation() != applied.Generation {
		t.Fatalf("applied %+v, in force %q at the gate and %q", applied, b.gate.Generation(), state.Rules.Digest())
	}
	select {
	case <-before.Superseded:
	default:
		t.Error("those who wait for a change were not woken")
	}
	if note := state.Notes[appliance.DocumentSettings]; note.Message != "" {
		t.Errorf("note %q outlived its document", note.Message)
	}
	stored, err := os.ReadFile(filepath.Join(b.dir, "settings.json"))
	if err != nil || string(stored) != string(named("Depot")) {
		t.Errorf("stored %q, err %v", stored, err)
	}
	entries, err := b.records.Events(context.Background(), appliance.EventFilter{Kind: appliance.EventChange})
	if err != nil || len(entries) != 1 || entries[0].Verdict != appliance.Allow || entries[0].Subject != "settings" {
		t.Errorf("journal %+v, err %v", entries, err)
	}
}

func TestChangeSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	applied := mustChange(t, b, named("Depot"))
	b.store.Close()
	again := newBox(t, dir)
	if again.Rules().Digest() != applied.Generation {
		t.Fatalf("generation %s after the restart; want %s", again.Rules().Digest(), applied.Generation)
	}
}

// TestChangeIsAllOrNothing has every step say no in turn.
func TestChangeIsAllOrNothing(t *testing.T) {
	forbidden := policy.Builtin()
	forbidden.Serial, forbidden.Grants = 1, policy.Grants{}
	trunk := settings.Default()
	trunk.Admins = []settings.Admin{{Name: "me", Network: netip.MustParsePrefix("198.51.100.7/32")}}
	for name, tc := range map[string]struct {
		prepare func(*box)
		data    []byte
		match   string
		code    appliance.Code
		field   string
	}{
		"malformed": {func(*box) {}, []byte("{"), "", appliance.CodeInvalid, ""},
		"wrong":     {func(*box) {}, []byte(strings.Replace(string(named("x")), `"AU"`, `"XX"`, 1)), "", appliance.CodeInvalid, "site.country"},
		"ungranted": {func(b *box) { b.mustOffer(forbidden) }, settings.Encode(trunk), "", appliance.CodeForbidden, "admins[0]"},
		"conflict":  {func(*box) {}, named("x"), "0123456789abcdef", appliance.CodeConflict, ""},
		"gate":      {func(b *box) { b.gate.refuse = errNo }, named("x"), "", appliance.CodeUnavailable, ""},
		"disk":      {func(b *box) { b.store.refuse = errNo }, named("x"), "", appliance.CodeUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, t.TempDir())
			mustChange(t, b, named("Depot"))
			tc.prepare(b)
			before, generation := b.State(), b.gate.Generation()
			_, err := b.Change(tc.data, tc.match)
			if err == nil || appliance.CodeOf(err) != tc.code {
				t.Fatalf("err %v with code %s; want %s", err, appliance.CodeOf(err), tc.code)
			}
			if one, ok := errors.AsType[*appliance.Error](err); ok && one.Field != tc.field {
				t.Errorf("field %q; want %q", one.Field, tc.field)
			}
			if b.State() != before || b.gate.Generation() != generation {
				t.Errorf("something changed: gate %s, was %s", b.gate.Generation(), generation)
			}
			stored, _ := os.ReadFile(filepath.Join(b.dir, "settings.json"))
			if string(stored) != string(named("Depot")) {
				t.Errorf("stored %s", stored)
			}
			entries, err := b.records.Events(context.Background(), appliance.EventFilter{Limit: 1})
			if err != nil || len(entries) != 1 || entries[0].Verdict != appliance.Block || !strings.HasPrefix(entries[0].Message, "turned down: ") {
				t.Errorf("journal %+v, err %v", entries, err)
			}
		})
	}
}

func (b *box) mustOffer(p policy.Policy) {
	if _, err := b.Offer(policy.Encode(p), ""); err != nil {
		panic(err)
	}
}

func TestDiskRefusalSwapsTheGateBack(t *testing.T) {
	b := newBox(t, t.TempDir())
	b.store.refuse = errNo
	if _, err := b.Change(named("x"), ""); !errors.Is(err, errNo) {
		t.Fatalf("err %v", err)
	}
	if n := len(b.gate.history); n != 3 || b.gate.history[0] != b.gate.history[2] || b.gate.history[0] == b.gate.history[1] {
		t.Fatalf("gate saw %v; want the new generation and the old one again", b.gate.history)
	}
}

func TestSerialNeverFalls(t *testing.T) {
	b := newBox(t, t.TempDir())
	p := policy.Builtin()
	offer := func(serial uint64, issuer string) error {
		p.Serial, p.Issuer = serial, issuer
		_, err := b.Offer(policy.Encode(p), "")
		return err
	}
	if err := offer(0, "somebody"); appliance.CodeOf(err) != appliance.CodeInvalid {
		t.Errorf("another policy without a serial: %v", err)
	}
	for _, serial := range []uint64{5, 5, 7} {
		if err := offer(serial, "Acme"); err != nil {
			t.Errorf("serial %d: %v", serial, err)
		}
	}
	for _, tc := range []struct {
		serial uint64
		issuer string
	}{{5, "Acme"}, {7, "Acme 2"}} {
		err := offer(tc.serial, tc.issuer)
		if one, ok := errors.AsType[*appliance.Error](err); !ok || one.Field != "serial" {
			t.Errorf("serial %d again by %s: %v", tc.serial, tc.issuer, err)
		}
	}
	if got := b.State().Policy.Serial; got != 7 {
		t.Errorf("serial %d is in force; want 7", got)
	}
}

func TestDamagedDocuments(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		site  string
		level appliance.Level
	}{
		"settings": {map[string]string{"settings.json": "{"}, "First", appliance.Red},
		"settings and the edition before": {map[string]string{"settings.json": "{", "settings.previous.json": ""},
			settings.Default().Site.Name, appliance.Red},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := newBox(t, dir)
			mustChange(t, b, named("First"))
			mustChange(t, b, named("Second"))
			b.store.Close()
			for file, text := range tc.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			again := newBox(t, dir)
			if got := again.State().Settings.Site.Name; got != tc.site {
				t.Errorf("site %q is in force; want %q", got, tc.site)
			}
			if note := again.State().Notes[appliance.DocumentSettings]; note.Level != tc.level || note.Message == "" {
				t.Errorf("note %+v", note)
			}
			mustChange(t, again, named("Third"))
			if note := again.State().Notes[appliance.DocumentSettings]; note.Message != "" {
				t.Errorf("note %+v after it was mended", note)
			}
		})
	}
}

func TestContradictingDocuments(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	s := settings.Default()
	s.Site.Name, s.Network.WAN = "Depot", []string{"wan0"}
	s.Admins = []settings.Admin{{Name: "me", Network: netip.MustParsePrefix("198.51.100.7/32")}}
	mustChange(t, b, settings.Encode(s))
	b.store.Close()
	p := policy.Builtin()
	p.Grants = policy.Grants{}
	if err := os.WriteFile(filepath.Join(dir, "policy.json"), policy.Encode(p), 0o600); err != nil {
		t.Fatal(err)
	}
	again := newBox(t, dir)
	state := again.State()
	if state.Notes[appliance.DocumentSettings].Level != appliance.Red || len(state.Settings.Admins) != 0 {
		t.Errorf("note %+v, admins %v; want them restricted", state.Notes[appliance.DocumentSettings], state.Settings.Admins)
	}
	if len(again.gate.wan) != 1 || again.gate.wan[0] != "wan0" {
		t.Errorf("the gate guards %v; want wan0 still", again.gate.wan)
	}
}

func TestExceptionRunsOut(t *testing.T) {
	b := newBox(t, t.TempDir())
	applied, err := b.Allow(api.NewException{Prefix: "25261", Reason: "a customer", Until: noon.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if list := b.Exceptions().Exceptions; len(list) != 1 || list[0].Prefix != "+25261" || list[0].Expired {
		t.Fatalf("exceptions %+v", list)
	}
	if err := b.Refresh(); err != nil || b.Rules().Digest() != applied.Generation {
		t.Fatalf("err %v; refreshing too early changed the rules", err)
	}
	if !b.Rules().Expires().Equal(noon.Add(time.Hour)) {
		t.Fatalf("rules expire at %v", b.Rules().Expires())
	}
	b.clock = noon.Add(time.Hour)
	if err := b.Refresh(); err != nil {
		t.Fatal(err)
	}
	if b.Rules().Digest() == applied.Generation || b.gate.Generation() != b.Rules().Digest() {
		t.Errorf("gate %s, rules %s, before %s", b.gate.Generation(), b.Rules().Digest(), applied.Generation)
	}
	if list := b.Exceptions().Exceptions; len(list) != 1 || !list[0].Expired {
		t.Errorf("exceptions %+v; want it shown as expired", list)
	}
}

func TestRefreshHealsTheGate(t *testing.T) {
	b := newBox(t, t.TempDir())
	b.gate.digest = "somebody else's"
	if err := b.Refresh(); err != nil || b.gate.Generation() != b.Rules().Digest() {
		t.Fatalf("gate %s, rules %s, err %v", b.gate.Generation(), b.Rules().Digest(), err)
	}
}

func TestAllowMistakes(t *testing.T) {
	b := newBox(t, t.TempDir())
	for name, tc := range map[string]struct {
		item  api.NewException
		code  appliance.Code
		field string
	}{
		"no prefix": {api.NewException{Reason: "x"}, appliance.CodeInvalid, "prefix"},
		"letters":   {api.NewException{Prefix: "+25x", Reason: "x"}, appliance.CodeInvalid, "prefix"},
		"no reason": {api.NewException{Prefix: "+25261"}, appliance.CodeInvalid, "reason"},
		"past":      {api.NewException{Prefix: "+25261", Reason: "x", Until: noon}, appliance.CodeInvalid, "until"},
		"ungranted": {api.NewException{Prefix: "+25", Reason: "x"}, appliance.CodeForbidden, "prefix"},
	} {
		_, err := b.Allow(tc.item)
		one, ok := errors.AsType[*appliance.Error](err)
		if !ok || one.Code != tc.code || one.Field != tc.field {
			t.Errorf("%s: err %v (%+v); want %s in %s", name, err, one, tc.code, tc.field)
		}
	}
	if list := b.Exceptions().Exceptions; len(list) != 0 {
		t.Errorf("exceptions %+v", list)
	}
}

func TestAllowReplacesAndRemoves(t *testing.T) {
	b := newBox(t, t.TempDir())
	for _, reason := range []string{"first", "second"} {
		if _, err := b.Allow(api.NewException{Prefix: "+25261", Reason: reason}); err != nil {
			t.Fatal(err)
		}
	}
	if list := b.Exceptions().Exceptions; len(list) != 1 || list[0].Reason != "second" {
		t.Fatalf("exceptions %+v", list)
	}
	if _, err := b.Disallow("25261"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Disallow("+25261"); appliance.CodeOf(err) != appliance.CodeNotFound {
		t.Fatalf("err %v", err)
	}
}
