package api

import (
	"context"
	"net/url"
	"time"
)

// Oddity is something about an extension that a person should look at.
type Oddity struct {
	Kind string `json:"kind"` // new, woke, dormant, unused or guessable
	Why  string `json:"why"`  // one sentence
}

// Extension is one that was counted.
type Extension struct {
	Name       string    `json:"name"`
	Label      string    `json:"label,omitempty"`
	First      time.Time `json:"first,omitzero"`  // seen
	Last       time.Time `json:"last,omitzero"`   // seen
	Called     time.Time `json:"called,omitzero"` // latest call that it placed, as far as the box knows
	Registered bool      `json:"registered"`      // now
	Oddities   []Oddity  `json:"oddities"`
}

// Census is the answer to GET /census: those with oddities first, then by name.
type Census struct {
	Total      int         `json:"total"` // extensions; the list may be cut
	Odd        int         `json:"odd"`   // those with oddities
	Extensions []Extension `json:"extensions"`
}

// Census asks for the extensions, those first that a person should look at.
func (c *Client) Census(ctx context.Context, limit int) (Census, error) {
	query := url.Values{}
	setCount(query, "limit", int64(limit))
	return get[Census](ctx, c, "/census", query)
}
