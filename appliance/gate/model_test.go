package gate

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/rules"
)

var (
	packets = flag.Int("packets", 300_000, "how many frames TestEquivalence compares")
	seed    = flag.Uint64("seed", 0, "what TestEquivalence draws its frames from; 0 draws a seed")
)

const (
	batch    = 250 // frames between two readings of the counters, in one story
	perGuard = 8   // stories under one perimeter, where a run is long
	// leastGuards is how many perimeters a worker has, about: fewer leave some reason out.
	leastGuards = 40
	// moment is how long a story may take: a second refills a limit.
	moment = 900 * time.Millisecond
)

// TestEquivalence runs random stories under random perimeters through the
// kernel and through the model: frames that enter and leave, bans and unbans,
// documents that change. Verdict and reason of every frame must be the same.
func TestEquivalence(t *testing.T) {
	loadKernel(t) // or skip the whole
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d -packets %d, on %d CPUs", *seed, *packets, runtime.GOMAXPROCS(0))
	workers := make([]comparison, runtime.GOMAXPROCS(0))
	t.Run("workers", func(t *testing.T) {
		for i := range workers {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				workers[i] = comparison{TB: t, kernel: loadKernel(t), random: rand.New(rand.NewPCG(*seed, uint64(i)))}
				workers[i].run(*packets / len(workers))
			})
		}
	})
	reached, late := map[appliance.Reason]int{}, 0
	for _, worker := range workers {
		late += worker.late
		for reason, count := range worker.reached {
			reached[reason] += count
		}
	}
	if t.Failed() { // and stopped early
		return
	}
	checkReached(t, reached)
	if late > *packets/batch/2 { // an emulated machine is late for many
		t.Errorf("%d stories took longer than %v", late, moment)
	}
}

// checkReached fails where frames were so many and a reason was so seldom that
// the comparison proves little about it.
func checkReached(t *testing.T, reached map[appliance.Reason]int) {
	t.Helper()
	want := min(100, *packets/3000)
	for _, reason := range appliance.Reasons() {
		byFrame := reason < appliance.FirstCallReason && reason != appliance.ReasonExempt // which is an interface's
		if byFrame && reached[reason] < want {
			t.Errorf("only %d frames reached %v, want %d", reached[reason], reason, want)
		}
	}
	t.Logf("reached %v", reached)
}

// comparison is one worker: a kernel's program of its own and the model.
type comparison struct {
	testing.TB
	kernel  kernel
	random  *rand.Rand
	reached map[appliance.Reason]int
	late    int // stories that were not compared: see moment
}

func (c *comparison) run(frames int) {
	c.reached = map[appliance.Reason]int{}
	frames -= c.under(rules.Guard{}, 1) // one in twenty is empty: a short run may draw none
	stories := min(perGuard, frames/batch/leastGuards+1)
	for frames > 0 {
		frames -= c.under(randomGuard(c.random), stories)
	}
}

// under compares stories under one perimeter, and returns how many frames they had.
func (c *comparison) under(guard rules.Guard, stories int) int {
	tr := trafficNear(c.random, guard)
	c.kernel.enforce(tr.guard)
	for range stories {
		c.compare(story{guard: tr.guard, steps: tr.steps(batch)})
	}
	return stories * batch
}

// compare tells both the story and compares each verdict and, by the counters,
// all reasons. Where they differ it finds the frame to blame.
func (c *comparison) compare(s story) {
	c.Helper()
	want := c.kernel.tallies()
	verdicts, took := c.runKernel(s)
	if took > moment {
		c.late++
		return
	}
	got := c.kernel.tallies()
	m, guard := &rules.Memory{Now: present}, s.guard
	agree := true
	for i, step := range s.steps {
		reason := step.model(&guard, m)
		if step.act != "in" && reason != appliance.ReasonMediaCutOut {
			agree = agree && (step.act != "out" || verdicts[i] == appliance.Allow)
			continue
		}
		agree = agree && verdicts[i] == reason.Verdict()
		before := want[reason]
		want[reason] = appliance.Tally{Packets: before.Packets + 1, Bytes: before.Bytes + uint64(len(step.frame))}
		c.reached[reason]++
	}
	for reason := range want {
		agree = agree && got[reason] == want[reason]
	}
	if !agree {
		c.blame(s, fmt.Sprintf("counted %v, want %v", got, want))
	}
}

func (c *comparison) runKernel(s story) (verdicts []appliance.Verdict, took time.Duration) {
	verdicts = make([]appliance.Verdict, len(s.steps))
	began := time.Now()
	c.kernel.forget()
	for i, step := range s.steps {
		verdicts[i] = step.kernel(c.kernel, s.guard)
	}
	took = time.Since(began)
	s.restore(c.kernel)
	return verdicts, took
}

// blame tells the story again, asking for each reason, and ends the test with
// the shortest part of it that shows the difference.
func (c *comparison) blame(s story, otherwise string) {
	c.Helper()
	c.kernel.forget()
	m, guard := &rules.Memory{Now: present}, s.guard
	for i, step := range s.steps {
		if step.act != "in" {
			got, want := step.kernel(c.kernel, s.guard), step.model(&guard, m)
			if step.act == "out" && got != want.Verdict() {
				c.Fatalf("kernel says %v, model %v (-seed %d) of the last frame, which leaves, of\n%s", got, want, *seed, story{s.guard, s.steps[:i+1]})
			}
			continue
		}
		_, got := c.kernel.judge(step.frame)
		if step.model(&guard, m) == got {
			continue
		}
		short := story{s.guard, s.steps[:i+1]}.shorten(c.kernel)
		c.kernel.enforce(short.guard)
		kernel, model := short.ends(c.kernel)
		c.Fatalf("kernel says %v, model %v (-seed %d) of the last frame of\n%s", kernel, model, *seed, short)
	}
	c.Fatalf("every frame alone agrees (-seed %d), but the kernel %s, in\n%s", *seed, otherwise, s)
}

// TestKernelLooksUpEveryEdge asks for both sides of every boundary of full
// tables.
func TestKernelLooksUpEveryEdge(t *testing.T) {
	p := loadProgram(t)
	guard := rules.Guard{Ports: perimeter.Ports, Sources: append(scattered(8191, false), scattered(8191, true)...)}
	p.enforce(guard)
	for i, source := range guard.Sources {
		if i%8 != 0 && i%8191 > 8 {
			continue
		}
		for _, address := range edges([]rules.Source{source}) {
			want := appliance.Verdict(0)
			if source.Prefix.Contains(address) {
				want = appliance.Allow
			}
			f := frame{source: address, protocol: protoUDP, port: 5060}
			if got := p.verdict(f.bytes()); got != want {
				t.Fatalf("%v is judged %v, want %v", address, got, want)
			}
		}
	}
}
