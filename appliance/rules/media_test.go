package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/policy"
	"github.com/ringfence/ringfence/appliance/settings"
)

// speech is RTP of G.711.
var speech = "\x80\x00\x00\x01" + strings.Repeat("\x00", 168)

func TestLooksLikeMedia(t *testing.T) {
	zeros := strings.Repeat("\x00", 40)
	for _, c := range []struct {
		name, payload string
		want          bool
	}{
		{"G.711", speech, true},
		{"marked", "\x80\x80\x00\x01" + zeros, true},
		{"dynamic", "\x80\x65\x00\x01" + zeros, true},
		{"with an extension and two sources", "\x92\x12\x00\x01" + zeros, true},
		{"a bare header", "\x80\x00\x00\x01" + zeros[:8], true},
		{"a sender report", "\x80\xc8\x00\x06" + zeros, true},
		{"an empty receiver report", "\x80\xc9\x00\x01" + zeros[:4], true},
		{"nothing", "", false},
		{"too short", "\x80\x00\x00\x01" + zeros[:7], false},
		{"shorter than its sources", "\x8f\x00\x00\x01" + zeros, false},
		{"an unassigned type", "\x80\x23\x00\x01" + zeros, false},
		{"a report cut short", "\x80\xc8\x00\x0b" + zeros, false},
		{"STUN", "\x00\x01\x00\x00\x21\x12\xa4\x42" + zeros, false},
		{"DTLS", "\x16\xfe\xfd\x00" + zeros, false},
		{"QUIC", "\xc3\x00\x00\x00\x01" + zeros, false},
		{"a short QUIC header", "\x43" + zeros, false},
	} {
		if got := looksLikeMedia([]byte(c.payload)); got != c.want {
			t.Errorf("%s looks like media: %v", c.name, got)
		}
	}
}

func TestMediaGuardJudges(t *testing.T) {
	const (
		media    = appliance.ReasonMedia
		stray    = appliance.ReasonMediaStray
		observed = appliance.ReasonMediaObserved
	)
	in := func(source string, from, to uint16) []byte { return frame4(source, 17, udp(from, to, speech)) }
	out := func(to string, local, remote uint16, payload string) []byte {
		return outward(to, 17, udp(local, remote, payload))
	}
	g := guarded()
	m := &Memory{Now: moment}
	judgeAll(t, g, m, []step{{"off", in(stranger, 9000, 4000), notGuarded}})
	g.Media = MediaObserve
	judgeAll(t, g, m, []step{{"observe", in(stranger, 9000, 4000), observed}})
	g.Media = MediaEnforce
	m.Permit(appliance.MediaKey{Remote: address("198.51.100.1"), LocalPort: 4000}, long)
	m.Permit(appliance.MediaKey{Remote: address("198.51.100.1"), LocalPort: 4001}, moment) // has just run out
	m.Permit(appliance.MediaKey{LocalPort: 4002}, long)
	judgeAll(t, g, m, []step{
		{"nobody's", in(stranger, 9000, 4000), stray},
		{"negotiated", in("198.51.100.1", 9000, 4000), media},
		{"from another port", in("198.51.100.1", 9001, 4000), media},
		{"to another port", in("198.51.100.1", 9000, 4004), stray},
		{"its permit has run out", in("198.51.100.1", 9000, 4001), stray},
		{"the provider's", in(provider, 9000, 4002), media},
		{"the provider's, to another port", in(provider, 9000, 4004), stray},
		{"a stranger's to a port for providers", in(stranger, 9000, 4002), stray},
		{"over UDP-Lite", frame4(stranger, 136, udp(9000, 4000, speech)), notGuarded},
		{"to a name server", in(stranger, 9000, 53), notGuarded},
		{"no media", frame4(stranger, 17, udp(9000, 4000, "hello, world")), notGuarded},
		{"to a guarded port", in(stranger, 9000, 5060), sipSource},
		{"to an open port", in(stranger, 9000, 1194), appliance.ReasonOpenService},
	})
	// Somebody inside began, with whatever it was.
	if got := g.Egress(out(stranger, 4000, 9000, "x"), m); got != appliance.Allow {
		t.Errorf("%v on the way out", got)
	}
	judgeAll(t, g, m, []step{{"asked for", in(stranger, 9000, 4000), notGuarded}, {"from another port", in(stranger, 9001, 4000), stray}})
	m.Now += mediaIdle + 1
	judgeAll(t, g, m, []step{{"asked for a while ago", in(stranger, 9000, 4000), stray}})
	m.Permit(appliance.MediaKey{}, long)
	judgeAll(t, g, m, []step{{"while somebody calls for help", in(stranger, 1, 4004), media}})
}

func TestCutJudges(t *testing.T) {
	const cut = appliance.ReasonMediaCut
	in := func(from, to uint16) []byte { return frame4(provider, 17, udp(from, to, "anything")) }
	out := func(local, remote uint16) []byte { return outward(provider, 17, udp(local, remote, "anything")) }
	for _, c := range []struct {
		name string
		key  appliance.MediaKey
		// what becomes of provider:9000 <-> 4000, of another port of theirs, and of ours
		same, theirs, ours bool
	}{
		{"the far end", appliance.MediaKey{Remote: address(provider), RemotePort: 9000}, true, false, true},
		{"their address and our port", appliance.MediaKey{Remote: address(provider), LocalPort: 4000}, true, true, false},
		{"both ends", appliance.MediaKey{Remote: address(provider), RemotePort: 9000, LocalPort: 4000}, true, false, false},
		{"somebody else", appliance.MediaKey{Remote: address(stranger), RemotePort: 9000}, false, false, false},
	} {
		for _, g := range []Guard{guarded(), {}} {
			m := &Memory{Now: moment}
			m.Cut(c.key, long)
			m.Permit(appliance.MediaKey{Remote: address(provider), LocalPort: 4000}, long)
			for _, one := range []struct {
				theirs, ours uint16
				want         bool
			}{{9000, 4000, c.same}, {9002, 4000, c.theirs}, {9000, 4002, c.ours}} {
				if _, reason := g.Judge(in(one.theirs, one.ours), m); (reason == cut) != one.want {
					t.Errorf("%s: %d to %d is %v", c.name, one.theirs, one.ours, reason)
				}
				if verdict := g.Egress(out(one.ours, one.theirs), m); (verdict == appliance.Block) != one.want {
					t.Errorf("%s: %d to %d is %v", c.name, one.ours, one.theirs, verdict)
				}
			}
			m.Uncut(c.key)
			m.Cut(c.key, moment) // has just run out
			if _, reason := g.Judge(in(9000, 4000), m); reason == cut {
				t.Errorf("%s is cut for ever", c.name)
			}
		}
	}
	m := &Memory{Now: moment}
	m.Cut(appliance.MediaKey{Remote: address(provider), RemotePort: 9000}, long)
	m.Cut(appliance.MediaKey{Remote: address(stranger), RemotePort: 9000}, long)
	judgeAll(t, guarded(), m, []step{
		{"TCP", frame4(provider, 6, tcp(9000, 4000, ack, "")), notGuarded},
		{"even to a guarded port", in(9000, 5060), cut},
		{"but for what that drops anyway", frame4(stranger, 17, udp(9000, 5060, "anything")), appliance.ReasonSIPSource},
		{"the first fragment", ether("0800", v4(provider, 17, 7, 0x2000, "", udp(9000, 4000, speech))), cut},
		{"and the second", ether("0800", v4(provider, 17, 7, 1, "", []byte(speech))), appliance.ReasonFragmentDropped},
	})
}

func TestMediaGuardIsCompiled(t *testing.T) {
	for word, want := range map[settings.MediaGuard]MediaGuard{
		settings.MediaOff: MediaOff, settings.MediaObserve: MediaObserve, settings.MediaEnforce: MediaEnforce,
	} {
		s := settings.Default()
		s.Media.Guard = word
		r, err := Compile(policy.Builtin(), s, Facts{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Guard().Media; got != want || got.String() != string(word) {
			t.Errorf("%s is compiled to %v", word, got)
		}
	}
}
