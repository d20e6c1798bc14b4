package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

func (s *site) census() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if strings.HasPrefix(e.Message, "census") {
			out = append(out, e.Subject+": "+e.Message)
		}
	}
	return out
}

func TestCensusTellsTheJournalOnce(t *testing.T) {
	s := newSite(t)
	w := s.start()
	long := s.now.Wall.Add(-365 * 24 * time.Hour)
	accounts := []appliance.Account{
		{Name: "201@pbx", Kind: appliance.AccountExtension, First: long, Last: s.now.Wall},
		{Name: "test@pbx", Kind: appliance.AccountExtension, First: long, Last: s.now.Wall},
		{Name: "1234@carrier", Kind: appliance.AccountTrunk, First: s.now.Wall, Last: s.now.Wall},
	}
	s.dial(w, "305", "0255501234", false)          // only the PBX knows it
	s.dial(w, "192.168.1.9", "0255501234", false)  // an address is nobody's extension
	s.dial(w, "1234@carrier", "0255501234", false) // the PBX's own account
	for range 3 {
		w.Count(accounts)
	}
	told := strings.Join(s.census(), "\n")
	want := "extension 305: census (new): it was first seen on 16 November\nextension test@pbx: census (guessable): scanners try a name like test first"
	if told != want {
		t.Errorf("told\n%s\nwant\n%s", told, want)
	}
	again := s.start()
	again.Count(accounts)
	if after := strings.Join(s.census(), "\n"); after != want {
		t.Errorf("after a restart\n%s", after)
	}
	all := w.Census(accounts)
	if len(all) != 3 || all[0].Name != "305" || all[1].Name != "test@pbx" || all[2].Name != "201@pbx" || all[0].Called.IsZero() {
		t.Errorf("%+v", all)
	}
}
