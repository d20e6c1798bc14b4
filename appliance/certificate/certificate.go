// Package certificate owns the files that TLS is spoken with: the box's own
// certificate, those that it shows to providers, and the authorities that it
// believes. It reads them, follows their changes, and makes the box a certificate
// of its own where nobody gave it one.
//
// What can't be read is told, and what was read last stays: a file that is being
// replaced must not cost a call.
package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// Files are the PEM files of one identity. Each may be empty.
type Files struct {
	Certificate string // with its chain, the leaf first
	Key         string
	CA          string // whom to believe
}

// Own is the name under which Wanted and Set have the box's listeners.
const Own = ""

// Wanted are the files to read, by the name of what they are for: Own is the
// box's listeners, whose CA is that of clients.
type Wanted map[string]Files

// Identity is what the files of one name hold.
type Identity struct {
	Certificate *tls.Certificate // nil where no file is named, or none could be read yet; Leaf is set
	CAs         *x509.CertPool   // nil where no file is named; empty, which believes nobody, where none could be read yet
	// Trouble is why the files can't be used as they are now; nil where they can.
	// What was read before is still there, unless Lost says that nothing was.
	Trouble error
	Lost    bool
	Self    bool // the certificate is the box's own
}

// Set is what all files hold. It never changes.
type Set map[string]Identity

// Shelf keeps the box's own certificate over restarts.
type Shelf interface {
	// Identity hands what is kept to accept.
	Identity(accept func([]byte) error) (note string, err error)
	// PutIdentity keeps data, which holds a private key.
	PutIdentity(data []byte) error
}

// Config says what a Keeper works with. All of it is required.
type Config struct {
	Shelf     Shelf
	Now       func() time.Time
	Addresses func() ([]netip.Addr, error) // of the box, for its own certificate
}

// Keeper reads files and follows them. Its methods are safe for concurrent use.
type Keeper struct {
	config Config
	report func(appliance.Event)

	current atomic.Pointer[Set]
	mu      sync.Mutex // one reads at a time
	wanted  Wanted
	self    *tls.Certificate
	doubts  map[string]string // trouble that was seen once and not told yet
	told    map[string]string
}

// every is how long a changed file may wait.
const every = 5 * time.Second

// New returns a Keeper of no files. report is told of what changes, and of what
// can't be read.
func New(config Config, report func(appliance.Event)) *Keeper {
	k := &Keeper{config: config, report: report, doubts: map[string]string{}, told: map[string]string{}}
	k.current.Store(&Set{})
	return k
}

// Want says which files to read from now on, and reads them.
func (k *Keeper) Want(wanted Wanted) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !maps.Equal(k.wanted, wanted) {
		k.wanted = maps.Clone(wanted)
		k.read(true)
	}
}

// Reload reads every file now.
func (k *Keeper) Reload() Set {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read(true)
	return k.Current()
}

// Current returns what the files hold, as they were read last.
func (k *Keeper) Current() Set { return *k.current.Load() }

// Run follows the files until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			k.look()
		}
	}
}

// look reads the files again. Trouble is told when it is seen twice in a row: a
// certificate and its key are seldom replaced in one go.
func (k *Keeper) look() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read(false)
}

// read replaces the current set. certain trouble is told at once.
func (k *Keeper) read(certain bool) {
	before, next := k.Current(), Set{}
	for name, files := range k.wanted {
		next[name] = k.identity(name, files, before[name])
	}
	k.current.Store(&next)
	for name, one := range next {
		k.tell(name, one, before[name], certain)
	}
	for _, seen := range []map[string]string{k.doubts, k.told} {
		maps.DeleteFunc(seen, func(name, _ string) bool { _, wanted := next[name]; return !wanted })
	}
}

// identity reads the files of one name.
func (k *Keeper) identity(name string, files Files, before Identity) Identity {
	var out Identity
	var problems []string
	switch {
	case files.Certificate != "":
		pair, err := readPair(files.Certificate, files.Key)
		if err != nil {
			problems = append(problems, err.Error())
			pair, out.Self = before.Certificate, before.Self
			out.Lost = pair == nil
		}
		out.Certificate = same(pair, before.Certificate)
	case name == Own:
		pair, err := k.own()
		if err != nil {
			problems = append(problems, err.Error())
			out.Lost = pair == nil
		}
		out.Certificate, out.Self = pair, true
	}
	if files.CA != "" {
		pool, err := readCAs(files.CA)
		if err != nil {
			problems = append(problems, err.Error())
			if pool = before.CAs; pool == nil {
				pool = x509.NewCertPool()
			}
			out.Lost = out.Lost || pool.Equal(x509.NewCertPool())
		}
		out.CAs = pool
	}
	if len(problems) > 0 {
		out.Trouble = fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	return out
}

// same returns before where both are one certificate.
func same(now, before *tls.Certificate) *tls.Certificate {
	if now != nil && before != nil && slices.EqualFunc(now.Certificate, before.Certificate, bytes.Equal) {
		return before
	}
	return now
}

// tell reports what has changed about one name.
func (k *Keeper) tell(name string, now, before Identity, certain bool) {
	trouble := ""
	if now.Trouble != nil {
		trouble = now.Trouble.Error()
	}
	switch {
	case trouble != "" && (certain || k.doubts[name] == trouble):
		if k.told[name] != trouble {
			k.told[name] = trouble
			k.event(appliance.Block, name, trouble+keeping(now))
		}
	case trouble == "" && k.told[name] != "":
		delete(k.told, name)
		k.event(appliance.Allow, name, "the files can be used again")
	}
	k.doubts[name] = trouble
	if now.Certificate != nil && before.Certificate != nil && now.Certificate != before.Certificate {
		k.event(appliance.Allow, name, "another certificate is in use: "+Describe(now.Certificate))
	}
}

func keeping(now Identity) string {
	if now.Lost {
		return ""
	}
	return "; what was read before stays in use"
}

func (k *Keeper) event(verdict appliance.Verdict, name, message string) {
	k.report(appliance.Event{Time: k.config.Now(), Kind: appliance.EventDaemon, Verdict: verdict,
		Subject: subject(name), Message: "TLS " + whose(name) + ": " + message})
}

func subject(name string) string {
	if name == Own {
		return "tls"
	}
	return name
}

func whose(name string) string {
	if name == Own {
		return "of the listeners"
	}
	return "toward " + name
}

// soon is how long before its end a certificate is worth a word.
const soon = 21 * 24 * time.Hour

// Checks returns a finding for every name with a certificate or with trouble,
// as of now.
func (k *Keeper) Checks() []appliance.Check {
	set, now := k.Current(), k.config.Now()
	var out []appliance.Check
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if one, some := check(name, set[name], now); some {
			out = append(out, one)
		}
	}
	return out
}

func check(name string, one Identity, now time.Time) (appliance.Check, bool) {
	out := appliance.Check{Name: "tls", Level: appliance.Green}
	if name != Own {
		out.Name += " " + name
	}
	switch {
	case one.Lost:
		out.Level, out.Message = appliance.Red, one.Trouble.Error()
	case one.Trouble != nil:
		out.Level, out.Message = appliance.Amber, one.Trouble.Error()+keeping(one)
	case one.Certificate == nil:
		return out, false
	case !now.Before(one.Certificate.Leaf.NotAfter):
		out.Level, out.Message = appliance.Red, "the certificate has expired: "+Describe(one.Certificate)
	case now.Before(one.Certificate.Leaf.NotBefore):
		out.Level, out.Message = appliance.Red, "the certificate is not valid yet: "+Describe(one.Certificate)
	case one.Certificate.Leaf.NotAfter.Sub(now) < soon:
		out.Level, out.Message = appliance.Amber, "the certificate ends soon: "+Describe(one.Certificate)
	default:
		out.Message = Describe(one.Certificate)
		if one.Self {
			out.Message = "the box's own certificate: " + out.Message
		}
	}
	return out, true
}
