package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ringfence/ringfence/appliance"
)

// trailBytes bounds the trail of one record: candidates that find no room are left
// out, those that the judge looked at last first.
const trailBytes = 8 << 10

// encodeTrail returns the text of the trail column, NULL for no trail.
func encodeTrail(scratch []byte, trail *appliance.Trail) (sql.NullString, error) {
	if trail == nil {
		return sql.NullString{}, nil
	}
	short := *trail
	for {
		text, err := appendTrail(scratch[:0], &short)
		if err != nil {
			return sql.NullString{}, fmt.Errorf("encode trail: %w", err)
		}
		if len(text) <= trailBytes {
			return sql.NullString{String: string(text), Valid: true}, nil
		}
		if len(short.Candidates) == 0 {
			return sql.NullString{}, errors.New("encode trail: it is too long without any candidate")
		}
		short.Candidates = short.Candidates[:len(short.Candidates)-1]
		short.Omitted++
	}
}

// columns splits a call into what stands in its row: the record without the trail,
// and the trail. Lists read the first alone. scratch is room to write in.
func columns(scratch []byte, call *appliance.Call) (record string, trail sql.NullString, err error) {
	if trail, err = encodeTrail(scratch, call.Trail); err != nil {
		return "", trail, err
	}
	text, err := appendCall(scratch[:0], call)
	if err != nil {
		return "", trail, fmt.Errorf("encode record: %w", err)
	}
	return string(text), trail, nil
}

// scanCall reads a record and its trail, which is NULL where it was not asked for.
func scanCall(rows *sql.Rows) (appliance.Call, error) {
	var call appliance.Call
	var record, trail []byte
	if err := rows.Scan(&record, &trail); err != nil {
		return call, err
	}
	if err := json.Unmarshal(record, &call); err != nil {
		return call, err
	}
	if trail == nil {
		return call, nil
	}
	return call, json.Unmarshal(trail, &call.Trail)
}

// selectCalls is the query of a filter.
func selectCalls(filter appliance.CallFilter) (statement string, args []any) {
	var where clauses
	if filter.ID != "" {
		where.add("substr(id, 1, ?) = ?", len(filter.ID), filter.ID)
	}
	if !filter.Since.IsZero() {
		where.add("start >= ?", filter.Since.UnixNano())
	}
	if !filter.Before.IsZero() {
		at := filter.Before.UnixNano()
		where.add("start <= ? AND (start < ? OR id < ?)", at, at, filter.BeforeID)
	}
	if filter.Verdict != nil {
		where.add("verdict = ?", int64(*filter.Verdict))
	}
	if filter.Number != "" {
		n := len(filter.Number)
		where.add("(substr("+numberOf+", 1, ?) = ? OR substr("+numberOf+", 1, ?) = '+' || ?)", n, filter.Number, n+1, filter.Number)
	}
	if filter.Account != "" {
		// "101" is that of every registrar: 'A' follows '@'.
		where.add("("+accountOf+" = ? OR "+accountOf+" >= ? AND "+accountOf+" < ?)", filter.Account, filter.Account+"@", filter.Account+"A")
	}
	trail := "NULL"
	if filter.Trail {
		trail = "trail"
	}
	statement = where.statement("record, "+trail, "calls", "start DESC, id DESC", filter.Limit)
	return statement, where.args
}
