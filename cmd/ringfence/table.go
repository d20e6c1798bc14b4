package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

// aboutCSV says how cells are written, in the help of every command that does.
const aboutCSV = `The first line of the CSV names the columns, by the names that JSON has. A cell that
a spreadsheet would take for a formula, because it begins with = + - or @ and is no
number, and one that begins with an apostrophe, gets an apostrophe before it: whoever
reads the file otherwise takes one off again, as ringfence fraud replay does. What
can't be printed stands there as a dot; JSON has it as it was.`

// columnsOf are the columns of a call, by the names of its JSON, with what stands in
// them.
var columnsOf = []struct {
	name string
	of   func(appliance.Call) string
}{
	{"id", func(c appliance.Call) string { return c.ID }},
	{"start", func(c appliance.Call) string { return stamp(c.Start) }},
	{"answer", func(c appliance.Call) string { return stamp(c.Answer) }},
	{"end", func(c appliance.Call) string { return stamp(c.End) }},
	{"direction", func(c appliance.Call) string { return string(c.Direction) }},
	{"use", func(c appliance.Call) string { return c.Use }},
	{"from", func(c appliance.Call) string { return c.From }},
	{"source", func(c appliance.Call) string { return c.Source }},
	{"account", func(c appliance.Call) string { return c.Account }},
	{"attribution", func(c appliance.Call) string { return string(c.Attribution) }},
	{"dialled", func(c appliance.Call) string { return c.Dialled }},
	{"number", func(c appliance.Call) string { return c.Number }},
	{"label", func(c appliance.Call) string { return c.Label }},
	{"trunk", func(c appliance.Call) string { return c.Trunk }},
	{"verdict", func(c appliance.Call) string { return c.Verdict.String() }},
	{"reason", func(c appliance.Call) string { return c.Reason.String() }},
	{"rule", func(c appliance.Call) string { return c.Rule }},
	{"list", func(c appliance.Call) string { return c.List }},
	{"why", func(c appliance.Call) string { return c.Why }},
	{"status", func(c appliance.Call) string { return strconv.Itoa(c.Status) }},
	{"forwarded", func(c appliance.Call) string { return strconv.FormatBool(c.Forwarded) }},
	{"hairpin", func(c appliance.Call) string { return strconv.FormatBool(c.Hairpin) }},
	{"overlap", func(c appliance.Call) string { return strconv.FormatBool(c.Overlap) }},
	{"digits", func(c appliance.Call) string { return strconv.Itoa(c.Digits) }},
	{"ended", func(c appliance.Call) string { return string(c.Ended) }},
	{"tries", func(c appliance.Call) string { return strconv.Itoa(c.Tries) }},
	{"attempt", func(c appliance.Call) string { return c.Attempt }},
	{"call_id", func(c appliance.Call) string { return c.CallID }},
}

func callHeading() (names []string) {
	for _, column := range columnsOf {
		names = append(names, column.name)
	}
	return names
}

func callRow(c appliance.Call) (row []string) {
	for _, column := range columnsOf {
		row = append(row, column.of(c))
	}
	return row
}

var eventHeading = []string{"seq", "time", "kind", "verdict", "reason", "source", "subject", "message"}

func eventRow(e appliance.Entry) []string {
	source := ""
	if e.Source != (netip.AddrPort{}) {
		source = e.Source.String()
	}
	return []string{strconv.FormatInt(e.Seq, 10), stamp(e.Time), string(e.Kind), e.Verdict.String(), e.Reason.String(), source, e.Subject, e.Message}
}

var auditHeading = []string{"seq", "time", "actor", "action", "subject", "message", "before", "hash"}

func auditRow(a appliance.Audit) []string {
	return []string{strconv.FormatUint(a.Seq, 10), stamp(a.Time), a.Actor, a.Action, a.Subject, a.Message, a.Before, a.Hash}
}

// stamp is a time as ringfence fraud replay reads it, empty where there is none.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// writeCSV writes a heading and then every row that each hands to it.
func writeCSV[T any](to io.Writer, heading []string, row func(T) []string, each func(do func(T) error) error) error {
	out := csv.NewWriter(to)
	if err := out.Write(heading); err != nil {
		return err
	}
	err := each(func(one T) error {
		cells := row(one)
		for i := range cells {
			cells[i] = safe(cells[i])
		}
		return out.Write(cells)
	})
	if out.Flush(); err == nil {
		err = out.Error()
	}
	return err
}

var number = regexp.MustCompile(`^[+-]?[0-9]+$`)

// safe makes a cell one that no spreadsheet takes for a formula. The wide forms of
// the signs are taken for the others in some of them.
func safe(cell string) string {
	cell = printable(cell)
	switch {
	case cell == "" || number.MatchString(cell):
		return cell
	case strings.ContainsAny(string([]rune(cell)[:1]), "=+-@'＝＋－＠"):
		return "'" + cell
	}
	return cell
}

// writeList writes one JSON object that has a list under a name, an entry at a time,
// and then what else it has: rest, which may be nil.
func writeList[T any](to io.Writer, name string, each func(do func(T) error) error, rest func() map[string]string) error {
	before := fmt.Sprintf("{\n  %q: [", name)
	none := true
	err := each(func(one T) error {
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("    ", "  ")
		if err := encoder.Encode(one); err != nil {
			return err
		}
		_, err := fmt.Fprintf(to, "%s\n    %s", before, bytes.TrimRight(text.Bytes(), "\n"))
		before, none = ",", false
		return err
	})
	if err != nil {
		return err
	}
	after := "\n  ]"
	if none {
		after = before + "]"
	}
	if rest != nil {
		for key, value := range rest() {
			text, err := json.Marshal(value)
			if err != nil {
				return err
			}
			after += fmt.Sprintf(",\n  %q: %s", key, text)
		}
	}
	_, err = fmt.Fprintf(to, "%s\n}\n", after)
	return err
}
