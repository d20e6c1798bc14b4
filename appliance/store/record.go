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

// rowsAtOnce is how many calls one statement writes: that costs half of what as
// many statements do.
const rowsAtOnce = 32

// upsertCalls is the statement that writes so many rows.
func upsertCalls(rows int) string {
	return "INSERT INTO calls (id, start, verdict, record, trail) VALUES (?, ?, ?, ?, ?)" + strings.Repeat(", (?, ?, ?, ?, ?)", rows-1) +
		" ON CONFLICT (id) DO UPDATE SET start = excluded.start, verdict = excluded.verdict, record = excluded.record, trail = excluded.trail"
}

const insertEvent = "INSERT INTO journal (time, kind, event) VALUES (?, ?, ?)"

// Append writes a batch in one transaction: all of it or, on an error, none. A
// call replaces the record of the same ID; events are added to the journal in
// the order given.
func (s *Store) Append(calls []appliance.Call, events []appliance.Event) error {
	s.write.Lock()
	defer s.write.Unlock()
	err := s.withDatabase(func(db *database) error {
		return transaction(db.writer, func(tx *sql.Tx) error {
			if err := appendCalls(tx.Stmt(db.call), tx.Stmt(db.calls), calls); err != nil {
				return err
			}
			return appendEvents(tx.Stmt(db.event), events)
		})
	})
	if err != nil {
		return fmt.Errorf("append records: %w", err)
	}
	if s.appended += len(calls) + len(events); s.appended >= pruneEvery {
		// The space goes to the records that come next, and back to the partition only
		// where it was too much.
		return s.prune(time.Time{})
	}
	return nil
}

func appendCalls(one, many *sql.Stmt, calls []appliance.Call) error {
	args := make([]any, 0, 5*rowsAtOnce)
	scratch := make([]byte, 0, trailBytes)
	for len(calls) > 0 {
		statement, rows := one, 1
		if len(calls) >= rowsAtOnce {
			statement, rows = many, rowsAtOnce
		}
		args = args[:0]
		for n := range calls[:rows] {
			call := &calls[n]
			record, trail, err := columns(scratch, call)
			if err != nil {
				return fmt.Errorf("call %s: %w", call.ID, err)
			}
			args = append(args, call.ID, call.Start.UnixNano(), int64(call.Verdict), record, trail)
		}
		if _, err := statement.Exec(args...); err != nil {
			return err
		}
		calls = calls[rows:]
	}
	return nil
}

func appendEvents(insert *sql.Stmt, events []appliance.Event) error {
	for _, event := range events {
		record, err := json.Marshal(event)
		if err != nil {
			return fmt.Errorf("encode %s event: %w", event.Kind, err)
		}
		if _, err := insert.Exec(event.Time.UnixNano(), string(event.Kind), string(record)); err != nil {
			return err
		}
	}
	return nil
}

// Calls returns the records that the filter selects, newest start first, those of
// one moment by falling ID.
func (s *Store) Calls(ctx context.Context, filter appliance.CallFilter) ([]appliance.Call, error) {
	statement, args := selectCalls(filter)
	calls, err := query(ctx, s, statement, args, scanCall)
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
	if filter.Before > 0 {
		where.add("seq < ?", filter.Before)
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
	if err := s.prune(s.now().Add(-s.keep.Age)); err != nil {
		return err
	}
	err := s.withDatabase(func(db *database) error {
		_, err := db.writer.Exec("PRAGMA incremental_vacuum")
		return err
	})
	if err != nil {
		return fmt.Errorf("give space back: %w", err)
	}
	return nil
}

// prune forgets rows above the row bound, and those before the given time
// unless it is zero. The caller holds s.write.
func (s *Store) prune(before time.Time) error {
	err := s.withDatabase(func(db *database) error {
		var shrunk bool
		err := transaction(db.writer, func(tx *sql.Tx) (err error) {
			if err := forget(tx, s.keep.Rows, before); err != nil {
				return err
			}
			shrunk, err = shrink(tx, s.keep.Bytes)
			return err
		})
		if err == nil && shrunk {
			_, err = db.writer.Exec("PRAGMA incremental_vacuum")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("prune records: %w", err)
	}
	s.appended = 0
	return nil
}

// forget counts rows by order of arrival and not by time: a clock that jumps
// must not make the bound useless. Of calls it keeps the newest arrivals, as
// their numbers say: to walk the table for the oldest one to keep would cost more
// than to write it. Journal entries are counted kind by kind, so that a flood of
// one kind never drives out another.
func forget(tx *sql.Tx, rows int, before time.Time) error {
	const oldCalls = "DELETE FROM calls WHERE seq <= (SELECT max(seq) FROM calls) - ?"
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
