package fraud

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// MaxHistory is how many calls a history may have.
const MaxHistory = 1_000_000

// historyColumns are those that ParseHistory knows, by the names of a call record;
// true where a history without it is none.
var historyColumns = map[string]bool{
	"start": true, "end": true, "direction": true, "dialled": true,
	"answer": false, "account": false, "from": false, "trunk": false, "call_id": false, "forwarded": false,
}

// ParseHistory reads call records from CSV, as the box exports them: a line of
// column names in any order, others being ignored, then one call a line. Times are
// RFC 3339. judge says what the lists say of a dialled string. A history with a bad
// line is refused whole; the error names the line.
func ParseHistory(from io.Reader, judge func(dialled string) Attempt) ([]Row, error) {
	reader := csv.NewReader(from)
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("read history: line 1: want the names of the columns: %w", err)
	}
	columns := make(map[string]int)
	for i, name := range header {
		columns[name] = i
	}
	for name, needed := range historyColumns {
		if _, there := columns[name]; needed && !there {
			return nil, fmt.Errorf("read history: line 1: there is no column %s", name)
		}
	}
	var rows []Row
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read history: %w", broken(err))
		}
		row, err := readCall(record{columns, fields}, judge, len(rows))
		if err == nil && len(rows) == MaxHistory {
			err = fmt.Errorf("more than %d calls", MaxHistory)
		}
		if err != nil {
			line, _ := reader.FieldPos(0)
			return nil, fmt.Errorf("read history: line %d: %w", line, err)
		}
		rows = append(rows, row)
	}
}

// record is one line with its columns' names.
type record struct {
	columns map[string]int
	fields  []string
}

func (r record) get(name string) string {
	if i, ok := r.columns[name]; ok {
		return plain(strings.TrimSpace(r.fields[i]))
	}
	return ""
}

// plain takes off the apostrophe that an export puts before a cell which a
// spreadsheet would take for a formula, and before one that begins with an
// apostrophe itself.
func plain(cell string) string {
	rest, quoted := strings.CutPrefix(cell, "'")
	if quoted && rest != "" && strings.ContainsAny(rest[:1], "=+-@'") {
		return rest
	}
	return cell
}

func (r record) time(name string) (time.Time, error) {
	text := r.get(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %q is no time; want one like 2026-05-04T03:02:01Z", name, text)
	}
	return at, nil
}

func readCall(r record, judge func(string) Attempt, n int) (row Row, err error) {
	for _, one := range []struct {
		name string
		to   *time.Time
	}{{"start", &row.Start}, {"answer", &row.Answer}, {"end", &row.End}} {
		if *one.to, err = r.time(one.name); err != nil {
			return Row{}, err
		}
	}
	switch {
	case row.Start.IsZero():
		return Row{}, errors.New("start: missing")
	case row.End.IsZero():
		row.End = row.Start // it was never told how it ended: it costs nothing
	case row.End.Before(row.Start) || !row.Answer.IsZero() && (row.Answer.Before(row.Start) || row.Answer.After(row.End)):
		return Row{}, errors.New("want start, answer and end in this order")
	}
	if direction := r.get("direction"); direction != "outbound" && direction != "inbound" {
		return Row{}, fmt.Errorf("direction: %q: want outbound or inbound", direction)
	}
	row.Inbound = r.get("direction") == "inbound"
	if row.Inbound {
		row.Attempt.Number = r.get("from")
		return row, nil
	}
	row.Attempt = judge(r.get("dialled"))
	row.Attempt.ID = fmt.Sprint(n)
	row.Attempt.Extension = r.get("account")
	if row.Attempt.Extension == "" {
		row.Attempt.Extension = r.get("from")
	}
	if trunk := r.get("trunk"); trunk != "" {
		row.Attempt.Trunk = trunk
	}
	if call := r.get("call_id"); call != "" {
		row.Attempt.Key = call + " " + r.get("from")
	}
	row.Attempt.Forwarded = r.get("forwarded") == "true"
	return row, nil
}
