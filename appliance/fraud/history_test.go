package fraud

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func judged(dialled string) Attempt {
	a := Attempt{Number: dialled, Class: IntlLow, Country: countryOf(dialled), Trunk: "itsp"}
	if strings.HasPrefix(dialled, "+61") {
		a.Class = National
	}
	return a
}

func TestHistory(t *testing.T) {
	rows, err := ParseHistory(strings.NewReader("id,start,answer,end,direction,from,dialled,call_id,extra\n"+
		"a,2026-11-16T10:00:00Z,2026-11-16T10:00:05Z,2026-11-16T10:01:00Z,outbound,201,+442079460018,c1,x\n"+
		"b,2026-11-16T10:00:00Z,,2026-11-16T10:00:03Z,inbound,+37120000000,201,c2,x\n"+
		"c,2026-11-16T10:02:00Z,,,outbound,201,+61255500201,c3,x\n"), judged)
	if err != nil || len(rows) != 3 || rows[0].Attempt.Extension != "201" || !rows[1].Inbound || rows[1].Attempt.Number != "+37120000000" || !rows[2].End.Equal(rows[2].Start) {
		t.Fatalf("rows %+v, %v", rows, err)
	}
	const header, good = "start,end,direction,dialled,answer\n", "2026-11-16T10:00:00Z,2026-11-16T10:01:00Z,outbound,+44,\n"
	for want, bad := range map[string]string{
		"there is no column end": "start,direction,dialled\n", "line 3: start": header + good + "yesterday,2026-11-16T10:01:00Z,outbound,+44,\n",
		"line 2: want start": header + "2026-11-16T10:00:00Z,2026-11-16T09:01:00Z,outbound,+44,\n", "line 2: direction": header + "2026-11-16T10:00:00Z,2026-11-16T10:01:00Z,out,+44,\n",
		"line 3": header + good + "a,b\n", "line 2: want start, answer": header + "2026-11-16T10:00:00Z,2026-11-16T10:01:00Z,outbound,+44,2026-11-16T11:01:00Z\n", "names of the columns": "",
	} {
		if _, err := ParseHistory(strings.NewReader(bad), judged); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error that says %q", bad, err, want)
		}
	}
}

// TestCalibrate: the report says what each rule would have stopped, and changes
// with its thresholds.
func TestCalibrate(t *testing.T) {
	var rows []Row
	for n := range 4 {
		at := monday.Add(time.Duration(n) * 5 * time.Second)
		a := judged(fmt.Sprintf("+4420794600%d%d", n, n))
		a.ID, a.Extension = fmt.Sprint(n), "201"
		rows = append(rows, Row{Start: at, Answer: at.Add(time.Second), End: at.Add(10 * time.Minute), Attempt: a})
	}
	report, err := Calibrate(Defaults(), rows)
	if err != nil {
		t.Fatal(err)
	}
	if top := report.Rules[0]; top.Rule != RuleConcurrent || len(top.Stopped) != 2 || !strings.Contains(top.Sentence(), "2 calls") {
		t.Errorf("first rule %+v", top)
	}
	if report.Calls != 4 || report.Refused != 2 || len(report.Blocks) != 1 || report.Kept == 0 || report.Spent <= report.Kept-1 || report.National != 0 {
		t.Errorf("report %+v", report)
	}
	config := Defaults()
	config.Rules[RuleConcurrent] = Setting{Warn: 5, Critical: 9}
	if report, err = Calibrate(config, rows); err != nil || len(report.Blocks) != 0 || report.Kept != 0 {
		t.Errorf("with a higher threshold: %+v, %v", report, err)
	}
}

// TestReportCountsCallsOnce: a call that a rule stops for its extension, its trunk
// and the site is one call.
func TestReportCountsCallsOnce(t *testing.T) {
	history := "start,answer,end,direction,from,dialled\n"
	for n := range 20 {
		history += fmt.Sprintf("2026-11-16T10:00:%02dZ,2026-11-16T10:00:%02dZ,2026-11-16T10:05:00Z,outbound,201,+44207946%04d\n", n, n, n)
	}
	rows, err := ParseHistory(strings.NewReader(history), judged)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Calibrate(Defaults(), rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range report.Rules {
		numbers := map[string]bool{}
		for _, f := range rule.Stopped {
			numbers[f.Number] = true
		}
		if len(numbers) != len(rule.Stopped) {
			t.Errorf("%s stopped %d calls of %d different ones", rule.Rule, len(rule.Stopped), len(numbers))
		}
	}
	if top := report.Rules[0]; top.Rule != RuleConcurrent || len(top.Stopped) != 18 {
		t.Errorf("%s stopped %d, want concurrent and 18", top.Rule, len(top.Stopped))
	}
}
