package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringfence/ringfence/scripts/peers"
)

// group is a kind of call that has to pass. Numbers are those that the numbering
// plans keep for drama and documentation, where they keep any.
type group struct {
	name    string
	users   []string // dialled in turn
	calls   int
	host    string // who calls: pbx or provider
	local   string
	remote  string
	domain  string // host part of the Request-URI
	from    string // who calls; empty for an extension of the PBX
	options []string
}

// result is what became of a group.
type result struct {
	group
	completed int // by the caller's own messages
	seen      int // of its calls, by the messages of whoever was called
	callIDs   map[string]bool
}

func groups() []group {
	lan, lan6 := peers.BoxLAN+":5060", "["+peers.BoxLAN6+"]:5060"
	out := func(name string, port, calls int, users ...string) group {
		return group{name: name, users: users, calls: calls, host: "pbx", domain: peers.Provider,
			local: fmt.Sprintf("%s:%d", peers.PBX, port), remote: lan}
	}
	tcp := out("Australia, PBX over TCP", 5075, 10, "+61255500107")
	tcp.options = []string{"-t", "t1"}
	six := out("Australia, over IPv6", 5076, 10, "+61255500108")
	six.domain, six.local, six.remote = "["+peers.Provider6+"]", "["+peers.PBX6+"]:5076", lan6
	in := group{name: "inbound", users: []string{"101", "0255500100"}, calls: 20, host: "provider",
		domain: peers.BoxWAN, local: peers.Provider + ":5077", remote: peers.BoxWAN + ":5060", from: "sip:+61491570006@" + peers.Provider}
	return []group{
		out("Australia", 5070, 40, "0255500101", "+61255500102", "0011611300975707", "55500103"),
		out("02 5261 5550, which resembles +252", 5071, 10, "0252615550"),
		out("New Zealand, Britain, America", 5072, 30, "+6445550104", "00116445550105", "00442079460106", "001112125550107"),
		out("emergency: 000, 112", 5073, 4, "000", "112"),
		tcp, six, in,
	}
}

// place makes the group's calls, all of them, and reads what both ends saw.
func (d *demo) place(ctx context.Context, g group) (result, error) {
	name := slug(g.name)
	numbers := filepath.Join(d.lab.Logs, name+".csv")
	var rows strings.Builder
	rows.WriteString("SEQUENTIAL\n")
	for _, user := range g.users {
		fmt.Fprintf(&rows, "sip:%s@%s;%s\n", user, g.domain, cmp.Or(g.from, "sip:101@"+peers.PBX))
	}
	if err := os.WriteFile(numbers, []byte(rows.String()), 0o644); err != nil {
		return result{}, err
	}
	outcome, err := d.lab.Call(ctx, peers.Script{
		Name: name, Host: g.host, Scenario: "call", Local: g.local, Remote: g.remote,
		Options: append([]string{"-inf", numbers, "-m", fmt.Sprint(g.calls), "-r", "12", "-d", "300"}, g.options...),
	})
	if err != nil {
		return result{}, err
	}
	got := result{group: g, completed: peers.Completed(outcome.Messages), callIDs: made(outcome.Messages)}
	got.seen, err = d.seen(got.callIDs)
	return got, err
}

// made lists the calls among the messages of a caller, by Call-ID.
func made(messages []peers.Message) map[string]bool {
	ids := map[string]bool{}
	for _, m := range messages {
		if m.Sent && m.Status() == 0 && m.Method() == "INVITE" {
			ids[m.CallID()] = true
		}
	}
	return ids
}

// seen counts the calls that one of the answering peers received.
func (d *demo) seen(callIDs map[string]bool) (int, error) {
	received := map[string]bool{}
	for _, server := range d.servers {
		messages, err := server.Messages()
		if err != nil {
			return 0, err
		}
		for _, m := range messages {
			if !m.Sent && m.Method() == "INVITE" && callIDs[m.CallID()] {
				received[m.CallID()] = true
			}
		}
	}
	return len(received), nil
}

// slug makes a file name of a title.
func slug(title string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, title)
}
