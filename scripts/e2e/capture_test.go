package e2e

import (
	"bufio"
	"context"
	"encoding/hex"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/scripts/peers"
)

// capture is what a host's own interface sees, taken by dumpcap.
type capture struct {
	t    *testing.T
	path string
	stop func()
}

func startCapture(t *testing.T, lab *peers.Lab, host string) *capture {
	t.Helper()
	for _, tool := range []string{"dumpcap", "tshark"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED, NOTHING IS CAPTURED: no %s; scripts/bootstrap test installs it", tool)
		}
	}
	c := &capture{t: t, path: filepath.Join(t.TempDir(), host+".pcapng")}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := lab.Command(ctx, host, "dumpcap", "-q", "-i", "eth0", "-f", "udp or tcp", "-w", c.path)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.stop = func() { cancel(); _ = cmd.Wait() }
	t.Cleanup(c.stop)
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "File: ") { // it listens
			go func() {
				for lines.Scan() {
				}
			}()
			return c
		}
	}
	t.Fatal("dumpcap captures nothing")
	return nil
}

// received returns every datagram and every stream that came to an address, as
// text: a number may not hide in a segment's end. It waits until last is there.
func (c *capture) received(at, last string) []string {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		texts := c.texts(at)
		for _, one := range texts {
			if strings.Contains(one, last) {
				return texts
			}
		}
	}
	c.t.Fatalf("the capture of %s does not hold %q", at, last)
	return nil
}

func (c *capture) texts(at string) (all []string) {
	c.t.Helper()
	family := "ip"
	if strings.Contains(at, ":") {
		family = "ipv6"
	}
	// A file that is being written ends anywhere, which tshark complains of.
	out, _ := exec.Command("tshark", "-r", c.path, "-Y", family+".dst == "+at+" && !tcp.analysis.retransmission",
		"-T", "fields", "-e", "tcp.stream", "-e", "udp.payload", "-e", "tcp.payload").Output()
	streams := map[string]string{}
	for line := range strings.Lines(string(out)) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(parts) != 3 {
			continue
		}
		data, err := hex.DecodeString(strings.ReplaceAll(parts[1]+parts[2], ":", ""))
		if err != nil {
			c.t.Fatalf("tshark wrote %q: %v", line, err)
		}
		if parts[0] == "" {
			all = append(all, string(data))
		} else {
			streams[parts[0]] += string(data)
		}
	}
	for _, one := range streams {
		all = append(all, one)
	}
	return all
}

var escape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// mention reports whether any of the texts holds digits, however they are
// escaped or separated.
func mention(texts []string, digits string) bool {
	for _, text := range texts {
		text = escape.ReplaceAllStringFunc(text, func(one string) string {
			n, _ := strconv.ParseUint(one[1:], 16, 8)
			return string(rune(n))
		})
		if strings.Contains(strings.NewReplacer("-", "", ".", "", "(", "", ")", "", " ", "").Replace(text), digits) {
			return true
		}
	}
	return false
}
