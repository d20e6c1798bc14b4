package health

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// parts is a whole box as the interfaces show it.
type parts struct {
	want      Want
	perimeter Perimeter
	listeners []string
	trouble   error
	probe     error
	space     error
	free      uint64
	aside     string
	asideAt   time.Time
	audit     string // set aside at asideAt
	open      []uint16
	ports     error
	cuts      []appliance.Cut
}

func (p *parts) Want() Want                            { return p.want }
func (p *parts) Perimeter() Perimeter                  { return p.perimeter }
func (p *parts) Listeners() []string                   { return p.listeners }
func (p *parts) Cuts() []appliance.Cut                 { return p.cuts }
func (p *parts) Trouble() error                        { return p.trouble }
func (p *parts) Probe() error                          { return p.probe }
func (p *parts) Space() (uint64, uint64, error)        { return p.free, 1000 << 20, p.space }
func (p *parts) SetAside() (string, time.Time)         { return p.aside, p.asideAt }
func (p *parts) AuditSetAside() (string, time.Time)    { return p.audit, p.asideAt }
func (p *parts) Unreserved([]uint16) ([]uint16, error) { return p.open, p.ports }

func well() *parts {
	return &parts{
		want: Want{Site: "Depot", Generation: "aa", WAN: []string{"wan0"},
			Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5060")}, Ports: []uint16{5060}},
		perimeter: Perimeter{Generation: "aa", Interfaces: []Interface{{Name: "wan0", Mode: "native"}}},
		listeners: []string{"udp 192.0.2.1:5060", "tcp 192.0.2.1:5060"},
		free:      500 << 20,
	}
}

func TestStatus(t *testing.T) {
	no := errors.New("no")
	for name, tc := range map[string]struct {
		break_ func(*parts)
		clock  time.Time
		check  string
		level  appliance.Level
		says   string
	}{
		"well": {func(*parts) {}, now, "gate wan0", appliance.Green, "native mode"},
		"a cut is on its way": {func(p *parts) {
			p.cuts = []appliance.Cut{{ID: "done", Complete: true}, {ID: "abcd", Sides: []appliance.CutSide{{State: appliance.CutPending}}}}
		}, now, "cuts", appliance.Amber, "the end of abcd;"},
		"a cut is in vain": {func(p *parts) {
			for n := range 7 {
				p.cuts = append(p.cuts, appliance.Cut{ID: fmt.Sprint("call", n), Sides: []appliance.CutSide{{State: appliance.CutChallenged}}})
			}
		}, now, "cuts", appliance.Red, "call0, call1, call2, call3, call4 and 2 more"},
		"the driver can't": {func(p *parts) {
			p.perimeter.Interfaces[0].Mode, p.perimeter.Interfaces[0].Note = "stack", "the driver r8169 has no native XDP"
		}, now, "gate wan0", appliance.Amber, "in stack mode, as strictly as in the driver, but packets are dropped after the kernel has built its buffers, at about a third of the speed: the driver r8169"},
		"renamed":             {func(p *parts) { p.perimeter.Interfaces[0].Note = "it is called eth7 now" }, now, "gate wan0", appliance.Amber, "native mode; it is called eth7 now"},
		"no compiler":         {func(p *parts) { p.perimeter.Interpreted = true }, now, "gate speed", appliance.Amber, "set net.core.bpf_jit_enable to 1"},
		"interface lost":      {func(p *parts) { p.perimeter.Interfaces[0].Error = "gone" }, now, "gate wan0", appliance.Red, "gone"},
		"interface not known": {func(p *parts) { p.want.WAN = []string{"wan1"} }, now, "gate wan1", appliance.Red, "not guarded"},
		"other generation":    {func(p *parts) { p.perimeter.Generation = "bb" }, now, "gate", appliance.Red, "bb is in the kernel, aa"},
		"empty generation":    {func(p *parts) { p.perimeter.Generation = "" }, now, "gate", appliance.Red, "none is in the kernel"},
		"unreadable":          {func(p *parts) { p.perimeter.Error = "no map" }, now, "gate", appliance.Red, "no map"},
		"nothing to guard":    {func(p *parts) { p.want.WAN, p.perimeter = nil, Perimeter{} }, now, "gate", appliance.Amber, "nothing is guarded"},
		"tcp missing":         {func(p *parts) { p.listeners = p.listeners[:1] }, now, "inspector", appliance.Red, "tcp 192.0.2.1:5060"},
		"nothing listens":     {func(p *parts) { p.listeners, p.trouble = nil, no }, now, "inspector", appliance.Red, ": no"},
		"disk full":           {func(p *parts) { p.probe = no }, now, "store", appliance.Red, "can't be kept: no"},
		"database set aside":  {func(p *parts) { p.aside, p.asideAt = "x.aside", now.Add(-time.Hour) }, now, "store", appliance.Amber, "x.aside"},
		"set aside long ago":  {func(p *parts) { p.aside, p.asideAt = "x.aside", now.AddDate(0, -1, 0) }, now, "store", appliance.Green, ""},
		"audit log set aside": {func(p *parts) { p.audit, p.asideAt = "a.aside", now.Add(-time.Hour) }, now, "audit log", appliance.Amber, "a.aside"},
		"and that long ago":   {func(p *parts) { p.audit, p.asideAt = "a.aside", now.AddDate(0, -1, 0) }, now, "store", appliance.Green, ""},
		"space short":         {func(p *parts) { p.free = 100 << 20 }, now, "space", appliance.Amber, "10 %"},
		"space gone":          {func(p *parts) { p.free = 0 }, now, "space", appliance.Red, "0 %"},
		"space unknown":       {func(p *parts) { p.space = no }, now, "space", appliance.Red, "no"},
		"events lost":         {func(p *parts) { p.want.Lost = 3 }, now, "journal", appliance.Amber, "3 events"},
		"clock never set":     {func(*parts) {}, time.Unix(0, 0), "clock", appliance.Amber, "1970-01-01"},
		"port not reserved":   {func(p *parts) { p.open = []uint16{50600} }, now, "ports", appliance.Amber, "50600"},
		"ports unknown":       {func(p *parts) { p.ports = no }, now, "ports", appliance.Amber, "no"},
		"document damaged": {func(p *parts) {
			p.want.Notes = []appliance.Check{{Name: "settings", Level: appliance.Red, Message: "damaged"}}
		},
			now, "settings", appliance.Red, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			p := well()
			tc.break_(p)
			status := New("1", func() time.Time { return tc.clock }, p, p, p, p, p).Status()
			if status.Level != tc.level {
				t.Errorf("level %v: %+v; want %v", status.Level, status.Checks, tc.level)
			}
			for _, check := range status.Checks {
				if check.Name == tc.check {
					if check.Level != tc.level || !strings.Contains(check.Message, tc.says) {
						t.Errorf("check %+v; want %v saying %q", check, tc.level, tc.says)
					}
					return
				}
			}
			t.Errorf("no check %q in %+v", tc.check, status.Checks)
		})
	}
}
