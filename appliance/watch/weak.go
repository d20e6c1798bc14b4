package watch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/audit"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// weak is the audit of secrets: who was tested, and what came of it. Testing runs
// beside the calls, one at a time.
type weak struct {
	queue   chan tested
	mu      sync.Mutex
	limiter *audit.Limiter
	found   map[[2]string]audit.Finding
	dirty   bool
}

// tested is a response that waits for its test.
type tested struct {
	account string
	digest  audit.Digest
}

const maxCredentials = 4096

func newWeak() *weak {
	return &weak{queue: make(chan tested, 8), limiter: audit.NewLimiter(), found: make(map[[2]string]audit.Finding)}
}

// Accepted hears of a digest response of an account that the far end took. It is tested at most
// once an hour for each account, and later where many come at once: a phone system
// that restarts is no reason to fall behind with calls.
func (w *Watch) Accepted(account string, d audit.Digest) {
	if !d.Supported() || d.Username == "" {
		return
	}
	w.weak.mu.Lock()
	defer w.weak.mu.Unlock()
	if len(w.weak.queue) == cap(w.weak.queue) || !w.weak.limiter.May(account, d.Realm, w.Now().Up) {
		return
	}
	d.Body = slices.Clone(d.Body)
	w.weak.queue <- tested{account, d} // there is room: nobody else sends
}

func (w *Watch) auditing(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-w.weak.queue:
			w.test(one.account, one.digest)
		}
	}
}

// test runs the dictionary: some milliseconds of one core.
func (w *Watch) test(account string, d audit.Digest) {
	class, words, bad := d.Weak(audit.Words{Site: w.Site(), Others: []string{d.Realm}})
	now := w.Now().Wall
	key := [2]string{account, d.Realm}
	w.weak.mu.Lock()
	before, known := w.weak.found[key]
	one := audit.Finding{Account: account, Realm: d.Realm, Class: class, Words: words, Tested: now, Since: now}
	switch {
	case known && before.Class == class:
		one.Since, one.Was = before.Since, before.Was
	case known:
		one.Was = before.Class
	}
	if known || len(w.weak.found) < maxCredentials {
		w.weak.found[key] = one
		w.weak.dirty = true
	}
	w.weak.mu.Unlock()
	if !known || before.Class != class { // people are told once, whatever becomes of the power
		w.keepWeak()
		if bad {
			w.tellWeak(one)
		}
	}
}

func (w *Watch) tellWeak(one audit.Finding) {
	w.Report(appliance.Event{Time: one.Tested, Kind: appliance.EventFraud, Reason: appliance.ReasonSuspicion, Subject: one.Account,
		Message: fmt.Sprintf("weak password of %s at %s: %s", one.Account, one.Realm, one.Class.Sentence())})
	w.send(appliance.Notice{
		Kind: appliance.NoticeCredential, Urgent: true, Title: "The password of " + one.Account + " is weak",
		Happened: []string{fmt.Sprintf("%s at %s: %s. Whoever scans for it finds it within minutes.", one.Account, one.Realm, one.Class.Sentence())},
		Done:     []string{"The password was neither kept nor shown."},
		Next:     []string{"Set a new one that a machine has made, of 16 characters or more, on the phone system and on the phone."},
	})
}

// Weak returns the accounts whose secret is weak, by name.
func (w *Watch) Weak() []audit.Finding {
	return slices.DeleteFunc(w.Credentials(), func(one audit.Finding) bool { return one.Class == "" })
}

// Credentials returns every account that was tested, by name.
func (w *Watch) Credentials() []audit.Finding {
	w.weak.mu.Lock()
	defer w.weak.mu.Unlock()
	all := make([]audit.Finding, 0, len(w.weak.found))
	for _, one := range w.weak.found {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b audit.Finding) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Realm, b.Realm))
	})
	return all
}

// secret says what the audit can vouch for: that the account of a blocked extension
// answers with a secret that no dictionary holds, where it was a weak one before. Two
// responses to two challenges do not tell whether a secret has changed that was never
// known; and of a trunk or the site nobody knows whose secret it was.
func (w *Watch) secret(of fraud.Subject, since time.Time) (why string, verified bool) {
	why = "no secret of it was ever seen to be weak, so that the box can't tell whether it has changed"
	for _, one := range w.Credentials() {
		if of.Kind == fraud.Extension && one.Account != of.Name {
			continue
		}
		switch {
		case one.Class != "":
			return fmt.Sprintf("%s still answers with a weak password: %s", one.Account, one.Class.Sentence()), false
		case one.Was != "" && one.Since.After(since) && of.Kind == fraud.Extension:
			why, verified = fmt.Sprintf("%s answered at %s with a password that is none of %d words, and with a weak one before", one.Account, one.Tested.Format("15:04:05"), one.Words), true
		}
	}
	return why, verified
}

// retest lets the accounts of a subject be tested at once.
func (w *Watch) retest(of fraud.Subject) {
	w.weak.mu.Lock()
	defer w.weak.mu.Unlock()
	for key := range w.weak.found {
		if of.Kind != fraud.Extension || key[0] == of.Name {
			w.weak.limiter.Again(key[0], key[1])
		}
	}
}

func (w *Watch) keepWeak() {
	w.weak.mu.Lock()
	dirty := w.weak.dirty
	w.weak.dirty = false
	w.weak.mu.Unlock()
	if dirty {
		data, err := json.Marshal(w.Credentials())
		w.kept(keptWeak, data, err)
	}
}

func (w *Watch) loadWeak() {
	w.take(keptWeak, func(data []byte) error {
		var all []audit.Finding
		if err := json.Unmarshal(data, &all); err != nil {
			return fmt.Errorf("read credentials: %w", err)
		}
		for _, one := range all[:min(len(all), maxCredentials)] {
			w.weak.found[[2]string{one.Account, one.Realm}] = one
		}
		return nil
	})
}
