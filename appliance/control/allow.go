package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Exceptions lists the destinations that the settings allow.
func (c *Control) Exceptions() api.Exceptions {
	out := api.Exceptions{Exceptions: []api.Exception{}}
	for _, one := range c.State().Settings.Destinations.Allow {
		out.Exceptions = append(out.Exceptions, api.Exception{
			Prefix: one.Prefix, Reason: one.Reason, Until: one.Until,
			Expired: !one.Until.IsZero() && !one.Until.After(c.now()),
		})
	}
	return out
}

// Allow adds one exception to the settings, or replaces that of the same
// prefix. It is a change like any other; error fields name the item's own
// ("prefix").
func (c *Control) Allow(item api.NewException) (api.Applied, error) {
	var in input
	if strings.TrimSpace(item.Reason) == "" {
		in.add("reason", "missing: whoever reads the list next wants to know why")
	}
	if !item.Until.IsZero() && !item.Until.After(c.now()) {
		in.add("until", "the end has passed already")
	}
	if err := in.mistakes.Or(); err != nil {
		return api.Applied{}, err
	}
	wanted := settings.Exception{Prefix: withPlus(item.Prefix), Reason: item.Reason, Until: item.Until}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := 0
	applied, err := c.settle(appliance.DocumentSettings, "", func(next *State) error {
		list := slices.Clone(next.Settings.Destinations.Allow)
		at = slices.IndexFunc(list, func(one settings.Exception) bool { return one.Prefix == wanted.Prefix })
		if at < 0 {
			at = len(list)
			list = append(list, wanted)
		}
		list[at] = wanted
		return next.setAllow(list)
	})
	return applied, ofItem(err, at)
}

// Disallow removes the exception of a prefix.
func (c *Control) Disallow(prefix string) (api.Applied, error) {
	prefix = withPlus(prefix)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settle(appliance.DocumentSettings, "", func(next *State) error {
		list := slices.Clone(next.Settings.Destinations.Allow)
		kept := slices.DeleteFunc(list, func(one settings.Exception) bool { return one.Prefix == prefix })
		if len(kept) == len(next.Settings.Destinations.Allow) {
			return &appliance.Error{Code: appliance.CodeNotFound, Field: "prefix", Message: fmt.Sprintf("no exception allows %s", prefix)}
		}
		return next.setAllow(kept)
	})
}

// setAllow goes through the document's own decoder, so that no other way in is
// less strict.
func (s *State) setAllow(list []settings.Exception) error {
	s.Settings.Destinations.Allow = list
	checked, err := settings.Decode(settings.Encode(s.Settings))
	s.Settings = checked
	return err
}

// withPlus lets a person leave the plus out.
func withPlus(prefix string) string {
	if prefix != "" && !strings.HasPrefix(prefix, "+") {
		return "+" + prefix
	}
	return prefix
}

// ofItem shortens the path of fields inside the item at hand, whose place in
// the document its author has never seen.
func ofItem(err error, at int) error {
	var list appliance.Errors
	if !errors.As(err, &list) {
		return err
	}
	inside := fmt.Sprintf("destinations.allow[%d].", at)
	out := make(appliance.Errors, len(list))
	for i, one := range list {
		mine := *one
		mine.Field = strings.TrimPrefix(mine.Field, inside)
		out[i] = &mine
	}
	return out
}
