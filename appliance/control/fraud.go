package control

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/audit"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Watch is the running behaviour engine.
type Watch interface {
	Blocks() []fraud.Block
	Block(of fraud.Subject, scope fraud.Scope, by, why string) error
	// Checklist returns what must be shown before a block is left; an
	// appliance.Error of CodeNotFound where there is none.
	Checklist(of fraud.Subject) ([]fraud.Item, error)
	Reopen(of fraud.Subject, by string, words []fraud.Word) ([]fraud.Proof, error)
	Release(number, by string, d time.Duration) (fraud.Release, error)
	Withdraw(number string) error
	Releases() []fraud.Release
	// Findings returns the latest ones, oldest first.
	Findings() []fraud.Finding
	Weak() []audit.Finding
	// Census counts the extensions among accounts, and those that only the engine
	// knows; those with oddities come first.
	Census(accounts []appliance.Account) []fraud.Counted
	Spent() []fraud.Spent
	SetRates(csv []byte, currency string) (int, error)
	Rates() (prefixes int, currency string)
	// SetCountries puts the statistics of a registry in force, which tell the
	// country of addresses.
	SetCountries(statistics []byte) (feed.Atlas, error)
	ForgetCountries(registry string) error
	// Countries returns those in force, by registry.
	Countries() []feed.Atlas
	// Config is what the engine is told, with the deck in force.
	Config() fraud.Config
	TestNotice(by string)
	// Waiting counts the notices that are not delivered yet.
	Waiting() map[string]int
	// SetSecret keeps a secret that notices are sent with.
	SetSecret(name, value string) error
	Trouble() string
}

// Audits is the audit log.
type Audits interface {
	Audit(line appliance.Audit) error
	Audits(after uint64, limit int) (lines []appliance.Audit, broken string, err error)
}

// subjectOf reads site, extension:NAME or trunk:NAME; extension stands for account.
func subjectOf(text string) (fraud.Subject, error) {
	kind, name, _ := strings.Cut(text, ":")
	for _, one := range []fraud.Kind{fraud.Extension, fraud.Trunk} {
		if kind == one.String() && name != "" {
			return fraud.Subject{Kind: one, Name: name}, nil
		}
	}
	if text == "site" {
		return fraud.Subject{Kind: fraud.Site}, nil
	}
	return fraud.Subject{}, &appliance.Error{Code: appliance.CodeInvalid, Field: "subject", Message: "want site, extension:NAME or trunk:NAME"}
}

func (s *Server) getFraud(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	limit := in.limit(r)
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	config := s.watch.Config()
	now := s.control.now()
	out := api.Fraud{
		Blocks: []api.TollBlock{}, Releases: []api.Release{}, Credentials: []api.Credential{}, Spent: []api.Spent{}, Findings: []api.Finding{},
		Open: config.Hours.Open(now), Changes: config.Hours.Next(now), Trouble: s.watch.Trouble(), Waiting: s.watch.Waiting(),
	}
	for _, b := range s.watch.Blocks() {
		out.Blocks = append(out.Blocks, blockOf(b))
	}
	for _, one := range s.watch.Releases() {
		out.Releases = append(out.Releases, releaseOf(one))
	}
	for _, one := range s.watch.Weak() {
		out.Credentials = append(out.Credentials, api.Credential{Account: one.Account, Realm: one.Realm, Weak: one.Class != "", Class: string(one.Class), Why: one.Class.Sentence(), Tested: one.Tested, Since: one.Since})
	}
	for _, one := range s.watch.Spent() {
		out.Spent = append(out.Spent, api.Spent{Subject: one.Subject.Reference(), Per: one.Per.String(), Spent: one.Spent.String(), Limit: one.Limit.String()})
	}
	findings := s.watch.Findings()
	slices.Reverse(findings)
	out.Findings = findingsOf(findings[:min(limit, len(findings))])
	out.Rates, out.Currency = s.watch.Rates()
	out.Registries = []api.Registry{}
	for _, atlas := range s.watch.Countries() {
		out.Registries = append(out.Registries, registryOf(atlas))
	}
	return out, nil
}

func findingsOf(list []fraud.Finding) []api.Finding {
	out := []api.Finding{}
	for _, f := range list {
		out = append(out, api.Finding{At: f.At, Rule: string(f.Rule), Level: f.Level.String(), Shadow: f.Shadow, Subject: f.Subject.Reference(),
			Number: f.Number, Call: f.Call, Misdial: f.Misdial, Why: f.Why})
	}
	return out
}

func blockOf(b fraud.Block) api.TollBlock {
	return api.TollBlock{Subject: b.Subject.Reference(), Scope: b.Scope.String(), Rule: string(b.Rule), Why: b.Why, Owner: b.Owner, Since: b.Since, Policy: b.Policy,
		Evidence: findingsOf(b.Evidence)}
}

func releaseOf(one fraud.Release) api.Release {
	return api.Release{Number: one.Number, By: one.By, Since: one.Since, Until: one.Since.Add(one.For)}
}

func (s *Server) postBlock(_ http.ResponseWriter, r *http.Request) (any, error) {
	var body api.NewBlock
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	of, err := subjectOf(body.Subject)
	if err != nil {
		return nil, err
	}
	scope, known := fraud.ScopeNamed(cmp.Or(body.Scope, fraud.ScopePremium.String()))
	if !known {
		return nil, &appliance.Error{Code: appliance.CodeInvalid, Field: "scope", Message: "want international-and-premium, international or all-but-emergency-and-internal"}
	}
	if err := s.watch.Block(of, scope, body.By, body.Why); err != nil {
		return nil, err
	}
	s.audit(body.By, "block", body.Subject, body.Why)
	b, err := s.block(of)
	return blockOf(b), err
}

func (s *Server) block(of fraud.Subject) (fraud.Block, error) {
	for _, b := range s.watch.Blocks() {
		if b.Subject == of {
			return b, nil
		}
	}
	return fraud.Block{}, &appliance.Error{Code: appliance.CodeNotFound, Field: "subject", Message: "there is no toll-block of " + of.Reference()}
}

func (s *Server) getChecklist(_ http.ResponseWriter, r *http.Request) (any, error) {
	of, err := subjectOf(r.PathValue("subject"))
	if err != nil {
		return nil, err
	}
	b, err := s.block(of)
	if err != nil {
		return nil, err
	}
	items, err := s.watch.Checklist(of)
	out := api.Checklist{Block: blockOf(b), Checks: []api.Check{}}
	for _, one := range items {
		out.Checks = append(out.Checks, api.Check{Check: string(one.Check), Sentence: one.Sentence, Verified: one.Verified, Why: one.Why, Attestable: one.Attestable})
	}
	return out, err
}

func (s *Server) postReopen(_ http.ResponseWriter, r *http.Request) (any, error) {
	var body api.Reopen
	of, err := subjectOf(r.PathValue("subject"))
	if err != nil {
		return nil, err
	}
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	if strings.TrimSpace(body.By) == "" {
		return nil, &appliance.Error{Code: appliance.CodeInvalid, Field: "by", Message: "missing: a toll-block is left in somebody's name"}
	}
	words := make([]fraud.Word, len(body.Words))
	for i, one := range body.Words {
		words[i] = fraud.Word{Check: fraud.Check(one.Check), Why: one.Why}
	}
	proofs, err := s.watch.Reopen(of, body.By, words)
	if err != nil {
		return nil, err
	}
	out := api.Reopened{Subject: of.Reference(), Proofs: []api.Proof{}}
	for _, one := range proofs {
		out.Proofs = append(out.Proofs, api.Proof{Check: string(one.Check), Verified: one.Verified, By: one.By, Why: one.Why, At: one.At})
		how := "attested"
		if one.Verified {
			how = "verified by the box"
		}
		s.audit(body.By, "reopen", of.Reference(), fmt.Sprintf("%s, %s: %s", one.Check, how, one.Why))
	}
	return out, nil
}

// postRelease releases a number, or that of a refused call.
func (s *Server) postRelease(_ http.ResponseWriter, r *http.Request) (any, error) {
	var body api.NewRelease
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	if (body.Number == "") == (body.Call == "") {
		return nil, &appliance.Error{Code: appliance.CodeInvalid, Field: "number", Message: "want a number, or the ID of the call that was refused"}
	}
	if body.Call != "" {
		call, err := s.callNamed(r.Context(), body.Call)
		if err != nil {
			return nil, err
		}
		if body.Number = call.Number; call.Verdict != appliance.Block || !strings.HasPrefix(call.Number, "+") {
			return nil, &appliance.Error{Code: appliance.CodeInvalid, Field: "call", Message: "no number of that call was refused"}
		}
	}
	span := time.Duration(body.Seconds) * time.Second
	if body.Seconds == 0 {
		span = s.untilMidnight()
	}
	release, err := s.watch.Release(body.Number, body.By, span)
	if err != nil {
		return nil, err
	}
	s.audit(body.By, "release", body.Number, "for "+span.String())
	return releaseOf(release), nil
}

// untilMidnight is the rest of the site's day.
func (s *Server) untilMidnight() time.Duration {
	local := s.control.now().In(s.watch.Config().Hours.Zone)
	year, month, day := local.Date()
	return time.Date(year, month, day+1, 0, 0, 0, 0, local.Location()).Sub(local)
}

func (s *Server) deleteRelease(_ http.ResponseWriter, r *http.Request) (any, error) {
	number := r.PathValue("number")
	if err := s.watch.Withdraw(number); err != nil {
		return nil, err
	}
	s.audit("", "withdraw", number, "the release has ended")
	return api.Nothing{}, nil
}

func (s *Server) putRates(_ http.ResponseWriter, r *http.Request) (any, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	currency := r.URL.Query().Get("currency")
	prefixes, err := s.watch.SetRates(data, currency)
	if err != nil {
		return nil, err
	}
	s.audit("", "rates", currency, fmt.Sprintf("%d prefixes", prefixes))
	return api.Rates{Prefixes: prefixes, Currency: currency}, nil
}

func registryOf(atlas feed.Atlas) api.Registry {
	return api.Registry{Registry: atlas.Registry, Serial: atlas.Serial, Countries: len(atlas.Countries), Networks: atlas.Networks()}
}

func (s *Server) putCountries(_ http.ResponseWriter, r *http.Request) (any, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	atlas, err := s.watch.SetCountries(data)
	if err != nil {
		return nil, err
	}
	out := registryOf(atlas)
	s.audit("", "countries", out.Registry, fmt.Sprintf("serial %s: %d networks in %d countries", out.Serial, out.Networks, out.Countries))
	return out, nil
}

func (s *Server) deleteCountries(_ http.ResponseWriter, r *http.Request) (any, error) {
	registry := r.PathValue("registry")
	if err := s.watch.ForgetCountries(registry); err != nil {
		return nil, err
	}
	s.audit("", "countries", registry, "removed")
	return api.Nothing{}, nil
}

// postReplay runs a history through an engine of its own, told what the running one
// is told.
func (s *Server) postReplay(_ http.ResponseWriter, r *http.Request) (any, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	judge := s.control.Rules()
	rows, err := fraud.ParseHistory(bytes.NewReader(data), func(dialled string) fraud.Attempt {
		said := judge.Call(rules.Call{URI: dialled, Direction: appliance.Outbound, Use: rules.UseCall})
		return said.Attempt()
	})
	if err != nil {
		return nil, &appliance.Error{Code: appliance.CodeInvalid, Field: "history", Message: strings.TrimPrefix(err.Error(), "read history: ")}
	}
	config := s.watch.Config()
	report, err := fraud.Calibrate(config, rows)
	if err != nil {
		return nil, err
	}
	_, currency := s.watch.Rates()
	return reportOf(report, currency), nil
}

func reportOf(report fraud.Report, currency string) api.Report {
	out := api.Report{From: report.From, Until: report.Until, Calls: report.Calls, Rules: []api.RuleReport{}, Blocks: []api.TollBlock{},
		Refused: report.Refused, National: report.National, Spent: report.Spent.String(), Kept: report.Kept.String(), Currency: currency}
	for _, one := range report.Rules {
		out.Rules = append(out.Rules, api.RuleReport{Rule: string(one.Rule), Mode: one.Setting.Mode.String(), Warn: one.Setting.Warn, Critical: one.Setting.Critical,
			Warnings: one.Warnings, Stopped: findingsOf(one.Stopped), Sentence: one.Sentence()})
	}
	for _, b := range report.Blocks {
		out.Blocks = append(out.Blocks, blockOf(b))
	}
	return out
}

func (s *Server) postNotice(_ http.ResponseWriter, r *http.Request) (any, error) {
	var body api.Sender
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	s.watch.TestNotice(cmp.Or(body.By, "somebody"))
	return api.Nothing{}, nil
}

func (s *Server) putSecret(_ http.ResponseWriter, r *http.Request) (any, error) {
	var body api.Secret
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if err := s.watch.SetSecret(name, body.Value); err != nil {
		return nil, err
	}
	s.audit("", "secret", name, "a new value")
	return api.Nothing{}, nil
}

func (s *Server) getAudit(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in input
	after, limit := in.count(r, "after", 1<<62), in.limit(r)
	if err := in.mistakes.Or(); err != nil {
		return nil, err
	}
	lines, broken, err := s.control.audits.Audits(after, limit)
	return api.Audits{Lines: full(lines), Broken: broken}, err
}

// audit appends to the audit log. Whoever reaches the socket is root: that is the
// actor where nobody gives a name.
func (s *Server) audit(actor, action, subject, message string) {
	s.control.audit(cmp.Or(actor, "root"), action, subject, message)
}

func (c *Control) audit(actor, action, subject, message string) {
	err := c.audits.Audit(appliance.Audit{Time: c.now(), Actor: actor, Action: action, Subject: subject, Message: clip(message)})
	if err != nil {
		c.queue.unwritten.Add(1)
		c.log.Error("keep the audit log", "err", err)
	}
}
