package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringfence/ringfence/scripts/peers"
)

func (d *demo) fraud(ctx context.Context) error {
	return d.step("high-risk calls in disguise", func() (string, error) {
		refused := 0
		for _, one := range disguises() {
			got, err := d.attempt(ctx, one, peers.BoxLAN)
			if err != nil {
				return "", err
			}
			d.attempts = append(d.attempts, got)
			if !got.reached && got.answer >= 400 {
				refused++
			}
		}
		return fmt.Sprintf("%d of %d refused", refused, len(d.attempts)), nil
	})
}

// attempt makes one disguised call by way of the box or straight to the provider.
func (d *demo) attempt(ctx context.Context, one disguise, via string) (attempt, error) {
	script := peers.Script{
		Name: slug(one.name), Host: "pbx", Scenario: "disguise", Local: peers.PBX + ":5080", Remote: via + ":5060",
	}
	keys := map[string]string{"uri": one.uri, "to": one.to}
	if one.to == "" {
		keys["to"] = "<" + one.uri + ">"
	}
	method := "INVITE"
	switch one.method {
	case "MESSAGE":
		script.Scenario, method = "message", "MESSAGE"
	case "REFER":
		script.Scenario, method = "transfer", "REFER"
		keys["uri"], keys["target"] = "sip:+61255500109@"+peers.Provider, one.uri
	case "302":
		// The PBX answers 666 with the redirect: lab.d/sipp/pbx.xml.
		script.Host, script.Local, script.Remote = "provider", peers.Provider+":5080", peers.BoxWAN+":5060"
		keys["uri"], keys["to"] = "sip:666@"+peers.BoxWAN, "<sip:666@"+peers.BoxWAN+">"
	}
	script.Options = []string{"-m", "1"}
	for key, value := range keys {
		script.Options = append(script.Options, "-key", key, value)
	}
	before, err := d.leaks()
	if err != nil {
		return attempt{}, err
	}
	outcome, err := d.lab.Call(ctx, script)
	if err != nil {
		return attempt{}, err
	}
	after, err := d.leaks()
	got := attempt{disguise: one, reached: after > before, log: outcome.Log}
	for _, m := range outcome.Messages {
		got.callID = m.CallID()
		got.reached = got.reached || script.Host == "provider" && !m.Sent && marked(m)
	}
	if final, ok := peers.Final(outcome.Messages, method); ok {
		got.answer = final.Status()
	}
	return got, err
}

func marked(m peers.Message) bool {
	return slices.ContainsFunc(marks(), m.Mentions)
}

// leaks counts the messages that the provider received with a marked number.
func (d *demo) leaks() (int, error) {
	count := 0
	for _, server := range d.servers[:2] {
		messages, err := server.Messages()
		if err != nil {
			return 0, err
		}
		for _, m := range messages {
			if !m.Sent && marked(m) {
				count++
			}
		}
	}
	return count, nil
}
