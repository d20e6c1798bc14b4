package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/fetch"
	"github.com/ringfence/ringfence/appliance/names"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
	"github.com/ringfence/ringfence/appliance/store"
)

// named is a box without a WAN port, whose trunk has a name.
func named(t *testing.T) (directory, *control.Control, *store.Store) {
	t.Helper()
	discard := func(appliance.Event) {}
	e := env{resolv: filepath.Join(t.TempDir(), "none"), now: time.Now}
	disk, err := store.Open(t.TempDir(), retention(), e.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	s := settings.Default()
	s.Trunks = []settings.Trunk{{Name: "carrier", Domain: "carrier.example", Address: mustAddr("203.0.113.2:5060"),
		Transport: settings.UDP, Names: []string{"sip.example.net"}}}
	if err := disk.PutDocument(appliance.DocumentSettings, settings.Encode(s)); err != nil {
		t.Fatal(err)
	}
	d, box := around(newPerimeter(config{bpffs: "/sys/fs/bpf/nowhere"}, e, discard), disk, e)
	return d, box, disk
}

// around is what stands around a perimeter in a box without a daemon.
func around(wan *perimeter, disk *store.Store, e env) (directory, *control.Control) {
	tracker, changed := newTracker(e, func(appliance.Event) {})
	log := slog.New(slog.DiscardHandler)
	box := control.New(control.Hands{Gate: wan, Documents: disk, Lists: disk, Records: disk, Audits: disk, Network: surroundings{tracker}, Web: fetch.New(fetch.Config{})},
		control.NewQueue(), e.now, log)
	return directory{tracker, box, disk, changed, log}, box
}

// TestNamesOutliveARestart begins without a DNS.
func TestNamesOutliveARestart(t *testing.T) {
	d, box, disk := named(t)
	provider, lan := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.168.1.9")
	until := time.Now().Add(time.Hour)
	data, err := json.Marshal(storedNames{1, []names.Name{
		{Name: "sip.example.net", Addresses: []names.Address{{Addr: provider, Until: until}, {Addr: lan, Until: until}}},
		{Name: "old.example.net", Addresses: []names.Address{{Addr: provider, Until: until}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.PutNames(data); err != nil {
		t.Fatal(err)
	}
	d.restore()
	if err := box.Start(); err != nil {
		t.Fatal(err)
	}
	let := map[netip.Addr]bool{}
	for _, one := range box.Rules().Guard().Sources {
		let[one.Prefix.Addr()] = true
	}
	if !let[provider] || let[lan] || len(let) != 2 {
		t.Errorf("lets %v in", let)
	}
	if err := d.keep(); err != nil {
		t.Fatal(err)
	}
	var kept storedNames
	if _, err := disk.Names(func(data []byte) error { return json.Unmarshal(data, &kept) }); err != nil {
		t.Fatal(err)
	}
	if len(kept.Names) != 1 || len(kept.Names[0].Addresses) != 1 {
		t.Errorf("kept %+v", kept)
	}
}

func TestDamagedNamesAreResolvedAnew(t *testing.T) {
	for _, text := range []string{`{`, `{"schema":2,"names":[]}`, `{"schema":1,"names":[],"x":1}`} {
		d, box, disk := named(t)
		if err := disk.PutNames([]byte(text)); err != nil {
			t.Fatal(err)
		}
		d.restore()
		if err := box.Start(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		checks := checkNames(d.tracker)
		if len(checks) != 1 || checks[0].Level != appliance.Amber || !strings.Contains(checks[0].Message, "lets nobody in") {
			t.Errorf("%s: checks %+v", text, checks)
		}
	}
}

func TestEveryNameIsFollowed(t *testing.T) {
	if rules.MaxNames != names.MaxNames {
		t.Errorf("documents may hold %d names, of which %d are followed", rules.MaxNames, names.MaxNames)
	}
}

// TestNamesFollowTheDocuments changes the settings while the directory runs.
func TestNamesFollowTheDocuments(t *testing.T) {
	d, box, _ := named(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx) }()
	s := settings.Default()
	s.Trunks = []settings.Trunk{{Name: "carrier", Domain: "carrier.example", Address: mustAddr("203.0.113.2:5060"),
		Transport: settings.UDP, Names: []string{"_sip._udp.example.org"}}}
	if _, err := box.Change(settings.Encode(s), ""); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		known := d.tracker.State()
		if len(known) == 1 && known[0].Name == "_sip._udp.example.org" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("tracks %+v", known)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
