package inspector

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/inspector/guard"
	"github.com/ringfence/ringfence/appliance/rules"
)

// ShutOut has the perimeter keep a source out until a moment, and returns once
// that is so. An error with appliance.CodeForbidden says that no ban may touch the
// source; any other, that it has to be tried again.
type ShutOut func(source netip.Prefix, until time.Time, why string) error

// Watch is what the inspector knows of those who use it: the accounts that it
// learned, and what the guard counts. It outlives an inspector, whose sockets
// change with the settings. It is safe for concurrent use.
type Watch struct {
	current  func() *rules.Rules
	report   func(appliance.Event)
	shutOut  ShutOut
	now      func() time.Time
	guard    *guard.Guard
	accounts *accounts
	bans     chan guard.Finding
	bindings atomic.Pointer[bindings] // of the inspector that runs, or ran last

	restored atomic.Pointer[[]keptBinding] // until there is one
}

// waitingBans is how many bans may wait for the perimeter. What finds no room
// stays shut out by the inspector alone.
const waitingBans = 256

// NewWatch returns a watch that knows nobody. The error is for a missing argument.
func NewWatch(current func() *rules.Rules, report func(appliance.Event), shutOut ShutOut, now func() time.Time) (*Watch, error) {
	if current == nil || report == nil || shutOut == nil || now == nil {
		return nil, errors.New("build watch: rules, report, bans and clock are required")
	}
	return &Watch{current: current, report: report, shutOut: shutOut, now: now, guard: guard.New(), accounts: newAccounts(),
		bans: make(chan guard.Finding, waitingBans)}, nil
}

// banTries is how often a ban is tried, and banPause how long is waited between.
const (
	banTries = 3
	banPause = 2 * time.Second
)

// spareFor is how long the guard believes that no ban may touch a source: the
// documents may change.
const spareFor = time.Hour

// Run hands bans to the perimeter until ctx ends, and then returns nil.
func (w *Watch) Run(ctx context.Context) error {
	for {
		select {
		case found := <-w.bans:
			w.ban(ctx, found)
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *Watch) ban(ctx context.Context, found guard.Finding) {
	var err error
	for try := range banTries {
		if try > 0 {
			select {
			case <-time.After(banPause):
			case <-ctx.Done():
				return
			}
		}
		if err = w.shutOut(found.Source, found.Until, found.Why); err == nil {
			return // whoever keeps the bans tells of it
		}
		if code := appliance.CodeOf(err); code == appliance.CodeForbidden || code == appliance.CodeInvalid {
			now := w.now()
			w.guard.Spare(found.Source, now, now.Add(spareFor))
			w.tell(found.Source, fmt.Sprintf("%s: not banned: %v", found.Why, err))
			return
		}
	}
	w.tell(found.Source, fmt.Sprintf("%s: the perimeter takes no ban, the inspector alone keeps it out: %v", found.Why, err))
}

// found does what a finding asks for.
func (w *Watch) found(found *guard.Finding) {
	switch {
	case found == nil:
	case found.Ban:
		select {
		case w.bans <- *found:
		default:
			w.tell(found.Source, found.Why+": too many bans wait, the inspector alone keeps it out")
		}
	default:
		w.tell(found.Source, found.Why)
	}
}

func (w *Watch) tell(source netip.Prefix, message string) {
	w.report(appliance.Event{
		Time: w.now(), Kind: appliance.EventGuard, Reason: appliance.ReasonScanner, Source: netip.AddrPortFrom(source.Addr(), 0),
		Subject: showBlock(source), Message: message,
	})
}

func showBlock(source netip.Prefix) string {
	if source.IsSingleIP() {
		return source.Addr().String()
	}
	return source.String()
}

// Pardon forgets what is held against a source: its ban was lifted.
func (w *Watch) Pardon(source netip.Prefix) { w.guard.Pardon(source) }

// Suspects returns the sources that anything is held against, the worst first, at
// most limit of them, and how many there are.
func (w *Watch) Suspects(limit int) ([]appliance.Suspect, int) {
	limits := w.limits()
	views, total := w.guard.Views(limits, w.now(), limit)
	out := make([]appliance.Suspect, 0, len(views))
	for _, one := range views {
		out = append(out, appliance.Suspect{
			Source: one.Source, Seen: one.Seen, State: string(one.State), Until: one.Until, Why: one.Why,
			Accounts: one.Accounts, MaxAccounts: limits.Accounts, Guesses: one.Guesses, MaxGuesses: limits.Guesses,
			Window: int(limits.Window / time.Second), Slowed: append([]string{}, one.Slowed...), Bans: one.Level, Proven: one.Proven, Reliable: one.Reliable,
		})
	}
	return out, total
}

// limits are the thresholds in force. Rules that were never compiled have none.
func (w *Watch) limits() document.Guard {
	if in := w.current().SIP().Guard; in.Accounts > 0 {
		return in
	}
	return document.BuiltinGuard()
}

// Accounts returns every account, by name: those that were learned, and those that
// a document names.
func (w *Watch) Accounts() []appliance.Account {
	out, now := w.accounts.list(), w.now()
	sip := w.current().SIP()
	for _, named := range sip.Accounts {
		known := false
		for n := range out {
			if names(named, out[n].Name) {
				out[n].Label, out[n].Allowed, known = named.Label, sourcesOf(named), true
			}
		}
		if !known {
			out = append(out, appliance.Account{Name: named.User, Label: named.Label, Kind: appliance.AccountExtension, Allowed: sourcesOf(named)})
		}
	}
	held := w.bindings.Load()
	for n := range out {
		out[n].Allowed, out[n].Sources = append([]string{}, out[n].Allowed...), append([]appliance.AccountSource{}, out[n].Sources...)
		out[n].Registrations = held.of(out[n].Name, now)
	}
	slices.SortFunc(out, func(a, b appliance.Account) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func sourcesOf(account document.Account) []string {
	return document.RawAccounts([]document.Account{account})[0].Sources
}

// names reports whether a document's account is the one of that name: "101" is
// that of every registrar.
func names(account document.Account, name string) bool {
	if strings.Contains(account.User, "@") {
		return strings.EqualFold(account.User, name)
	}
	user, _, _ := strings.Cut(name, "@")
	return strings.EqualFold(account.User, user)
}

// remembered is what a restart must not lose.
type remembered struct {
	Schema   int                 `json:"schema"`
	Accounts []appliance.Account `json:"accounts"`
	Guard    guard.Memory        `json:"guard"`
	Bindings []keptBinding       `json:"bindings,omitempty"`
}

const keptSchema = 1

// Memory returns what a restart must not lose, for Restore.
func (w *Watch) Memory() ([]byte, error) {
	now := w.now()
	w.accounts.expire(now)
	all := remembered{Schema: keptSchema, Accounts: w.accounts.list(), Guard: w.guard.Memory(now), Bindings: w.registrations(now)}
	data, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("encode accounts: %w", err)
	}
	return data, nil
}

// registrations are those in force, or those that were before the restart where no
// inspector has listened since.
func (w *Watch) registrations(now time.Time) []keptBinding {
	if held := w.bindings.Load(); held != nil {
		return held.kept(now)
	}
	if restored := w.restored.Load(); restored != nil {
		return *restored
	}
	return nil
}

// Restore takes back what Memory gave, all of it or, on an error, nothing.
func (w *Watch) Restore(data []byte) error {
	var all remembered
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&all); err != nil {
		return fmt.Errorf("decode accounts: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("decode accounts: something follows")
	}
	if all.Schema != keptSchema {
		return fmt.Errorf("decode accounts: schema %d; want %d", all.Schema, keptSchema)
	}
	w.accounts.restore(all.Accounts)
	w.restored.Store(&all.Bindings)
	w.guard.Restore(all.Guard, w.now())
	return nil
}
