package watch

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/fraud"
)

// tell passes a finding on: into the journal always, to people at once where that
// is worth their sleep, else with the next digest.
func (w *Watch) tell(f fraud.Finding) {
	verdict := appliance.Allow
	if f.Level == fraud.Critical && !f.Shadow {
		verdict = appliance.Block
	}
	message := f.Why
	if f.Shadow {
		message = "on trial, nothing was done: " + message
	}
	w.Report(appliance.Event{
		Time: f.At, Kind: appliance.EventFraud, Verdict: verdict, Reason: appliance.ReasonSuspicion, Subject: f.Subject.String(),
		Message: fmt.Sprintf("%s (%s): %s", f.Rule, f.Level, message),
	})
	switch {
	case f.Shadow:
	case f.Rule == fraud.RuleCredit:
		w.send(w.credit(f))
	case f.Rule == fraud.RuleHighRisk && f.Level == fraud.Warning:
		w.send(w.firstBlocked(f))
	}
}

// firstBlocked is the card of the first refused call: it may be a slip of the
// finger, and says how it is put right.
func (w *Watch) firstBlocked(f fraud.Finding) appliance.Notice {
	n := appliance.Notice{
		Kind: appliance.NoticeBlocked, Urgent: true, Title: "A call to " + f.Number + " was refused",
		Happened: []string{f.Why}, Done: []string{"The call was refused. Every other call works as before."},
		Next: []string{
			fmt.Sprintf("If nobody of yours dialled it, change the password of %s now: somebody else may have it.", f.Subject),
			fmt.Sprintf("If the call is wanted, somebody who may can release exactly this number on the box: ringfence calls release %s --for 15m", f.Call),
		},
	}
	if f.Misdial {
		n.Next = append([]string{"Without its international prefix this is a local number: dial it again without 0011, 00 or +."}, n.Next...)
	}
	return n
}

func (w *Watch) credit(f fraud.Finding) appliance.Notice {
	n := appliance.Notice{
		Kind: appliance.NoticeCredit, Urgent: true, Title: "A money limit is near", Happened: []string{f.Why},
		Done: []string{"Nothing yet: calls go on until the limit is used up."},
		Next: []string{"Look at the calls of the day: ringfence calls"},
	}
	if f.Level == fraud.Critical {
		n.Title = "A money limit is used up"
		n.Done = []string{"Calls that cost money were ended and are refused until the period is over. Emergency, internal and national calls work."}
		n.Next = append(n.Next, "If the calls were honest, raise the limit in the settings.")
	}
	return n
}

func (w *Watch) tellBlock(b fraud.Block) {
	w.journal(appliance.Block, b.Subject, fmt.Sprintf("toll-block entered by %s: %s", b.Owner, b.Why))
	n := appliance.Notice{
		Kind: appliance.NoticeTollBlock, Urgent: true, Title: fmt.Sprintf("Toll-block: calls abroad of the %s are blocked", b.Subject),
		Happened: []string{b.Why},
		Done: []string{
			"The scope of the block is " + strings.ReplaceAll(b.Scope.String(), "-", " ") + ". Calls under way that it covers were ended.",
			"Emergency, internal, national and inbound calls work as before.",
		},
		Next: []string{
			"Find out who made the calls. If nobody of yours did, a password is known to others.",
			"Give every extension a new, long password made by a machine; remove those that nobody uses.",
			"Then see what the box can verify by itself, and open the block: ringfence fraud checks " + b.Subject.Reference(),
		},
	}
	for _, f := range b.Evidence {
		if f.Why != b.Why && len(n.Happened) < 6 {
			n.Happened = append(n.Happened, f.At.Format("15:04:05 ")+f.Why)
		}
	}
	n.Details = details(b)
	w.send(n)
}

func (w *Watch) tellReopened(b fraud.Block) {
	w.journal(appliance.Allow, b.Subject, "toll-block left")
	w.send(appliance.Notice{
		Kind: appliance.NoticeReopened, Urgent: true, Title: fmt.Sprintf("Calls abroad of the %s work again", b.Subject),
		Happened: []string{"The toll-block of " + b.Since.Format("2 January 15:04") + " was left: " + b.Why}, Details: details(b),
	})
}

func details(b fraud.Block) json.RawMessage {
	data, err := json.Marshal(b)
	if err != nil {
		return nil // never: strings, numbers and times
	}
	return data
}

func (w *Watch) journal(verdict appliance.Verdict, of fraud.Subject, message string) {
	w.Report(appliance.Event{Time: w.Now().Wall, Kind: appliance.EventFraud, Verdict: verdict, Reason: appliance.ReasonTollBlock, Subject: of.String(), Message: message})
}

// send gives a notice an ID and hands it to the outbox.
func (w *Watch) send(n appliance.Notice) {
	at := w.Now()
	w.mu.Lock()
	w.notices++
	n.ID = fmt.Sprintf("%x-%x", at.Wall.UnixMilli(), w.notices)
	w.mu.Unlock()
	n.Time, n.Site = at.Wall, w.Site()
	if err := w.Messenger.Add(n); err != nil {
		w.log.Error("notice may be lost with the power", "notice", n.Title, "err", err)
	}
}

// Waiting counts the notices that are not delivered yet, by channel.
func (w *Watch) Waiting() map[string]int { return w.Messenger.Waiting() }

// SetSecret keeps a password or key that notices are sent with.
func (w *Watch) SetSecret(name, value string) error { return w.Messenger.SetSecret(name, value) }
