// Package watch runs the behaviour engine: it tells it what the inspector sees,
// carries out what it asks for, keeps what must outlive a restart, and tells
// people. It owns toll-blocks, releases, money and what is known of weak secrets.
//
// The package is a head: hands are asked for by interface.
package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Keeper keeps what must outlive a restart, whole or not at all.
type Keeper interface {
	// Kept hands the newest edition that accept takes to accept. err is
	// fs.ErrNotExist where there is none.
	Kept(name string, accept func([]byte) error) (note string, err error)
	Keep(name string, data []byte) error
}

// Messenger tells people. It must not block on the network.
type Messenger interface {
	Add(appliance.Notice) error
	// Waiting counts what is not delivered yet, by channel.
	Waiting() map[string]int
	// SetSecret keeps a password or key that notices are sent with.
	SetSecret(name, value string) error
}

// Cutter ends a live call on both sides.
type Cutter interface {
	// Cut ends the call of a record, for a reason that people read. It must not
	// wait for the far ends.
	Cut(id, why string) error
}

// Hands are the parts that a Watch asks for; all of them are there.
type Hands struct {
	Keeper    Keeper
	Messenger Messenger
	Cutter    Cutter
	// Rules returns the rules in force.
	Rules func() *rules.Rules
	// Site returns the name of the site.
	Site func() string
	// Now reads both clocks.
	Now func() fraud.Moment
	// Report hears what happened, and must not block.
	Report func(appliance.Event)
	// Facts are what the box can verify by itself before a block is left.
	Facts Facts
}

// Watch is the running engine. It is safe for concurrent use.
type Watch struct {
	Hands
	log    *slog.Logger
	engine *fraud.Engine
	weak   *weak

	mu        sync.Mutex
	digest    string // of the rules that the engine was configured by
	deck      fraud.Deck
	countries map[string]feed.Atlas // by registry
	notices   uint64
	digested  string // the day of the last digest
	opened    *bool  // within business hours, at the last look
	census    *fraud.Census
	counted   time.Duration // when the census was last kept
	failed    string        // why the last keeping failed; empty where it did not
	unkept    bool          // the toll-blocks in force are not those on the disk

	spentAt, keptAt uint64 // the engine's activity when that was kept; of keeping alone

	writing   sync.Mutex // of the toll-blocks
	importing sync.Mutex // of countries
	actions   chan []fraud.Action
	save      chan struct{}
}

// What is kept, by name.
const (
	keptBlocks   = "blocks"
	keptSnapshot = "behaviour"
	keptSpending = "spending"
	keptRates    = "rates"
	keptWeak     = "credentials"
	keptCensus   = "census"
)

// backlog is how many answers of the engine wait to be carried out.
const backlog = 4096

// New restores the engine. What can't be read is told and left aside: limits and
// rules are in force without a past, and blocks have a file of their own.
func New(hands Hands, log *slog.Logger) (*Watch, error) {
	w := &Watch{Hands: hands, log: log, actions: make(chan []fraud.Action, backlog), save: make(chan struct{}, 1), weak: newWeak(), census: fraud.NewCensus(),
		countries: make(map[string]feed.Atlas)}
	w.deck = w.loadRates()
	engine, err := fraud.New(w.config(), hands.Rules().Digest())
	if err != nil {
		return nil, fmt.Errorf("start fraud engine: %w", err)
	}
	w.engine, w.digest = engine, hands.Rules().Digest()
	w.restore()
	w.loadWeak()
	w.loadCountries()
	w.take(keptCensus, w.census.Restore)
	return w, nil
}

// config is the documents' word with the rate deck that was imported, where the
// policy leaves rates to the site.
func (w *Watch) config() fraud.Config {
	config := w.Rules().Fraud()
	if w.deck.Len() > 0 && w.Rules().OwnRates() {
		config.Deck = w.deck
	}
	return config
}

// current puts the rules in force into the engine where they have changed.
func (w *Watch) current() {
	w.mu.Lock()
	defer w.mu.Unlock()
	digest := w.Rules().Digest()
	if digest == w.digest {
		return
	}
	if err := w.engine.Configure(w.config(), digest); err != nil {
		w.log.Error("configure fraud engine", "err", err)
		return
	}
	w.digest = digest
}

func (w *Watch) restore() {
	var snapshot, spending []byte
	w.take(keptSnapshot, whole(&snapshot))
	w.take(keptSpending, whole(&spending))
	at := w.Now()
	if snapshot != nil || spending != nil {
		w.restoreCounts(at, snapshot, spending)
	}
	w.take(keptBlocks, func(data []byte) error { return w.engine.RestoreBlocks(data) })
}

// whole accepts JSON that is all there: else the edition before it has a chance.
func whole(into *[]byte) func([]byte) error {
	return func(data []byte) error {
		if !json.Valid(data) {
			return errors.New("it is damaged")
		}
		*into = data
		return nil
	}
}

// restoreCounts takes what can be read of the two: that one is damaged does not cost
// the other.
func (w *Watch) restoreCounts(at fraud.Moment, snapshot, spending []byte) {
	err := w.engine.Restore(at, snapshot, spending)
	if err == nil {
		return
	}
	w.trouble("not all that was counted before the restart can be read: " + err.Error())
	for _, part := range [][2][]byte{{snapshot, nil}, {nil, spending}} {
		if (part[0] != nil || part[1] != nil) && w.engine.Restore(at, part[0], part[1]) == nil {
			return
		}
	}
}

// take reads what is kept, and tells of what can't be read.
func (w *Watch) take(name string, accept func([]byte) error) {
	note, err := w.Keeper.Kept(name, accept)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.trouble(fmt.Sprintf("%s can't be read: %v", name, err))
	} else if note != "" {
		w.trouble(note)
	}
}

func (w *Watch) trouble(message string) {
	w.log.Error("fraud engine", "message", message)
	w.Report(appliance.Event{Time: w.Now().Wall, Kind: appliance.EventFraud, Subject: "fraud", Message: message})
}

// How often what is counted is written: money often, for that is what a power cut
// would give back.
const (
	spendingEvery = 10 * time.Second
	snapshotEvery = time.Minute
)

// tickEvery is how often live calls are judged. The engine looks a second ahead:
// what remains of it is the time in which many calls can be ended before their next
// pulse.
const tickEvery = 250 * time.Millisecond

// Run carries out what the engine asks for, lets it tick, and keeps what has
// changed, until ctx ends; then it keeps everything once more.
func (w *Watch) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	tasks.Go(func() { w.auditing(ctx) })
	tasks.Go(func() { w.keeping(ctx) })
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			w.drainActions()
			tasks.Wait()
			w.keepAll()
			return nil
		case actions := <-w.actions:
			w.carryOut(actions)
		case <-tick.C:
			w.current()
			w.carryOut(w.engine.Tick(w.Now()))
		}
	}
}

// keeping writes beside the calls: a flash that takes its time delays no cut.
func (w *Watch) keeping(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for seconds := 1; ; {
		select {
		case <-ctx.Done():
			return
		case <-w.save:
			w.keepBlocks()
			w.keepSnapshot()
		case <-tick.C:
			w.everySecond(seconds)
			seconds++
		}
	}
}

// everySecond keeps what has changed: a quiet night wears out no flash. Toll-blocks
// that a full disk had no room for come first.
func (w *Watch) everySecond(n int) {
	w.mu.Lock()
	unkept := w.unkept
	w.mu.Unlock()
	if unkept {
		w.keepBlocks()
	}
	now := w.engine.Activity()
	if n%int(spendingEvery/time.Second) == 0 && (now != w.spentAt || w.engine.Live() > 0) {
		w.keepSpending()
		w.spentAt = now
	}
	if n%int(snapshotEvery/time.Second) == 0 && now != w.keptAt {
		w.keepSnapshot()
		w.keptAt = now
	}
	if n%int(snapshotEvery/time.Second) == 0 {
		w.keepWeak()
	}
}

func (w *Watch) drainActions() {
	for {
		select {
		case actions := <-w.actions:
			w.carryOut(actions)
		default:
			return
		}
	}
}

// later has actions carried out off the path of the call. Blocks are kept at once:
// a power cut must not open them.
func (w *Watch) later(actions []fraud.Action) {
	if len(actions) == 0 {
		return
	}
	for _, action := range actions {
		if action.Kind == fraud.ActSave {
			w.keepBlocks()
			break
		}
	}
	select {
	case w.actions <- actions:
	default: // people hear less; calls are still ended
		for _, action := range actions {
			if action.Kind == fraud.ActCut {
				w.cut(action)
			}
		}
	}
}

func (w *Watch) carryOut(actions []fraud.Action) {
	for _, action := range actions {
		switch action.Kind {
		case fraud.ActCut:
			w.cut(action)
		case fraud.ActSave:
			select {
			case w.save <- struct{}{}:
			default:
			}
		case fraud.ActNotify:
			w.tell(action.Finding)
		case fraud.ActBlock:
			w.tellBlock(*action.Block)
		case fraud.ActReopen:
			w.tellReopened(*action.Block)
		}
	}
}

func (w *Watch) cut(action fraud.Action) {
	if err := w.Cutter.Cut(action.Call, action.Finding.Why); err != nil {
		w.trouble(fmt.Sprintf("call %s could not be ended: %v", action.Call, err))
	}
}

func (w *Watch) keepAll() {
	w.keepBlocks()
	w.keepSpending()
	w.keepSnapshot()
	w.keepWeak()
}

func (w *Watch) keepBlocks() {
	w.writing.Lock() // of two editions the later one is written last
	defer w.writing.Unlock()
	data, err := w.engine.KeptBlocks()
	written := w.kept(keptBlocks, data, err)
	w.mu.Lock()
	w.unkept = !written
	w.mu.Unlock()
}

func (w *Watch) keepSpending() {
	data, err := w.engine.Spending(w.Now())
	w.kept(keptSpending, data, err)
}

func (w *Watch) keepSnapshot() {
	data, err := w.engine.Snapshot(w.Now())
	w.kept(keptSnapshot, data, err)
}

// kept writes, and says once that it can't: everything stays in force from memory.
func (w *Watch) kept(name string, data []byte, err error) (written bool) {
	if err == nil {
		err = w.Keeper.Keep(name, data)
	}
	w.mu.Lock()
	before := w.failed
	switch {
	case err != nil:
		w.failed = name
	case before == name:
		w.failed = ""
	}
	w.mu.Unlock()
	if err != nil && before == "" {
		w.trouble(fmt.Sprintf("%s can't be written; limits and blocks are in force from memory until the power goes: %v", name, err))
	}
	return err == nil
}

// Trouble returns what keeps the watch from remembering, or "".
func (w *Watch) Trouble() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == "" {
		return ""
	}
	return w.failed + " can't be written"
}
