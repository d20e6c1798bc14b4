package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/document"
)

// storeBans appends changes to the journal of the stored list, in one line: all of
// them are kept or none. Where there is no sound list to follow, it writes one.
func (c *Control) storeBans(changes []banChange) error {
	if c.bans.note != (Note{}) || c.bans.adopt {
		next := maps.Clone(c.bans.list)
		for _, one := range changes {
			one.apply(next)
		}
		if err := c.lists.PutBans(encodeBans(next)); err != nil {
			return err
		}
		c.bans.note, c.bans.adopt, c.bans.appended, c.bans.ended = Note{}, false, 0, nil
		return nil
	}
	line, err := json.Marshal(slices.Concat(c.bans.ended, changes))
	if err == nil {
		err = c.lists.AppendBan(line)
	}
	if err == nil {
		c.bans.appended, c.bans.ended = c.bans.appended+1, nil
	}
	return err
}

// leastAppended is how many changes are worth a new list at least.
const leastAppended = 1024

// compactBans writes the list anew where its journal is longer than it is worth.
// Where the disk does not take it the journal goes on.
func (c *Control) compactBans() {
	if c.bans.appended < max(leastAppended, len(c.bans.list)/2) {
		return
	}
	c.bans.appended, c.bans.ended = 0, nil
	if err := c.lists.PutBans(encodeBans(c.bans.list)); err != nil {
		c.log.Error("write the list of bans anew", "err", err)
	}
}

// loadBans reads the stored list.
func (c *Control) loadBans() bans {
	var out bans
	accept := func(data []byte) (err error) {
		out.list, err = decodeBans(data, c.now())
		return err
	}
	note, err := c.lists.Bans(accept, func(line []byte) error {
		if out.list == nil {
			out.list = map[netip.Prefix]appliance.Ban{}
		}
		out.appended++
		return replayBans(line, out.list, c.now())
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out.adopt = true // a new box, whose gate holds none, or a list that was lost
	case err != nil:
		out.adopt = true
		out.note = Note{appliance.Amber, fmt.Sprintf("the stored list can't be used, and what the gate held is kept: %v", err)}
	case note != "":
		out.note = Note{appliance.Amber, note}
	}
	if out.list == nil {
		out.list = map[netip.Prefix]appliance.Ban{}
	}
	if out.note.Message != "" {
		c.log.Error("bans can't be used", "why", out.note.Message)
	}
	return out
}

// storedBans is the list on disk.
type storedBans struct {
	Schema int             `json:"schema"`
	Bans   []appliance.Ban `json:"bans"`
}

func encodeBans(list map[netip.Prefix]appliance.Ban) []byte {
	stored := storedBans{Schema: 1, Bans: slices.Collect(maps.Values(list))}
	slices.SortFunc(stored.Bans, func(a, b appliance.Ban) int { return a.Source.Compare(b.Source) })
	return document.Write(stored)
}

// decodeBans reads the list on disk without the bans that have ended, or refuses
// it whole.
func decodeBans(data []byte, now time.Time) (map[netip.Prefix]appliance.Ban, error) {
	var stored storedBans
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&stored); err != nil {
		return nil, fmt.Errorf("decode bans: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode bans: something follows the list")
	}
	if stored.Schema != 1 || len(stored.Bans) > maxBans {
		return nil, fmt.Errorf("decode bans: schema %d with %d bans; want schema 1 with at most %d", stored.Schema, len(stored.Bans), maxBans)
	}
	out := make(map[netip.Prefix]appliance.Ban, len(stored.Bans))
	for i, ban := range stored.Bans {
		if source, err := banSource(ban.Source.String()); err != nil || source != ban.Source {
			return nil, fmt.Errorf("decode bans: entry %d: %s is no source of a ban", i, ban.Source)
		}
		if ban.Until.After(now) {
			out[ban.Source] = ban
		}
	}
	return out, nil
}

// replayBans applies one line of the journal, or refuses it whole.
func replayBans(line []byte, list map[netip.Prefix]appliance.Ban, now time.Time) error {
	var changes []banChange
	if err := json.Unmarshal(line, &changes); err != nil {
		return fmt.Errorf("decode change of bans: %w", err)
	}
	for _, one := range changes {
		if source, err := banSource(one.source().String()); err != nil || source != one.source() {
			return fmt.Errorf("decode change of bans: %s is no source of a ban", one.source())
		}
	}
	for _, one := range changes {
		one.apply(list)
		if one.Ban != nil && !one.Ban.Until.After(now) {
			delete(list, one.Ban.Source)
		}
	}
	return nil
}
