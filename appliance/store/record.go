package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// pruneEvery is how many rows may arrive before the row bound is enforced: the
// database never holds more than Retention.Rows plus this of one sort.
const pruneEvery = 1024

const upsertCall = `INSERT INTO calls (id, start, verdict, record) VALUES (?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET start = excluded.start, verdict = excluded.verdict, record = excluded.record`

// Append writes a batch in one transaction: all of it or, on an error, none. A
// call replaces the record of the same ID; events are added to the journal in
// the order given.
func (s *Store) Append(calls []appliance.Call, events []appliance.Event) error {
	s.write.Lock()
	defer s.write.Unlock()
	err := s.withDatabase(func(db *database) error {
		return transaction(db.writer, func(tx *sql.Tx) error {
			if err := appendCalls(tx, calls); err != nil {
				return err
			}
			return appendEvents(tx, events)
		})
	})
	if err != nil {
		return fmt.Errorf("append records: %w", err)
	}
	if s.appended += len(calls) + len(events); s.appended >= pruneEvery {
		return s.prune(time.Time{})
	}
	return nil
}

func appendCalls(tx *sql.Tx, calls []appliance.Call) error {
	for _, call := range calls {
		record, err := json.Marshal(call)
		if err != nil {
			return fmt.Errorf("encode call %s: %w", call.ID, err)
		}
		if _, err := tx.Exec(upsertCall, call.ID, call.Start.UnixNano(), int64(call.Verdict), string(record)); err != nil {
			return err
		}
	}
	return nil
}

func appendEvents(tx *sql.Tx, events []appliance.Event) error {
	for _, event := range events {
		record, err := json.Marshal(event)
		if err != nil {
			return fmt.Errorf("encode %s event: %w", event.Kind, err)
		}
		const insert = "INSERT INTO journal (time, kind, event) VALUES (?, ?, ?)"
		if _, err := tx.Exec(insert, event.Time.UnixNano(), string(event.Kind), string(record)); err != nil {
			return err
		}
	}
	return nil
}

// Calls returns the records that the filter selects, newest start first.
func (s *Store) Calls(ctx context.Context, filter appliance.CallFilter) ([]appliance.Call, error) {
	var where clauses
	if filter.ID != "" {
		where.add("substr(id, 1, ?) = ?", len(filter.ID), filter.ID)
	}
	if !filter.Since.IsZero() {
		where.add("start >= ?", filter.Since.UnixNano())
	}
	if filter.Verdict != nil {
		where.add("verdict = ?", int64(*filter.Verdict))
	}
	calls, err := query(ctx, s, where.statement("record", "calls", "start DESC, seq DESC", filter.Limit), where.args,
		func(rows *sql.Rows) (call appliance.Call, err error) { return call, scanJSON(rows, &call) })
	if err != nil {
		return nil, fmt.Errorf("read calls: %w", err)
	}
	return calls, nil
}

// Events returns the journal entries that the filter selects, newest first.
func (s *Store) Events(ctx context.Context, filter appliance.EventFilter) ([]appliance.Entry, error) {
	var where clauses
	if filter.After > 0 {
		where.add("seq > ?", filter.After)
	}
	if !filter.Since.IsZero() {
		where.add("time >= ?", filter.Since.UnixNano())
	}
	if filter.Kind != "" {
		where.add("kind = ?", string(filter.Kind))
	}
	entries, err := query(ctx, s, where.statement("seq, event", "journal", "seq DESC", filter.Limit), where.args,
		func(rows *sql.Rows) (entry appliance.Entry, err error) {
			return entry, scanJSON(rows, &entry.Event, &entry.Seq)
		})
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return entries, nil
}

// clauses collects the conditions of one query with their arguments.
type clauses struct {
	conditions []string
	args       []any
}

func (c *clauses) add(condition string, args ...any) {
	c.conditions = append(c.conditions, condition)
	c.args = append(c.args, args...)
}

func (c *clauses) statement(columns, table, order string, limit int) string {
	text := "SELECT " + columns + " FROM " + table
	if len(c.conditions) > 0 {
		text += " WHERE " + strings.Join(c.conditions, " AND ")
	}
	text += " ORDER BY " + order
	if limit > 0 {
		c.args = append(c.args, limit)
		text += " LIMIT ?"
	}
	return text
}

func query[T any](ctx context.Context, s *Store, statement string, args []any, scan func(*sql.Rows) (T, error)) ([]T, error) {
	var out []T
	err := s.withDatabase(func(db *database) error {
		out = nil
		rows, err := db.reader.QueryContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			one, err := scan(rows)
			if err != nil {
				return err
			}
			out = append(out, one)
		}
		return rows.Err()
	})
	return out, err
}

// scanJSON scans the columns before into their places and the last column, a
// JSON text, into value.
func scanJSON(rows *sql.Rows, value any, before ...any) error {
	var text []byte
	if err := rows.Scan(append(before, &text)...); err != nil {
		return err
	}
	return json.Unmarshal(text, value)
}

// Prune forgets what the retention no longer covers and gives the space back.
func (s *Store) Prune() error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.prune(s.now().Add(-s.keep.Age))
}

// prune forgets rows above the row bound, and those before the given time
// unless it is zero. The caller holds s.write.
func (s *Store) prune(before time.Time) error {
	err := s.withDatabase(func(db *database) error {
		if err := transaction(db.writer, func(tx *sql.Tx) error { return forget(tx, s.keep.Rows, before) }); err != nil {
			return err
		}
		_, err := db.writer.Exec("PRAGMA incremental_vacuum")
		return err
	})
	if err != nil {
		return fmt.Errorf("prune records: %w", err)
	}
	s.appended = 0
	return nil
}

// forget counts rows by order of arrival and not by time: a clock that jumps
// must not make the bound useless. Journal entries are counted kind by kind, so
// that a flood of one kind never drives out another.
func forget(tx *sql.Tx, rows int, before time.Time) error {
	const oldCalls = "DELETE FROM calls WHERE seq <= (SELECT seq FROM calls ORDER BY seq DESC LIMIT 1 OFFSET ?)"
	if _, err := tx.Exec(oldCalls, rows); err != nil {
		return err
	}
	for _, kind := range appliance.EventKinds() {
		const oldEvents = `DELETE FROM journal WHERE kind = ?1 AND seq <= (
			SELECT seq FROM journal WHERE kind = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)`
		if _, err := tx.Exec(oldEvents, string(kind), rows); err != nil {
			return err
		}
	}
	if before.IsZero() {
		return nil
	}
	if _, err := tx.Exec("DELETE FROM calls WHERE start < ?", before.UnixNano()); err != nil {
		return err
	}
	_, err := tx.Exec("DELETE FROM journal WHERE time < ?", before.UnixNano())
	return err
}
