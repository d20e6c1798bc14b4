package gate

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
	"github.com/ringfence/ringfence/scripts/bench/prefixes"
)

// BenchmarkCompile turns a million networks of a family into a generation in
// force, as an allowlist and as a feed: how long it takes from the rules to the
// kernel's last answer, how much memory the daemon needs meanwhile, and how much
// the kernel keeps.
func BenchmarkCompile(b *testing.B) {
	p := loadProgram(b)
	rounds, n := setting(b, "ROUNDS", 9), setting(b, "PREFIXES", 1_000_000)
	for _, family := range []string{"4", "6"} {
		list := prefixes.New(n, family == "6").List(n)
		guards := map[string]rules.Guard{
			"allow": sipFrom(list),
			"feed":  {Ports: perimeter.Ports, Feeds: []rules.Feed{feedOf(list)}},
		}
		for kind, guard := range guards {
			times := make([]float64, rounds)
			before := resetPeak(b)
			for i := range times {
				began := time.Now()
				p.enforce(guard)
				times[i] = time.Since(began).Seconds()
			}
			say("figure swap%s/%s %.3f", family, kind, median(times))
			say("raw swap%s/%s/peak-MB %.1f", family, kind, float64(peak(b)-before)/1e6)
		}
		compiled, err := compileImage(guards["allow"], "bench")
		check(b, err)
		say("figure bytes%s %.2f", family, float64(compiled.used())/float64(n))
		say("raw bytes%s/pages-MB %.1f", family, float64(len(compiled.pages)*pageSize)/1e6)
	}
}

// used is how much of an image has something in it: the indexes and lines.
func (i *image) used() (used int) {
	for place, page := range i.pages {
		if place < bpf.GatePlacePLACE_LINES {
			used += entryBytes * int(i.head.Shapes[place/2][place%2].Mask+1)
		} else {
			used += filled(page)
		}
	}
	return used
}

// filled counts the bytes of the lines that are not all zero.
func filled(memory []byte) (bytes int) {
	for line := range slices.Chunk(memory, lineBytes) {
		if slices.ContainsFunc(line, func(b byte) bool { return b != 0 }) {
			bytes += lineBytes
		}
	}
	return bytes
}

// resetPeak gives back what the process doesn't need and returns what it has then.
func resetPeak(tb testing.TB) int {
	tb.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	check(tb, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
	return peak(tb)
}

// peak is the most memory that the process has had, in bytes.
func peak(tb testing.TB) int {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	check(tb, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	value, err := strconv.Atoi(strings.Fields(rest + " x")[0])
	check(tb, err)
	return value * 1024
}

// BenchmarkVerifier is what kernels' verifiers make of the program: this one's, and
// that of Linux 6.1 where scripts/test-kernels has asked it about the same program.
func BenchmarkVerifier(b *testing.B) {
	p := loadProgram(b)
	say("figure verifier/here %d", p.verified())
	folder := cmp.Or(os.Getenv("KERNELS"), "/var/tmp/ringfence-kernels")
	console, err := os.ReadFile(filepath.Join(folder, "bookworm-amd64.console"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	asked := regexp.MustCompile(`the verifier walked (\d+) instructions of gate ` + p.fingerprint())
	if found := asked.FindSubmatch(console); found != nil {
		say("figure verifier/6.1 %s", found[1])
	} else {
		say("Linux 6.1 has not been asked about this program: scripts/test-kernels -run Verifier does.")
	}
}
