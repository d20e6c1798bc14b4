package office

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance/fraud"
)

// Attack is one way to steal calls.
type Attack struct {
	Name string
	run  func(*Office, time.Time)
}

// Attacks are the scripts. Each is given the midnight before it begins.
func Attacks() []Attack {
	return []Attack{
		{"stolen extension at night", stolenAtNight},
		{"stolen extension by day", stolenByDay},
		{"prefix fishing", fishing},
		{"high-risk list probed", probing},
		{"low and slow over days", lowAndSlow},
		{"parallel IRSF, one account", parallel},
		{"parallel IRSF, all accounts", everywhere},
		{"call-forward abuse", forward},
		{"REFER abuse", transfers},
		{"voicemail call-back", callBack},
		{"premium pumping", pumping},
		{"registered from afar", afar},
		{"insider", insider},
	}
}

// Begin writes an attack that starts on a day, counted from Start.
func (o *Office) Begin(a Attack, day int) {
	before := len(o.rows)
	a.run(o, o.Start.AddDate(0, 0, day))
	for i := range o.rows[before:] {
		o.rows[before+i].Attack = true
	}
}

func (o *Office) victim() string { return o.People[o.random.IntN(len(o.People))].extension }

// earner is a number that pays whoever has it called.
func (o *Office) earner() (string, string) {
	to := exotic[o.random.IntN(len(exotic))]
	return o.number(to), to.name
}

func stolenAtNight(o *Office, midnight time.Time) {
	who, at := o.victim(), midnight.Add(26*time.Hour+o.minutes(60))
	for range 60 {
		number, name := o.earner()
		o.callTo(who, at, fraud.IntlLow, number, name, o.talk(600))
		at = at.Add(o.minutes(4))
	}
}

func stolenByDay(o *Office, midnight time.Time) {
	who, at := o.victim(), midnight.Add(10*time.Hour+o.minutes(60))
	for range 60 {
		number, name := o.earner()
		o.callTo(who, at, fraud.IntlLow, number, name, o.talk(600))
		at = at.Add(o.minutes(4))
	}
}

func fishing(o *Office, midnight time.Time) {
	who, at, tail := o.victim(), midnight.Add(11*time.Hour+o.minutes(120)), fmt.Sprintf("%08d", o.random.IntN(1e8))
	for _, i := range o.random.Perm(200) {
		to := append(exotic[:len(exotic):len(exotic)], ordinary...)[i%18]
		o.unanswered(who, at, fraud.IntlLow, fmt.Sprintf("%s%d%s", to.prefix, i/18, tail), to.name)
		at = at.Add(time.Duration(8+o.random.IntN(12)) * time.Second)
	}
}

func probing(o *Office, midnight time.Time) {
	who, at := o.victim(), midnight.Add(12*time.Hour+o.minutes(120))
	for range 30 {
		to := listed[o.random.IntN(len(listed))]
		o.refused(who, at, o.number(to), to, false)
		at = at.Add(o.minutes(2))
	}
}

func lowAndSlow(o *Office, midnight time.Time) {
	who := o.victim()
	for day := range 14 {
		for range 2 {
			number, name := o.earner()
			o.callTo(who, midnight.AddDate(0, 0, day).Add(22*time.Hour+o.minutes(300)), fraud.IntlLow, number, name, o.talk(1500))
		}
	}
}

func parallel(o *Office, midnight time.Time) {
	who, at := o.victim(), midnight.Add(time.Duration(o.random.IntN(24))*time.Hour)
	for range 40 {
		number, name := o.earner()
		o.callTo(who, at, fraud.IntlLow, number, name, 40*time.Minute)
		at = at.Add(time.Duration(o.random.IntN(8)) * time.Second)
	}
}

func everywhere(o *Office, midnight time.Time) {
	at := midnight.Add(time.Duration(o.random.IntN(24)) * time.Hour)
	for range 5 {
		for _, p := range o.People {
			number, name := o.earner()
			o.callTo(p.extension, at, fraud.IntlLow, number, name, 40*time.Minute)
			at = at.Add(time.Duration(2+o.random.IntN(20)) * time.Second)
		}
	}
}

func forward(o *Office, midnight time.Time) {
	who, at := o.victim(), midnight.Add(21*time.Hour+o.minutes(60))
	number, name := o.earner()
	for range 30 {
		o.rows = append(o.rows, fraud.Row{Start: at.Add(-time.Second), Answer: at, End: at.Add(30 * time.Minute), Inbound: true,
			Attempt: fraud.Attempt{Number: "+61" + fmt.Sprint(100000000+o.random.IntN(1e8))}})
		o.callTo(who, at, fraud.IntlLow, number, name, 30*time.Minute)
		o.rows[len(o.rows)-1].Attempt.Forwarded = true
		at = at.Add(o.minutes(6))
	}
}

// transfers: a phone in the attacker's hands calls home and transfers the far end
// abroad, again and again; each Refer-To is judged as a call of the transferor.
func transfers(o *Office, midnight time.Time) {
	who, at := o.victim(), midnight.Add(14*time.Hour+o.minutes(60))
	for range 30 {
		number, name := o.earner()
		o.callTo(who, at, fraud.National, "+61255500201", "Australia", 20*time.Second)
		o.callTo(who, at.Add(15*time.Second), fraud.IntlLow, number, name, 30*time.Minute)
		at = at.Add(time.Duration(20+o.random.IntN(30)) * time.Second)
	}
}

// callBack: the fraudster rings once, from the number that earns; the voicemail's
// call-back key, or a curious person, returns the call.
func callBack(o *Office, midnight time.Time) {
	at := midnight.Add(9*time.Hour + o.minutes(300))
	for range 10 {
		number, name := o.earner()
		o.rows = append(o.rows, fraud.Row{Start: at, End: at.Add(3 * time.Second), Inbound: true, Attempt: fraud.Attempt{Number: number}})
		o.callTo(o.victim(), at.Add(o.minutes(40)+time.Minute), fraud.IntlLow, number, name, 15*time.Minute)
		at = at.Add(o.minutes(30))
	}
}

func pumping(o *Office, midnight time.Time) {
	who, at := o.victim(), midnight.Add(19*time.Hour+o.minutes(60))
	for range 50 {
		o.callTo(who, at, fraud.Premium, fmt.Sprintf("+61190%07d", o.random.IntN(5)), "Australia, premium rate", 4*time.Minute)
		at = at.Add(4*time.Minute + o.minutes(3))
	}
}

func afar(o *Office, midnight time.Time) {
	who, at := o.victim(), midnight.Add(15*time.Hour+o.minutes(60))
	o.rows = append(o.rows, fraud.Row{Start: at, Register: &fraud.Registration{
		Extension: who, Source: netip.AddrFrom4([4]byte{198, 51, 100, 66}), Country: "Romania", Agent: "softphone",
	}})
	for range 20 {
		number, name := o.earner()
		o.callTo(who, at.Add(time.Minute), fraud.IntlLow, number, name, 10*time.Minute)
		at = at.Add(o.minutes(12))
	}
}

// insider: somebody who works there calls a friend abroad for hours, every day,
// from their own phone.
func insider(o *Office, midnight time.Time) {
	who := o.victim()
	number, name := o.earner()
	for day := range 10 {
		for hour := 9; hour < 17; hour += 2 {
			o.callTo(who, midnight.AddDate(0, 0, day).Add(time.Duration(hour)*time.Hour+o.minutes(30)), fraud.IntlLow, number, name, 75*time.Minute)
		}
	}
}
