package feed

import "bytes"

// APIBAN hands its list out in pages of 250 addresses, oldest first. Each page
// has an ID to ask for the next one with; the page after the last one has the
// ID "none" and one string that is no address. Refusals of the service have a
// string where the addresses should be (https://www.apiban.org/doc.html).
const (
	noMorePages = "none"
	noMoreBans  = "no new bans"
)

// page is what one page says beside its addresses.
type page struct {
	id         []byte
	lists, ids int  // members of these kinds; each must be there once
	none       bool // it holds nothing but noMoreBans
}

// NextID returns the ID to ask APIBAN for the next page with, after one page or
// several in a row: decimal digits, fit for a URL. It is empty where the last
// page says that there are no more. Pages joined as they came down are what
// Parse reads. Errors are those of Parse.
func NextID(data []byte) (string, error) {
	data, err := textOf(data)
	if err != nil {
		return "", err
	}
	last, err := readPages(data, func(span) {})
	if err != nil {
		return "", err
	}
	return string(bytes.TrimPrefix(last.id, []byte(noMorePages))), nil
}

// readPages reads FormatAPIBAN and returns the last page.
func readPages(data []byte, add func(span)) (page, error) {
	var last page
	s := scanner{data: data}
	for s.peek() != 0 {
		if string(last.id) == noMorePages {
			return page{}, wrongAt(data, s.at, "more follows the page that ends the list")
		}
		last = page{}
		if err := s.readPage(&last, add); err == errJSON {
			return page{}, brokenJSON(data, s.at)
		} else if err != nil {
			return page{}, err
		}
	}
	return last, nil
}

func (s *scanner) readPage(p *page, add func(span)) error {
	err := s.object(func(name []byte) (err error) {
		switch string(name) {
		case "ipaddress":
			p.lists++
			err = s.readAddresses(p, add)
		case "ID":
			p.ids++
			p.id, err = s.text()
		default:
			err = s.skip(0)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case p.lists != 1 || p.ids != 1:
		return wrongAt(s.data, s.at-1, `want one "ipaddress" and one "ID"`)
	case string(p.id) != noMorePages && !isID(p.id):
		return wrong(lineOf(s.data, s.at-1), p.id, "not an ID of APIBAN")
	case p.none != (string(p.id) == noMorePages):
		return wrongAt(s.data, s.at-1, `"no new bans" and the ID "none" go together`)
	}
	return nil
}

// isID keeps what comes from outside from becoming more than a part of a URL.
func isID(id []byte) bool {
	return len(id) > 0 && len(id) <= 20 && len(bytes.Trim(id, "0123456789")) == 0
}

func (s *scanner) readAddresses(p *page, add func(span)) error {
	if s.peek() == '"' {
		says, err := s.text()
		if err != nil {
			return err
		}
		return invalid("feed", "line %d: the service sent no list, but says %s", lineOf(s.data, s.at), quote(string(says)))
	}
	items := 0
	return s.sequence('[', ']', func() error {
		text, err := s.text()
		if err != nil {
			return err
		}
		if items++; items == 1 && string(text) == noMoreBans {
			p.none = true
			return nil
		}
		one, problem := readEntry(text, false)
		if problem == "" && p.none {
			problem = "an address after " + noMoreBans
		}
		if problem != "" {
			return wrong(lineOf(s.data, s.at), text, problem)
		}
		add(one)
		return nil
	})
}

// brokenJSON says where JSON is broken, or that it is cut off.
func brokenJSON(data []byte, at int) error {
	if len(bytes.TrimSpace(data[at:])) == 0 {
		return wrongAt(data, at, "the JSON is cut off")
	}
	return wrongAt(data, at, errJSON.Error())
}
