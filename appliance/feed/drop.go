package feed

import "fmt"

// readDROP reads FormatDROP: text, or one JSON object a line, which the first
// byte tells apart. The text form has a network and its SBL number after a
// semicolon on each line; it can't tell that its end is missing.
func (g *gathering) readDROP(data []byte) error {
	if first := (&scanner{data: data}).peek(); first != '{' {
		return g.readLines(data, false)
	}
	g.expect(data)
	ended := false
	l := lines{rest: data}
	for l.next() {
		if len(l.text) == 0 {
			continue
		}
		if ended {
			return l.wrong("more follows the metadata, which end the list")
		}
		one, err := readObject(l)
		if err != nil {
			return err
		}
		if ended = one.metadata; ended {
			if err := g.checkRecords(l, one); err != nil {
				return err
			}
			continue
		}
		s, problem := readEntry(one.cidr, false)
		if problem != "" {
			return wrong(l.number, one.cidr, problem)
		}
		g.add(s)
	}
	return nil
}

// checkRecords holds the number of entries that the metadata give, if they do,
// against those that were read.
func (g *gathering) checkRecords(l lines, metadata object) error {
	if metadata.records == nil {
		return nil
	}
	if n, ok := parseNumber(metadata.records, 1<<32); !ok || n != uint64(g.entries) {
		return l.wrong(fmt.Sprintf("the metadata count %s records, but there are %d; some are missing", quote(string(metadata.records)), g.entries))
	}
	return nil
}

// object is one line of the JSON form: an entry such as
// {"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"arin"} or, on the last line,
// {"type":"metadata","records":1}, each with more members that don't matter.
type object struct {
	cidr, records []byte
	metadata      bool
}

func readObject(l lines) (object, error) {
	var out object
	seen := 0
	s := scanner{data: l.text}
	err := s.object(func(name []byte) (err error) {
		switch string(name) {
		case "cidr":
			seen++
			out.cidr, err = s.text()
		case "records":
			out.records, err = s.word()
		case "type":
			var kind []byte
			kind, err = s.text()
			out.metadata = string(kind) == "metadata"
		default:
			err = s.skip(0)
		}
		return err
	})
	switch {
	case err != nil && s.peek() == 0:
		return object{}, l.wrong("the JSON is cut off")
	case err != nil || s.peek() != 0:
		return object{}, l.wrong(errJSON.Error())
	case out.metadata != (seen == 0), seen > 1:
		return object{}, l.wrong(`want one "cidr", or metadata`)
	}
	return out, nil
}
