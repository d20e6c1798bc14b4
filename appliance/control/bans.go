package control

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/document"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Bounds of bans. maxBans is what the gate holds. A ban without an end would
// outlive whoever knows of it.
const (
	maxBans    = 65_536
	defaultBan = 24 * time.Hour
	longestBan = 365 * 24 * time.Hour
)

// bans are those that nobody has lifted; some may have ended.
type bans struct {
	list    map[netip.Prefix]appliance.Ban
	note    Note // where the stored list could not be used, or the gate takes none
	trouble error
	adopt   bool // the stored list is lost: what the gate holds is the list
	// appended counts the changes since the stored list was written.
	appended int
	// ended are bans that have ended and are on the stored list still.
	ended []banChange
}

// Ban shuts a source out, or sets another end and reason where it is already.
// The ban is in force and on disk when it returns without an error.
func (c *Control) Ban(item api.NewBan) (api.Banned, error) {
	ban, err := c.newBan(item)
	if err == nil {
		err = c.bannable(ban.Source)
	}
	if err != nil {
		c.refused(subjectBans, err)
		return api.Banned{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out := api.Banned{Ban: ban, Notes: []string{}}
	changes := []banChange{{Ban: &ban}}
	if _, known := c.bans.list[ban.Source]; !known && len(c.bans.list) >= maxBans {
		oldest := slices.MinFunc(slices.Collect(maps.Values(c.bans.list)), func(a, b appliance.Ban) int {
			return cmp.Or(a.Since.Compare(b.Since), a.Source.Compare(b.Source))
		})
		changes = []banChange{{Lift: oldest.Source}, {Ban: &ban}}
		out.Notes = append(out.Notes, fmt.Sprintf("the oldest ban, that of %s, has made room: there are at most %d", show(oldest.Source), maxBans))
	}
	if c.allowed(ban.Source) {
		out.Notes = append(out.Notes, fmt.Sprintf("%s is an allowed source, and shut out now all the same", show(ban.Source)))
	}
	if len(c.State().Settings.Network.WAN) == 0 {
		out.Notes = append(out.Notes, "no WAN interface is named: the ban waits for one")
	}
	if err := c.changeBans(changes...); err != nil {
		c.refused(subjectBans, err)
		return api.Banned{}, err
	}
	c.journal(appliance.Allow, subjectBans, fmt.Sprintf("%s is banned until %s: %s", show(ban.Source), ban.Until.Format(time.RFC3339), ban.Reason))
	return out, nil
}

// ShutOut is a ban that the inspector asks for. It shortens none that there is,
// and drives none out: where the table is full it is turned down. CodeForbidden
// says that no ban may touch the source.
func (c *Control) ShutOut(source netip.Prefix, until time.Time, why string) error {
	ban, err := c.newBan(api.NewBan{Source: source.String(), Until: until, Reason: clipTo(why, document.MaxReason)})
	if err == nil {
		err = c.bannable(ban.Source)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.bans.list[ban.Source]
	if known && !before.Until.Before(ban.Until) {
		return nil
	}
	if !known && len(c.bans.list) >= maxBans {
		return &appliance.Error{Code: appliance.CodeUnavailable, Field: "source", Message: fmt.Sprintf("there are %d bans already", maxBans)}
	}
	if err := c.changeBans(banChange{Ban: &ban}); err != nil {
		return err
	}
	c.journal(appliance.Allow, subjectBans, fmt.Sprintf("%s is banned until %s by the guard: %s", show(ban.Source), ban.Until.Format(time.RFC3339), ban.Reason))
	return nil
}

// clipTo cuts a text to so many characters.
func clipTo(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + ellipsis
	}
	return text
}

// Unban lifts a ban.
func (c *Control) Unban(address string) (api.Banned, error) {
	source, err := banSource(address)
	if err != nil {
		return api.Banned{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ban, found := c.bans.list[source]
	if !found || !ban.Until.After(c.now()) {
		return api.Banned{}, &appliance.Error{Code: appliance.CodeNotFound, Field: "source", Message: show(source) + " is not banned"}
	}
	if err := c.changeBans(banChange{Lift: source}); err != nil {
		return api.Banned{}, err
	}
	c.journal(appliance.Allow, subjectBans, "the ban of "+show(source)+" is lifted")
	return api.Banned{Ban: ban, Notes: []string{}}, nil
}

// Bans lists at most limit bans in force, the newest first, and counts all.
func (c *Control) Bans(limit int) api.Bans {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	out := api.Bans{Bans: []appliance.Ban{}}
	for _, ban := range c.bans.list {
		if ban.Until.After(now) {
			out.Bans = append(out.Bans, ban)
		}
	}
	slices.SortFunc(out.Bans, func(a, b appliance.Ban) int {
		return cmp.Or(b.Since.Compare(a.Since), a.Source.Compare(b.Source))
	})
	out.Total = len(out.Bans)
	out.Bans = out.Bans[:min(limit, out.Total)]
	return out
}

// newBan checks a wish.
func (c *Control) newBan(item api.NewBan) (appliance.Ban, error) {
	var in input
	var text document.Mistakes
	source, err := banSource(item.Source)
	if one, ok := errors.AsType[*appliance.Error](err); ok {
		in.mistakes = append(in.mistakes, one)
	}
	now := c.now()
	until := item.Until
	if until.IsZero() {
		until = now.Add(defaultBan)
	}
	if !until.After(now) {
		in.add("until", "the end has passed already")
	} else if until.Sub(now) > longestBan {
		in.add("until", "more than %d days away: what shall stay out for good belongs into a feed", longestBan/(24*time.Hour))
	}
	text.Text("reason", item.Reason, document.MaxReason)
	if list, ok := errors.AsType[appliance.Errors](text.Err()); ok {
		in.mistakes = append(in.mistakes, list...)
	}
	reason := item.Reason
	if reason == "" {
		reason = "by hand"
	}
	return appliance.Ban{Source: source, Since: now.UTC(), Until: until.UTC(), Reason: reason}, in.mistakes.Or()
}

// banSource reads what one attacker holds: an IPv4 address, or an IPv6 address
// for its /64. Such a network may be written as one, too.
func banSource(text string) (netip.Prefix, error) {
	wrong := func(format string, args ...any) (netip.Prefix, error) {
		return netip.Prefix{}, &appliance.Error{Code: appliance.CodeInvalid, Field: "source", Message: fmt.Sprintf(format, args...)}
	}
	addr, err := netip.ParseAddr(text)
	if prefix, asPrefix := netip.ParsePrefix(text); asPrefix == nil {
		addr, err = prefix.Addr(), nil
		if want := banBits(addr); prefix.Bits() != want && prefix.Bits() != addr.BitLen() {
			return wrong("%q: a ban is of one IPv4 address or one IPv6 /64; a wider network belongs into a feed", text)
		}
	}
	switch {
	case err != nil:
		return wrong("%q is not an address; write it like 203.0.113.7 or 2001:db8::7", text)
	case addr.Zone() != "" || addr.IsLinkLocalUnicast():
		return wrong("%s is link-local: it never comes from the internet", addr)
	case addr.Is4In6():
		return wrong("%s is an IPv4 address in IPv6 clothes; write it as %s", addr, addr.Unmap())
	case addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return wrong("%s is no host's address on the internet", addr)
	}
	return netip.PrefixFrom(addr, banBits(addr)).Masked(), nil
}

func banBits(addr netip.Addr) int {
	if addr.Is4() {
		return 32
	}
	return 64
}

// show writes an IPv4 source as a person knows it.
func show(source netip.Prefix) string {
	if source.IsSingleIP() {
		return source.Addr().String()
	}
	return source.String()
}

// bannable turns down what a ban must never shut out, or never could.
func (c *Control) bannable(source netip.Prefix) error {
	refuse := func(format string, args ...any) error {
		return &appliance.Error{Code: appliance.CodeForbidden, Field: "source", Message: fmt.Sprintf(format, args...)}
	}
	state := c.State()
	for i, lan := range state.Settings.Network.LAN {
		if lan.Overlaps(source) {
			return refuse("%s is on the LAN (settings network.lan[%d], %s), which no ban can shut out", show(source), i, lan)
		}
	}
	for _, one := range state.Rules.Guard().Sources {
		if one.Firm && one.Prefix.Overlaps(source) {
			return refuse("%s is an address of a provider or another source that the documents spare (%s): no ban touches it", show(source), show(one.Prefix))
		}
	}
	own, err := c.network.Own()
	if err != nil {
		return fmt.Errorf("read the box's own addresses: %w", err)
	}
	for _, addr := range own {
		if source.Contains(addr.Unmap().WithZone("")) {
			return refuse("%s holds the box's own address %s", show(source), addr)
		}
	}
	return nil
}

// allowed reports whether a source is let in by a document.
func (c *Control) allowed(source netip.Prefix) bool {
	inside := func(one rules.Source) bool { return one.Prefix.Overlaps(source) }
	return slices.ContainsFunc(c.State().Rules.Guard().Sources, inside)
}

// banChange is a new ban, or another end of one, or one that is lifted.
type banChange struct {
	Ban  *appliance.Ban `json:"ban,omitempty"`
	Lift netip.Prefix   `json:"lift,omitzero"`
}

func (b banChange) source() netip.Prefix {
	if b.Ban != nil {
		return b.Ban.Source
	}
	return b.Lift
}

func (b banChange) apply(to map[netip.Prefix]appliance.Ban) {
	if b.Ban != nil {
		to[b.Ban.Source] = *b.Ban
		return
	}
	delete(to, b.Lift)
}

// changeBans puts changes in force: at the gate, on disk, and then here. On an
// error all is as it was. The caller holds c.mu.
func (c *Control) changeBans(changes ...banChange) error {
	before, after := map[netip.Prefix]appliance.Ban{}, map[netip.Prefix]appliance.Ban{}
	for _, one := range changes {
		if ban, found := c.bans.list[one.source()]; found {
			before[ban.Source], after[ban.Source] = ban, ban
		}
	}
	for _, one := range changes {
		one.apply(after)
	}
	if err := c.moveBans(before, after); err != nil {
		c.returnBans(after, before)
		return fmt.Errorf("ban at the gate: %w", err)
	}
	if err := c.storeBans(changes); err != nil {
		c.returnBans(after, before)
		return fmt.Errorf("store the bans: %w", err)
	}
	for _, one := range changes {
		one.apply(c.bans.list)
	}
	c.compactBans()
	return nil
}

// moveBans has the gate go from one list to another, as far as it goes: what it
// does not take keeps no other attacker in.
func (c *Control) moveBans(from, to map[netip.Prefix]appliance.Ban) error {
	var problems []error
	for source := range from {
		if _, stays := to[source]; !stays {
			if err := c.gate.Unban(source); err != nil {
				problems = append(problems, err)
			}
		}
	}
	for source, ban := range to {
		if from[source] != ban {
			if err := c.gate.Ban(ban); err != nil {
				problems = append(problems, err)
			}
		}
	}
	return few(problems)
}

// returnBans takes a change back. Where the gate does not go along, Refresh brings
// it the list.
func (c *Control) returnBans(from, to map[netip.Prefix]appliance.Ban) {
	if err := c.moveBans(from, to); err != nil {
		c.bans.trouble = fmt.Errorf("take a change back: %w", err)
		c.log.Error("take a ban back", "err", err)
	}
}

// maxTold is how many errors of one kind are worth reading: a gate that takes no
// bans says so for each of 65,536.
const maxTold = 3

// few joins errors, and counts those beyond maxTold.
func few(problems []error) error {
	more := len(problems) - maxTold
	if more <= 0 {
		return errors.Join(problems...)
	}
	return errors.Join(append(problems[:maxTold:maxTold], fmt.Errorf("and %d more", more))...)
}

// endBans drops the bans whose time is up, so that the gate's table does not
// fill with them. The stored list drops them with the next change, or at the
// next start.
func (c *Control) endBans() {
	now := c.now()
	for source, ban := range c.bans.list {
		if ban.Until.After(now) {
			continue
		}
		if err := c.gate.Unban(source); err != nil {
			c.log.Error("end a ban", "source", source, "err", err)
			continue
		}
		delete(c.bans.list, source)
		c.bans.ended = append(c.bans.ended, banChange{Lift: source})
	}
}

// slack is how far the end of a ban at the gate, which counts by another clock,
// may be from the one that was asked for.
const slack = time.Minute

// bringBans has the gate hold the bans that it should, after it may have become
// another gate. Trouble is shown and tried again; the rules are in force.
func (c *Control) bringBans() {
	held, err := c.gate.Bans()
	if err != nil {
		c.bans.trouble = fmt.Errorf("read the bans back: %w", err)
		return
	}
	at := make(map[netip.Prefix]appliance.Ban, len(held))
	for _, ban := range held {
		at[ban.Source] = ban
	}
	if c.bans.adopt && len(at) > 0 {
		c.bans.list, c.bans.adopt = maps.Clone(at), false
		if err := c.lists.PutBans(encodeBans(at)); err != nil {
			c.log.Error("store the bans that the gate held", "err", err) // the next change stores them, too
		}
	}
	for source, ban := range c.bans.list {
		if off := at[source].Until.Sub(ban.Until).Abs(); off <= slack {
			at[source] = ban
		}
	}
	c.bans.trouble = c.moveBans(at, c.bans.list)
}
