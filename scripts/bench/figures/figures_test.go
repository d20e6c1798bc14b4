package figures

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestStanding(t *testing.T) {
	cost := Figure{Goal: 3, Aim: 2.3}
	gain := Figure{Goal: 4, Aim: 6, More: true}
	for _, c := range []struct {
		figure Figure
		value  float64
		want   string
	}{
		{cost, 2.3, "met, and the aim"}, {cost, 2.9, "met"}, {cost, 3.01, "SHORT"},
		{gain, 6, "met, and the aim"}, {gain, 4.5, "met"}, {gain, 3.9, "SHORT"}, {Figure{}, 1, ""},
		{Figure{Count: true}, 0, "met, and the aim"}, {Figure{Count: true}, 1, "SHORT"},
	} {
		if got := c.figure.Standing(c.value); got != c.want {
			t.Errorf("%v against %+v: %q, want %q", c.value, c.figure, got, c.want)
		}
	}
}

func TestKeysDiffer(t *testing.T) {
	var keys []string
	for _, f := range Table() {
		if slices.Contains(keys, f.Key) || strings.Contains(f.Key, " ") {
			t.Errorf("key %q stands twice or holds a space", f.Key)
		}
		keys = append(keys, f.Key)
	}
}

func TestReadAndPrint(t *testing.T) {
	var r Result
	for _, line := range []string{
		"figure test-run/sip4/bare 2.5",
		"figure through/gate 3.5",
		"figure verifier/6.1 54868",
		"raw flood/10/nft ingress 291.0",
		"curve 10 2.267 dropped SIP, IPv4",
		"# gate with 72000 networks: can't be had",
	} {
		if taken, err := r.Read(line); !taken || err != nil {
			t.Errorf("%q: %v, %v", line, taken, err)
		}
	}
	for _, line := range []string{"figure no/such/key 1", "figure through/gate x", "figure through/gate", "curve 10 2", "curve x 1 y"} {
		if _, err := r.Read(line); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
	if taken, _ := r.Read("BenchmarkFloods-2 1 3 ns/op"); taken {
		t.Error("took a line of go test")
	}
	if r.Raw["flood/10/nft ingress"] != 291 || len(r.Curves) != 1 || len(r.Notes) != 1 {
		t.Errorf("read %+v", r)
	}
	var out strings.Builder
	if err := Print(&out, r.Figures); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.50", "≤ 2.3", "3.50 %", "≤ 4 %", "≥ 4", "54,868", "≤ 60,000", "not measured"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestChartIsXML(t *testing.T) {
	chart := Chart([]Point{{"a < b", 10, 1.5}, {"a < b", 1_000_000, 180}, {"c", 10, 0.9}})
	for decoder := xml.NewDecoder(strings.NewReader(chart)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"a &lt; b", "1,000,000", "200×", "prefers-color-scheme"} {
		if !strings.Contains(chart, want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
	if strings.Contains(chart, "%!") || strings.Contains(chart, "NaN") {
		t.Error("the chart holds a mistake of formatting")
	}
}

func TestMemoryIsDrawn(t *testing.T) {
	samples := []Sample{{"calls", 0, 30}, {"calls", 500_000, 90}, {"calls", 1_000_000, 95.5}, {"<datagrams>", 0, 95}, {"<datagrams>", 1_000_000, 96}}
	text := Memory(samples)
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	for _, want := range []string{"1,000,000", "&lt;datagrams&gt;", "prefers-color-scheme: dark", ">100<"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not drawn", want)
		}
	}
	if at := strings.Count(text, `class="line" d="M`); at != 4 { // two curves, two in the legend
		t.Errorf("%d lines", at)
	}
	if strings.Contains(Memory(nil), "NaN") {
		t.Error("an empty chart holds no numbers")
	}
}
