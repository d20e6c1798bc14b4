package api

import (
	"context"

	"github.com/ringfence/ringfence/appliance"
)

// EachCall hands every record that the filter selects to do, newest first, page by
// page: Limit bounds all of them, 0 none. Records that arrive meanwhile are not
// among them. It ends with the first error.
func (c *Client) EachCall(ctx context.Context, filter appliance.CallFilter, do func(appliance.Call) error) error {
	return pages(filter.Limit, func(limit int) (int, error) {
		filter.Limit = limit
		answer, err := c.Calls(ctx, filter)
		if err != nil {
			return 0, err
		}
		for _, call := range answer.Calls {
			filter.Before, filter.BeforeID = call.Start, call.ID
			if err := do(call); err != nil {
				return 0, err
			}
		}
		return len(answer.Calls), nil
	})
}

// EachEvent does the same for the journal.
func (c *Client) EachEvent(ctx context.Context, filter appliance.EventFilter, do func(appliance.Entry) error) error {
	return pages(filter.Limit, func(limit int) (int, error) {
		filter.Limit = limit
		answer, err := c.Events(ctx, filter)
		if err != nil {
			return 0, err
		}
		for _, entry := range answer.Events {
			filter.Before = entry.Seq
			if err := do(entry); err != nil {
				return 0, err
			}
		}
		return len(answer.Events), nil
	})
}

// EachAudit hands every line of the audit log after a seq to do, oldest first, and
// returns why the chain does not hold; empty where it does.
func (c *Client) EachAudit(ctx context.Context, after uint64, limit int, do func(appliance.Audit) error) (broken string, err error) {
	err = pages(limit, func(limit int) (int, error) {
		answer, err := c.Audit(ctx, after, limit)
		if err != nil {
			return 0, err
		}
		broken = answer.Broken
		for _, line := range answer.Lines {
			after = line.Seq
			if err := do(line); err != nil {
				return 0, err
			}
		}
		return len(answer.Lines), nil
	})
	return broken, err
}

// pages asks for one page after the other, until one is not full or limit entries
// have come; 0 means no limit.
func pages(limit int, page func(limit int) (int, error)) error {
	if limit < 0 {
		return &appliance.Error{Code: appliance.CodeInvalid, Field: "limit", Message: "want a number from 0 on"}
	}
	for left := limit; limit == 0 || left > 0; {
		want := MaxLimit
		if limit > 0 {
			want = min(left, MaxLimit)
		}
		got, err := page(want)
		if err != nil || got < want {
			return err
		}
		left -= got
	}
	return nil
}
