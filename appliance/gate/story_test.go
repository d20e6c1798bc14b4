package gate

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/feed"
	"github.com/ringfence/ringfence/appliance/rules"
)

// Times of stories, since boot. A test doesn't wait, so there are three: what
// is over on any kernel, the model's present, and what no test lives to see.
const (
	past    = time.Duration(1)
	present = time.Hour
	future  = time.Duration(1 << 62)
)

// step is one thing that happens to a gate.
type step struct {
	act    string // in, out, ban, lapse (a ban that has run out), unban, strip, permit, cut, uncut, or permitted and cutted, which have run out
	frame  []byte
	source netip.Addr
	media  appliance.MediaKey
}

func (s step) String() string {
	switch {
	case s.frame != nil:
		return s.act + " " + hex.EncodeToString(s.frame)
	case s.source.IsValid():
		return s.act + " " + s.source.String()
	case s.act != "strip":
		remote := "anybody"
		if s.media.Remote.IsValid() {
			remote = s.media.Remote.String()
		}
		return fmt.Sprintf("%s %s %d %d", s.act, remote, s.media.RemotePort, s.media.LocalPort)
	}
	return s.act
}

// stripped is what strip makes of a perimeter: the documents name nobody any
// more, guard fewer ports and list the whole internet, and what the gate
// remembers is from before.
func stripped(guard rules.Guard) rules.Guard {
	guard.Sources, guard.Ports[rules.ServiceHTTP] = nil, nil
	guard.Feeds = []rules.Feed{{Name: "all", List: feed.List{
		V4:      []feed.Range4{{Last: 1<<32 - 1}},
		V6:      []feed.Range6{{Last: feed.Address6{High: 1<<64 - 1, Low: 1<<64 - 1}}},
		Entries: 2,
	}}}
	return guard
}

// model does the step to the model; of a frame that enters it returns the reason,
// and of one that leaves and is dropped.
func (s step) model(guard *rules.Guard, m *rules.Memory) (reason appliance.Reason) {
	switch s.act {
	case "in":
		_, reason = guard.Judge(s.frame, m)
	case "out":
		if guard.Egress(s.frame, m) == appliance.Block {
			return appliance.ReasonMediaCutOut
		}
		return appliance.ReasonNotGuarded
	case "ban":
		m.Ban(s.source, future)
	case "lapse":
		m.Ban(s.source, past)
	case "unban":
		m.Unban(s.source)
	case "strip":
		*guard = stripped(*guard)
	case "permit":
		m.Permit(s.media, future)
	case "permitted":
		m.Permit(s.media, past)
	case "cut":
		m.Cut(s.media, future)
	case "cutted":
		m.Cut(s.media, past)
	case "uncut":
		m.Uncut(s.media)
	}
	return reason
}

// kernel does the step to the kernel; of a frame it returns the verdict.
func (s step) kernel(k kernel, guard rules.Guard) (verdict appliance.Verdict) {
	switch s.act {
	case "in":
		return k.verdict(s.frame)
	case "out":
		return k.egress(s.frame)
	case "ban":
		k.ban(s.source, future)
	case "lapse":
		k.ban(s.source, past)
	case "unban":
		k.unban(s.source)
	case "strip":
		k.enforce(stripped(guard))
	case "permit":
		k.permit(s.media, future)
	case "permitted":
		k.permit(s.media, past)
	case "cut":
		k.cut(s.media, future)
	case "cutted":
		k.cut(s.media, past)
	case "uncut":
		k.uncut(s.media)
	}
	return verdict
}

// story is what happens to a gate that remembers nothing, under one perimeter.
type story struct {
	guard rules.Guard
	steps []step
}

// String writes the story so that readStory can read it: a line for each port,
// source, feed, limit and step.
func (s story) String() string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	for service, ports := range s.guard.Ports {
		for _, port := range ports {
			line("port %d %d", service, port)
		}
	}
	for _, source := range s.guard.Sources {
		line("source %s %d %t", source.Prefix, source.Services, source.Firm)
	}
	for _, f := range s.guard.Feeds {
		line("feed %s", strings.Join(rangesOf(f.List), " "))
	}
	for service, limit := range s.guard.Limits {
		if limit != (rules.Limit{}) {
			line("limit %d %d %d", service, limit.PerSecond, limit.Burst)
		}
	}
	if s.guard.Media != rules.MediaOff {
		line("media %d", s.guard.Media)
	}
	for _, step := range s.steps {
		line("%s", step)
	}
	return out.String()
}

func rangesOf(list feed.List) (out []string) {
	for _, r := range list.V4 {
		out = append(out, fmt.Sprintf("%s-%s", address4(r.First), address4(r.Last)))
	}
	for _, r := range list.V6 {
		out = append(out, fmt.Sprintf("%s-%s", address6(r.First), address6(r.Last)))
	}
	return out
}

func readStory(text string) (s story, err error) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			if err := s.read(words[0], words[1:]); err != nil {
				return s, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
			}
		}
	}
	return s, nil
}

func (s *story) read(kind string, words []string) error {
	wants, known := map[string]int{"port": 2, "source": 3, "limit": 3, "strip": 0, "in": 1, "out": 1, "ban": 1, "lapse": 1, "unban": 1,
		"media": 1, "permit": 3, "permitted": 3, "cut": 3, "cutted": 3, "uncut": 3}[kind]
	if known && len(words) != wants {
		return fmt.Errorf("%d words, want %d", len(words), wants)
	}
	switch kind {
	case "port":
		numbers, err := numbersIn(words)
		s.guard.Ports[numbers[0]] = append(s.guard.Ports[numbers[0]], uint16(numbers[1]))
		return err
	case "source":
		prefix, err := netip.ParsePrefix(words[0])
		services, _ := strconv.Atoi(words[1])
		s.guard.Sources = append(s.guard.Sources, rules.Source{Prefix: prefix, Services: uint8(services), Firm: words[2] == "true"})
		return err
	case "feed":
		return s.readFeed(words)
	case "limit":
		numbers, err := numbersIn(words)
		s.guard.Limits[numbers[0]] = rules.Limit{PerSecond: uint32(numbers[1]), Burst: uint32(numbers[2])}
		return err
	case "in", "out":
		frame, err := hex.DecodeString(words[0])
		s.steps = append(s.steps, step{act: kind, frame: frame})
		return err
	case "strip":
		s.steps = append(s.steps, step{act: kind})
		return nil
	case "media":
		mode, err := strconv.Atoi(words[0])
		s.guard.Media = rules.MediaGuard(mode)
		return err
	case "permit", "permitted", "cut", "cutted", "uncut":
		key, err := readMedia(words)
		s.steps = append(s.steps, step{act: kind, media: key})
		return err
	case "ban", "lapse", "unban":
		source, err := netip.ParseAddr(words[0])
		s.steps = append(s.steps, step{act: kind, source: source})
		return err
	}
	return fmt.Errorf("no such thing")
}

func readMedia(words []string) (key appliance.MediaKey, err error) {
	if words[0] != "anybody" {
		if key.Remote, err = netip.ParseAddr(words[0]); err != nil {
			return key, err
		}
	}
	_, err = fmt.Sscan(words[1]+" "+words[2], &key.RemotePort, &key.LocalPort)
	return key, err
}

// numbersIn returns a service and what follows it.
func numbersIn(words []string) (numbers []int, err error) {
	for _, word := range words {
		number, mistake := strconv.Atoi(word)
		if numbers = append(numbers, number); mistake != nil {
			err = mistake
		}
	}
	if numbers[0] < 0 || numbers[0] >= int(rules.Services) {
		numbers[0], err = 0, fmt.Errorf("no such service")
	}
	return numbers, err
}

func (s *story) readFeed(ranges []string) error {
	list := feed.List{Entries: len(ranges)}
	for _, text := range ranges {
		first, last, _ := strings.Cut(text, "-")
		from, err := netip.ParseAddr(first)
		if err != nil {
			return err
		}
		to, err := netip.ParseAddr(last)
		if err != nil {
			return err
		}
		if from.Is4() {
			list.V4 = append(list.V4, feed.Range4{First: number4(from), Last: number4(to)})
		} else {
			list.V6 = append(list.V6, feed.Range6{First: number6(from), Last: number6(to)})
		}
	}
	s.guard.Feeds = append(s.guard.Feeds, rules.Feed{Name: fmt.Sprintf("feed%d", len(s.guard.Feeds)), List: list})
	return nil
}

// regressions are stories about which kernel and model differed once, as a
// comparison prints them, with the reason for the last frame.
var regressions = []struct {
	name string
	want appliance.Reason
	text string
}{
	{"first fragment dropped, then the second, which holds no ports", appliance.ReasonFragmentDropped, `
		port 0 5060
		in 0000000000000000000000000800450000240007200040110000c6336442c6336401000913c4001000000000000000000000
		in 0000000000000000000000000800450000240007000240110000c6336442c6336401000913c4001000000000000000000000`},
	{"a control character instead of the colon", appliance.ReasonNotGuarded, `
		port 0 80
		in 0000000000000000000000000800450000370002000040880000f4ff01ffc63364019c4013c6001d0000474554207369701a313030403139322e302e322e31205349502f32000000000000000000000000`},
	{"TCP that began inside outlives a ban", appliance.ReasonReply, `
		port 1 443
		out 00000000000000000000000008004500002c0000000040060000c6336401c612000901bb23280000000000000000600200000000000000000000
		ban 198.18.0.9
		in 00000000000000000000000008004500002c0000000040060000c6120009c6336401232801bb0000000000000000601000000000000000000000`},
}

func TestStoriesAgree(t *testing.T) {
	k := loadKernel(t)
	for _, r := range regressions {
		s, err := readStory(r.text)
		check(t, err)
		k.enforce(s.guard)
		if kernel, model := s.ends(k); kernel != r.want || model != r.want {
			t.Errorf("%s: kernel says %v, model %v, want %v", r.name, kernel, model, r.want)
		}
	}
}

// What a comparison prints must be what it saw.
func TestStoriesReadBack(t *testing.T) {
	random := newRandom(3)
	for range 50 {
		tr := trafficNear(random, randomGuard(random))
		told := story{guard: tr.guard, steps: tr.steps(20)}
		read, err := readStory(told.String())
		check(t, err)
		if read.String() != told.String() {
			t.Fatalf("told\n%s\nread\n%s", told, read)
		}
	}
}

// ends tells the story to both, with the guard in force before and after, and
// returns what they say of its last frame.
func (s story) ends(k kernel) (kernel, model appliance.Reason) {
	k.forget()
	m, guard, last := &rules.Memory{Now: present}, s.guard, len(s.steps)-1
	for _, step := range s.steps[:last] {
		step.kernel(k, s.guard)
		step.model(&guard, m)
	}
	_, kernel = k.judge(s.steps[last].frame)
	model = s.steps[last].model(&guard, m)
	s.restore(k)
	return kernel, model
}

// restore puts the perimeter in force again.
func (s story) restore(k kernel) {
	if slices.ContainsFunc(s.steps, func(one step) bool { return one.act == "strip" }) {
		k.enforce(s.guard)
	}
}

// shorten leaves out of a story whatever its end, the disagreement, doesn't need.
func (s story) shorten(k kernel) story {
	fails := func(shorter story) bool {
		k.enforce(shorter.guard)
		kernel, model := shorter.ends(k)
		return kernel != model
	}
	last := s.steps[len(s.steps)-1]
	earlier := reduce(s.steps[:len(s.steps)-1], func(steps []step) bool {
		return fails(story{s.guard, append(slices.Clone(steps), last)})
	})
	s.steps = append(slices.Clone(earlier), last)
	s.guard.Sources = reduce(s.guard.Sources, func(sources []rules.Source) bool {
		shorter := s
		shorter.guard.Sources = sources
		return fails(shorter)
	})
	s.guard.Feeds = reduce(slices.Clone(s.guard.Feeds), func(feeds []rules.Feed) bool {
		shorter := s
		shorter.guard.Feeds = feeds
		return fails(shorter)
	})
	for i := range s.guard.Feeds {
		list := &s.guard.Feeds[i].List
		list.V4 = reduce(list.V4, func(less []feed.Range4) bool {
			defer func(all []feed.Range4) { list.V4 = all }(list.V4)
			list.V4 = less
			return fails(s)
		})
		list.V6 = reduce(list.V6, func(less []feed.Range6) bool {
			defer func(all []feed.Range6) { list.V6 = all }(list.V6)
			list.V6 = less
			return fails(s)
		})
	}
	return s
}

// reduce leaves out items, in ever smaller pieces, for as long as fails holds.
func reduce[T any](items []T, fails func([]T) bool) []T {
	for size := max(1, len(items)/2); ; size /= 2 {
		for at := 0; at < len(items); {
			less := slices.Concat(items[:at], items[min(at+size, len(items)):])
			if fails(less) {
				items = less
			} else {
				at += size
			}
		}
		if size <= 1 {
			return items
		}
	}
}
