package document

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

type inner struct {
	Word string `json:"word"`
}

type outer struct {
	Schema int      `json:"schema"`
	Flag   bool     `json:"flag"`
	Count  uint64   `json:"count"`
	Words  []string `json:"words"`
	Inner  *inner   `json:"inner"`
	List   []inner  `json:"list"`
}

func TestRead(t *testing.T) {
	var raw outer
	m, err := Read([]byte(`{"schema": 1, "flag": true, "count": 7, "words": ["a", "\u00e9"], "inner": {"word": "b"}, "list": [{"word": "c"}, {}]}`), 1, &raw)
	if err != nil || m.Err() != nil {
		t.Fatal(err, m.Err())
	}
	if !raw.Flag || raw.Count != 7 || raw.Words[1] != "é" || raw.Inner.Word != "b" || len(raw.List) != 2 || raw.List[0].Word != "c" {
		t.Errorf("got %+v", raw)
	}
}

func TestReadSaysWhereAndWhat(t *testing.T) {
	for _, test := range []struct{ data, want string }{
		{``, "the document ends too early"},
		{`{`, "the document ends too early"},
		{`[]`, "want a JSON object, found a list"},
		{`{"schema": 1}x`, "something follows the document at byte 13"},
		{`{"schema": 1,}`, "not JSON at byte"},
		{`{"schema": 1 "flag": true}`, "not JSON at byte"},
		{`{"flag": 1}`, "schema: missing: want 1"},
		{`{"schema": 01}`, "not JSON at byte"},
		{`{"schema": 1.0}`, "schema: want 1"},
		{`{"schema": 1, "flag": 0}`, "flag: want true or false, found a number"},
		{`{"schema": 1, "count": 1e3}`, "count: want a whole number"},
		{`{"schema": 1, "count": 18446744073709551616}`, "count: want a whole number"},
		{`{"schema": 1, "words": {"a": 1}}`, "words: want a list, found an object"},
		{`{"schema": 1, "words": ["a", null]}`, "words[1]: want a string, found null"},
		{`{"schema": 1, "inner": null}`, "inner: want an object, found null"},
		{`{"schema": 1, "list": [{"word": 1}, {"wurd": ""}]}`, "list[0].word: want a string, found a number; list[1].wurd: no such field"},
		{`{"schema": 1, "Flag": true}`, "Flag: no such field"},
		{`{"schema": 1, "flag": true, "flag": true}`, "flag: given twice"},
		{`{"schema": 1, "\u0066lag": true, "flag": true}`, "flag: given twice"},
		{`{"schema": 1, "a\nb": true}`, `"a\nb": no such field`},
	} {
		var raw outer
		m, err := Read([]byte(test.data), 1, &raw)
		if err == nil {
			err = m.Err()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.data, err, test.want)
		}
	}
}

// TestHostileDocumentsCostLittle fills a document of the largest size with
// mistakes.
func TestHostileDocumentsCostLittle(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(`{"schema": 1`)
	for i := 0; doc.Len() < MaxSize-40; i++ {
		fmt.Fprintf(&doc, `,"x%d":0`, i)
	}
	doc.WriteString(`}`)
	var raw outer
	m, err := Read([]byte(doc.String()), 1, &raw)
	if err != nil || len(m.found) != maxMistakes {
		t.Errorf("got %v and %d mistakes", err, len(m.found))
	}
}

func TestAddSaysNothingTwice(t *testing.T) {
	var m Mistakes
	for _, field := range []string{"a", "a", "a.b", "a[0]", "ab", "b.c", "b"} {
		m.Add(field, "wrong")
	}
	if got := m.Err().Error(); got != "a: wrong; ab: wrong; b.c: wrong; b: wrong" {
		t.Errorf("got %s", got)
	}
}

func TestWriteIsPlainJSON(t *testing.T) {
	data := Write(outer{Schema: 1, Words: []string{"<&>"}})
	if !json.Valid(data) || !strings.Contains(string(data), "<&>") || !strings.HasSuffix(string(data), "}\n") {
		t.Errorf("got %s", data)
	}
}
