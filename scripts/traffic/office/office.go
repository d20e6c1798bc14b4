// Package office makes the telephone traffic of small offices, and of those who
// steal from them, out of a seed: the history that the fraud engine is tried on.
// The same seed gives the same calls on every machine. No threshold of the engine
// is chosen by it; reports run over many seeds.
package office

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
)

// Office is one customer: who works there, and how they call.
type Office struct {
	Zone   *time.Location
	Start  time.Time // midnight of a Monday
	People []person
	random *rand.Rand
	calls  int
	rows   []fraud.Row
	busy   map[string][]span // of the present day, by extension
}

// span is a time in which a phone is in use.
type span struct{ from, until time.Time }

type person struct {
	extension string
	national  float64 // calls of a working day
	abroad    float64
	countries []country // that are called for work, the first one most
	late      bool      // also calls them in the evening: customers live elsewhere
	roaming   bool      // works from home, behind an address that changes
}

// country is a place that calls go to. Prices are not here: the engine's deck has
// them.
type country struct {
	name, prefix string
	high         bool // on high-risk lists, so that calls are refused
}

var (
	ordinary = []country{
		{"New Zealand", "+64", false}, {"United Kingdom", "+44", false}, {"United States", "+1", false}, {"Singapore", "+65", false},
		{"Germany", "+49", false}, {"India", "+91", false}, {"Japan", "+81", false}, {"France", "+33", false}, {"Indonesia", "+62", false}, {"China", "+86", false},
	}
	// exotic countries earn fraudsters money but are on no list.
	exotic = []country{
		{"Latvia", "+371", false}, {"Lithuania", "+370", false}, {"Estonia", "+372", false}, {"Albania", "+355", false},
		{"Moldova", "+373", false}, {"Azerbaijan", "+994", false}, {"Georgia", "+995", false}, {"Tunisia", "+216", false},
	}
	listed = []country{{"Somalia", "+252", true}, {"Cuba", "+53", true}, {"Sierra Leone", "+232", true}, {"Guinea", "+224", true}}
)

// New draws an office of 6 to 30 people in Sydney.
func New(seed uint64) (*Office, error) {
	zone, err := time.LoadLocation("Australia/Sydney")
	if err != nil {
		return nil, fmt.Errorf("open office: %w", err)
	}
	o := &Office{Zone: zone, random: rand.New(rand.NewPCG(seed, 0x0ff1ce)), Start: time.Date(2026, time.August, 31, 0, 0, 0, 0, zone)}
	for i := range 6 + o.random.IntN(25) {
		p := person{extension: fmt.Sprint(201 + i), national: 2 + 10*o.random.Float64()}
		switch draw := o.random.IntN(10); {
		case draw < 2: // sells abroad
			p.abroad, p.countries, p.late = 1+4*o.random.Float64(), o.some(ordinary, 1+o.random.IntN(3)), o.random.IntN(3) == 0
		case draw < 5: // now and then
			p.abroad, p.countries = 0.15, o.some(ordinary, 1)
		}
		p.roaming = o.random.IntN(8) == 0
		o.People = append(o.People, p)
	}
	return o, nil
}

func (o *Office) some(of []country, n int) []country {
	out := make([]country, 0, n)
	for _, i := range o.random.Perm(len(of))[:n] {
		out = append(out, of[i])
	}
	return out
}

// Days writes what happens from one day to another, counted from Start.
func (o *Office) Days(from, until int) {
	for day := from; day < until; day++ {
		o.busy = make(map[string][]span)
		midnight := o.Start.AddDate(0, 0, day)
		weekend := midnight.Weekday() == time.Saturday || midnight.Weekday() == time.Sunday
		for i := range o.People {
			o.register(&o.People[i], midnight)
			if weekend && o.random.IntN(20) != 0 {
				continue
			}
			o.day(&o.People[i], midnight)
		}
		o.mishaps(midnight, weekend)
	}
}

// Rows returns everything that was written, in no order.
func (o *Office) Rows() []fraud.Row { return o.rows }

func (o *Office) register(p *person, midnight time.Time) {
	source, local := netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + o.random.IntN(2))}), true
	if p.roaming {
		source, local = netip.AddrFrom4([4]byte{203, 0, 113, byte(o.random.IntN(250))}), false
	}
	o.rows = append(o.rows, fraud.Row{Start: midnight.Add(7 * time.Hour), Register: &fraud.Registration{
		Extension: p.extension, Source: source, Local: local, Country: "Australia", Agent: "Deskphone 54",
	}})
}

// day is the work of one person: calls in the country, calls abroad, inbound ones.
func (o *Office) day(p *person, midnight time.Time) {
	for range o.poisson(p.national) {
		o.call(p.extension, o.inHours(midnight), fraud.National, country{"Australia", "+61", false}, o.talk(150))
	}
	for range o.poisson(p.national / 2) {
		at := o.inHours(midnight)
		o.rows = append(o.rows, fraud.Row{Start: at, Answer: at.Add(9 * time.Second), End: at.Add(o.talk(150)), Inbound: true,
			Attempt: fraud.Attempt{Number: o.number(country{"Australia", "+61", false}), Class: fraud.National}})
	}
	for range o.poisson(p.abroad) {
		to := p.countries[min(int(o.random.ExpFloat64()*0.6), len(p.countries)-1)]
		o.call(p.extension, o.inHours(midnight), fraud.IntlLow, to, o.talk(280))
	}
	if p.late && o.random.IntN(3) == 0 {
		o.call(p.extension, midnight.Add(time.Duration(20+o.random.IntN(3))*time.Hour+o.minutes(59)), fraud.IntlLow, p.countries[0], o.talk(400))
	}
}

// mishaps are what honest people do that looks odd: misdialled prefixes, numbers
// that are busy, conferences, a supplier in a new country.
func (o *Office) mishaps(midnight time.Time, weekend bool) {
	if weekend {
		return
	}
	who := o.People[o.random.IntN(len(o.People))].extension
	at := o.inHours(midnight)
	if o.random.IntN(14) == 0 { // 0011 252 615 550 for 02 5261 5550, once or twice
		number := fmt.Sprintf("+252%06d", 500000+o.random.IntN(499999))
		for range 1 + o.random.IntN(2) {
			o.refused(who, at, number, country{"Somalia", "+252", true}, true)
			at = at.Add(40 * time.Second)
		}
		o.callTo(who, at.Add(time.Minute), fraud.National, "+61"+number[2:], "Australia", o.talk(150))
	}
	if o.random.IntN(10) == 0 { // busy: again and again
		to, number := o.some(ordinary, 1)[0], ""
		number = o.number(to)
		for range 2 + o.random.IntN(3) {
			o.unanswered(who, at, fraud.IntlLow, number, to.name)
			at = at.Add(o.minutes(6) + 50*time.Second)
		}
	}
	if o.random.IntN(12) == 0 { // two at once
		to := o.some(ordinary, 1)[0]
		o.callTo(who, at, fraud.IntlLow, o.number(to), to.name, 20*time.Minute)
		o.callTo(who, at.Add(time.Minute), fraud.IntlLow, o.number(to), to.name, 15*time.Minute)
	}
	if o.random.IntN(25) == 0 {
		o.call(who, at, fraud.IntlLow, o.some(append(exotic[:2:2], ordinary...), 1)[0], o.talk(300))
	}
}

// ---- what calls are made of ------------------------------------------------------

// call is one that a person makes, who does not call while the phone is in use.
func (o *Office) call(extension string, at time.Time, class fraud.Class, to country, lasts time.Duration) {
	now := span{at, at.Add(lasts + 20*time.Second)}
	for _, other := range o.busy[extension] {
		if now.from.Before(other.until) && other.from.Before(now.until) {
			return
		}
	}
	o.busy[extension] = append(o.busy[extension], now)
	if o.random.IntN(6) == 0 {
		o.unanswered(extension, at, class, o.number(to), to.name)
		return
	}
	o.callTo(extension, at, class, o.number(to), to.name, lasts)
}

func (o *Office) callTo(extension string, at time.Time, class fraud.Class, number, name string, lasts time.Duration) {
	answer := at.Add(time.Duration(4+o.random.IntN(16)) * time.Second)
	row := o.row(extension, at, class, number, name)
	row.Answer, row.End = answer, answer.Add(lasts)
	o.rows = append(o.rows, row)
}

func (o *Office) unanswered(extension string, at time.Time, class fraud.Class, number, name string) {
	row := o.row(extension, at, class, number, name)
	row.End = at.Add(time.Duration(5+o.random.IntN(25)) * time.Second)
	o.rows = append(o.rows, row)
}

func (o *Office) refused(extension string, at time.Time, number string, to country, misdial bool) {
	row := o.row(extension, at, fraud.IntlHigh, number, to.name)
	row.End = at
	row.Attempt.Refused, row.Attempt.Misdial = true, misdial
	o.rows = append(o.rows, row)
}

func (o *Office) row(extension string, at time.Time, class fraud.Class, number, name string) fraud.Row {
	o.calls++
	id := fmt.Sprintf("c%06d", o.calls)
	return fraud.Row{Start: at, Attempt: fraud.Attempt{
		ID: id, Key: id, Extension: extension, Trunk: "itsp", Number: number, Country: name, Class: class,
	}}
}

func (o *Office) number(to country) string {
	return to.prefix + fmt.Sprintf("%09d", 100000000+o.random.IntN(899999999))
}

// inHours is a time of work: from half past eight, until six.
func (o *Office) inHours(midnight time.Time) time.Time {
	return midnight.Add(8*time.Hour + 30*time.Minute + time.Duration(o.random.IntN(570*60))*time.Second)
}

func (o *Office) minutes(most int) time.Duration {
	return time.Duration(o.random.IntN(most*60)) * time.Second
}

// talk is a duration around a median of seconds, with a long tail.
func (o *Office) talk(median float64) time.Duration {
	seconds := median * math.Exp(0.9*o.random.NormFloat64())
	return time.Duration(min(max(seconds, 3), 5400)) * time.Second
}

func (o *Office) poisson(mean float64) (n int) {
	for left := o.random.ExpFloat64(); left < mean; left += o.random.ExpFloat64() {
		n++
	}
	return n
}
