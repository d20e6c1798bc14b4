package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/appliance/settings"
)

// TestJudge puts the demo's numbers to the judge itself, with the lab's documents:
// what the demo takes for granted of them has to be so.
func TestJudge(t *testing.T) {
	judge := compiled(t)
	for _, one := range disguises() {
		got := judge.Call(rules.Call{URI: one.uri, Direction: appliance.Outbound, Use: rules.UseCall})
		if got.Verdict != appliance.Block {
			t.Errorf("%s: %s passes as %s (%s)", one.name, one.uri, got.Number, got.Reason)
		}
	}
	for _, g := range groups() {
		if g.host != "pbx" {
			continue
		}
		for _, user := range g.users {
			uri := fmt.Sprintf("sip:%s@%s", user, g.domain)
			got := judge.Call(rules.Call{URI: uri, Direction: appliance.Outbound, Use: rules.UseCall})
			if got.Verdict != appliance.Allow {
				t.Errorf("%s: %s is refused as %s (%s, %s)", g.name, uri, got.Number, got.Reason, got.Rule)
			}
		}
	}
}

func compiled(t *testing.T) *rules.Rules {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile("../lab.d/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	p, err := policy.Decode(read("policy.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := settings.Decode(read("settings.json"))
	if err != nil {
		t.Fatal(err)
	}
	judge, err := rules.Compile(p, s, rules.Facts{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return judge
}
