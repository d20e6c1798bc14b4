package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ringfence/ringfence/"

// law says which of our packages may import which others, and why. A package
// may import those of its list and nothing else of ours; one that is not in the
// table has no place in the tree yet.
var law = []struct {
	of  string
	may []string
	why string
}{
	{"appliance", nil, "the vocabulary stands on nothing"},
	{"appliance/document", []string{"appliance", "appliance/feed", "appliance/fraud"}, "paper: the strictness that both documents share"},
	{"appliance/policy", []string{"appliance", "appliance/document", "appliance/fraud"}, "paper: the provider's word knows nothing of the site's"},
	{"appliance/settings", []string{"appliance", "appliance/document", "appliance/dialplan", "appliance/fraud"}, "paper: never policy, which grants are judged in rules"},
	{"appliance/dialplan", []string{"appliance"}, "paper: numbers mean the same whoever asks"},
	{"appliance/feed", []string{"appliance"}, "paper: what a list of others means, whoever fetched it and whatever it guards"},
	{"appliance/rules", []string{"appliance", "appliance/document", "appliance/policy", "appliance/settings", "appliance/dialplan", "appliance/feed", "appliance/fraud"}, "paper: the only judge sees both documents"},
	{"appliance/audit", nil, "paper: what a digest response gives away"},
	{"appliance/fraud", nil, "paper: behaviour; time is an argument, and so is everything else"},
	{"appliance/trace", []string{"appliance"}, "paper: a call's messages without secrets, as a ladder, a text or a capture"},
	{"appliance/tally", []string{"appliance"}, "paper: counts in bounded memory; the clock is an argument"},
	{"bpf", nil, "generated: no hand-written logic in Go"},
	{"appliance/gate", []string{"appliance", "appliance/feed", "appliance/rules", "bpf"}, "a hand: one way into the kernel's hook, and no other hand"},
	{"appliance/network", []string{"appliance"}, "a hand: links and ports"},
	{"appliance/names", []string{"appliance"}, "a hand: the DNS, and nothing of what its answers are for"},
	{"appliance/certificate", []string{"appliance"}, "a hand: the files of certificates, and nothing of who speaks with them"},
	{"appliance/fetch", []string{"appliance", "appliance/feed"}, "a hand: the web, and of feeds no more than how long one may be"},
	{"appliance/inspector/sdp", nil, "the inspector's own reading of session descriptions"},
	{"appliance/inspector", []string{"appliance", "appliance/audit", "appliance/document", "appliance/fraud", "appliance/rules", "appliance/settings", "appliance/trace", "appliance/inspector/message",
		"appliance/inspector/guard", "appliance/inspector/sdp", "appliance/inspector/transaction"},
		"a hand: knows no file and no map"},
	{"appliance/inspector/guard", []string{"appliance/document"}, "paper: counts in bounded memory; the clock and the thresholds are arguments"},
	{"appliance/inspector/message", []string{"appliance"}, "the inspector's own reading of SIP"},
	{"appliance/notify", []string{"appliance"}, "a hand: the mail, and nothing of what it tells of"},
	{"appliance/inspector/transaction", nil, "the machines of RFC 3261 section 17: pure state, the clock is an argument"},
	{"appliance/hep", []string{"appliance", "appliance/trace"}, "a hand: one collector, and nothing of where messages come from"},
	{"appliance/store", []string{"appliance"}, "a hand: documents are bytes to it"},
	{"appliance/control/api", []string{"appliance"}, "the wire: a client does not link the judge"},
	{"appliance/control", []string{"appliance", "appliance/document", "appliance/policy", "appliance/settings", "appliance/rules", "appliance/feed",
		"appliance/tally", "appliance/fraud", "appliance/audit", "appliance/trace", "appliance/control/api"}, "a head: asks for hands by interface"},
	{"appliance/watch", []string{"appliance", "appliance/rules", "appliance/feed", "appliance/fraud", "appliance/audit"}, "a head: runs the engine, and asks for hands by interface"},
	{"appliance/health", []string{"appliance"}, "a head: asks for hands by interface"},
	{"cmd/ringfenced", []string{"appliance", "appliance/rules", "appliance/control", "appliance/health", "appliance/gate",
		"appliance/network", "appliance/names", "appliance/fetch", "appliance/inspector", "appliance/hep", "appliance/store", "appliance/certificate", "appliance/settings", "appliance/fraud", "appliance/notify", "appliance/watch"}, "wires, and decides nothing"},
	{"cmd/ringfence", []string{"appliance", "appliance/trace", "appliance/control/api"}, "a client of the control API like any other"},
}

// tools may import whatever they measure; nothing on the device depends on
// them.
var tools = []string{"scripts/"}

// importers names the one package of each third-party module, and why there is
// such a module. A module that is no line here fails the test.
var importers = map[string]importer{
	"github.com/cilium/ebpf":          {[]string{"appliance/gate", "bpf"}, "loads and pins the XDP program; bpf is generated for it"},
	"github.com/vishvananda/netlink":  {[]string{"appliance/network", "appliance/gate"}, "links and addresses; in the gate clsact filters, where the kernel has no links for tc"},
	"github.com/google/nftables":      {[]string{"appliance/network"}, "the egress lock and transparent interception, written and read back in transactions"},
	"github.com/miekg/dns":            {[]string{"appliance/names"}, "the DNS on the wire: TTLs, SRV and CNAME chains, which package net does not show"},
	"modernc.org/sqlite":              {[]string{"appliance/store"}, "records, without CGO"},
	"github.com/nyaruka/phonenumbers": {[]string{"appliance/dialplan"}, "labels of numbers, which never decide"},
	"github.com/trustelem/zxcvbn":     {[]string{"appliance/audit"}, "the commonest passwords, by rank"},
	"github.com/wneessen/go-mail":     {[]string{"appliance/notify"}, "SMTP with TLS and its dialects of authentication"},
	"github.com/spf13/cobra":          {[]string{"cmd/ringfence"}, "the command line, its help and completion"},
	"github.com/spf13/pflag":          {[]string{"cmd/ringfence"}, "the flags of cobra, for the manual page"},
	"github.com/go-co-op/gocron/v2":   {[]string{"cmd/ringfenced"}, "jobs by the clock"},
	"golang.org/x/sync":               {[]string{"cmd/ringfenced"}, "errgroup: tasks that end together"},
	"golang.org/x/sys":                {nil, "the kernel's constants; every hand may need them"},
	"golang.org/x/text":               {[]string{"appliance/dialplan"}, "the language that labels are written in"},
}

// testers is the same for modules that only tests import, which never come onto
// the device.
var testers = map[string]importer{
	"github.com/emiago/sipgo": {[]string{"appliance/inspector", "appliance/inspector/message", "appliance/inspector/transaction"},
		"a second parser and a second set of transaction machines that ours are held against; at run time its machines cost a goroutine and a channel a response, an eighth of the daemon's time"},
	"github.com/getkin/kin-openapi":   {[]string{"appliance/control"}, "holds every answer against openapi.yaml"},
	"github.com/emersion/go-smtp":     {[]string{"appliance/notify", "cmd/ringfenced"}, "a real SMTP server to send mail to"},
	"github.com/emersion/go-sasl":     {[]string{"appliance/notify"}, "the passwords of that server"},
	"github.com/rogpeppe/go-internal": {[]string{"cmd/ringfence"}, "testscript: whole commands in txtar files"},
}

// importer is who may import a module, everybody where of is nil, and why there
// is such a module at all.
type importer struct {
	of  []string
	why string
}

type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	Module                             *struct{ Path string }
	Standard                           bool
}

// list asks the toolchain for every package of this module and what it takes to
// build and to test them.
func list(t *testing.T) map[string]listed {
	t.Helper()
	readTree(t)
	command := exec.Command("go", "list", "-deps", "-test",
		"-json=ImportPath,Imports,TestImports,XTestImports,Module,Standard", module+"...")
	var problems strings.Builder
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, problems.String())
	}
	packages := map[string]listed{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var one listed
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[one.ImportPath] = one
	}
}

// readTree lists every folder of ours, so that the test cache knows what the
// result depends on: it does not see what the go command reads.
func readTree(t *testing.T) {
	t.Helper()
	for _, top := range []string{"appliance", "bpf", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", "..", top), func(string, fs.DirEntry, error) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

func ours(packages map[string]listed) map[string]listed {
	out := map[string]listed{}
	for path, one := range packages {
		name, mine := strings.CutPrefix(path, module)
		isTool := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		isTest := strings.HasSuffix(name, ".test") || strings.Contains(name, " [") // built for a test
		if mine && !isTest && !slices.ContainsFunc(tools, isTool) {
			out[name] = one
		}
	}
	return out
}

func TestDepsPointDown(t *testing.T) {
	all := ours(list(t))
	for name, one := range all {
		at := slices.IndexFunc(law, func(line struct {
			of  string
			may []string
			why string
		}) bool {
			return line.of == name
		})
		if at < 0 {
			t.Errorf("%s has no place in the tree: add it to law, with the reason", name)
			continue
		}
		for _, path := range one.Imports {
			imported, mine := strings.CutPrefix(path, module)
			if mine && !slices.Contains(law[at].may, imported) {
				t.Errorf("%s imports %s, which it may not: %s", name, imported, law[at].why)
			}
		}
	}
	for _, line := range law {
		if _, found := all[line.of]; !found {
			t.Errorf("law speaks of %s, which there is not", line.of)
		}
	}
}

func TestDepsHaveOneImporter(t *testing.T) {
	packages := list(t)
	used := map[string]bool{}
	check := func(name, path string, tables ...map[string]importer) {
		third := packages[path]
		if third.Module == nil || third.Standard || strings.HasPrefix(path, module) {
			return
		}
		used[third.Module.Path] = true
		for _, table := range tables {
			line, known := table[third.Module.Path]
			if known && line.of != nil && !slices.Contains(line.of, name) {
				t.Errorf("%s imports %s, which is left to %s (%s)", name, third.Module.Path, strings.Join(line.of, " and "), line.why)
			}
			if known {
				return
			}
		}
		t.Errorf("%s imports %s: a new third-party module needs a line here, with the reason", name, third.Module.Path)
	}
	for name, one := range ours(packages) {
		for _, path := range one.Imports {
			check(name, path, importers)
		}
		// Tests may import siblings, but no module that the table does not name.
		for _, path := range slices.Concat(one.TestImports, one.XTestImports) {
			check(name, path, importers, testers)
		}
	}
	for _, table := range []map[string]importer{importers, testers} {
		for path := range table {
			if !used[path] {
				t.Errorf("nobody imports %s any more: take its line out", path)
			}
		}
	}
}
