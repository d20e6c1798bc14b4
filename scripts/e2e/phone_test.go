package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/scripts/peers"
)

// realPhone is baresip on the LAN, which is told over its control socket what to do.
type realPhone struct {
	t      *testing.T
	conn   net.Conn
	log    string
	events chan phoneEvent
}

// phoneEvent is what baresip tells of itself.
type phoneEvent struct {
	Event bool   `json:"event"`
	Type  string `json:"type"`
	Param string `json:"param"`
}

// phoneConfig has a file for a voice, so that no sound card is needed, and states
// how many packets of RTP there were when a call ends.
const phoneConfig = `module_path %s
sip_listen %s
sip_cafile %s
module g711.so
module aufile.so
module aubridge.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:%s
audio_source aufile,%s
audio_player aubridge,nil
audio_alert aubridge,nil
rtp_stats yes
rtcp_mux no
`

const phoneControl = "4444"

// modules finds where Debian has the modules of a program, which depends on the
// release and the machine; empty where it has none.
func modules(name, one string) string {
	for _, pattern := range []string{"/usr/lib/" + name + "/modules", "/usr/lib/*/" + name + "/modules"} {
		if found, _ := filepath.Glob(filepath.Join(pattern, one)); len(found) > 0 { // the pattern is well formed
			return filepath.Dir(found[0])
		}
	}
	return ""
}

// startPhone runs baresip at an address of the LAN.
func startPhone(t *testing.T, lab *peers.Lab, at, authority string) *realPhone {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"accounts": "", "contacts": "", "voice.wav": voice(),
		"config": fmt.Sprintf(phoneConfig, modules("baresip", "ctrl_tcp.so"), net.JoinHostPort(at, "5060"), authority, phoneControl, filepath.Join(dir, "voice.wav"))}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	family := "-4"
	if strings.Contains(at, ":") {
		family = "-6"
	}
	p := &realPhone{t: t, log: filepath.Join(dir, "log"), events: make(chan phoneEvent, 256)}
	p.run(lab, family, dir)
	p.attach(lab)
	return p
}

// voice is a WAV file of twenty seconds, 8 kHz, 16 bits, one channel.
func voice() string {
	const rate, seconds = 8000, 20
	samples := make([]byte, 2*rate*seconds)
	for n := range rate * seconds {
		binary.LittleEndian.PutUint16(samples[2*n:], uint16(int16(8000*math.Sin(2*math.Pi*400*float64(n)/rate))))
	}
	header := []byte("RIFF....WAVEfmt ")
	binary.LittleEndian.PutUint32(header[4:], uint32(36+len(samples)))
	header = binary.LittleEndian.AppendUint32(header, 16)
	for _, one := range []uint16{1, 1, rate, 0, 2 * rate, 0, 2, 16} { // PCM, mono; bytes a second, a frame; bits
		header = binary.LittleEndian.AppendUint16(header, one)
	}
	header = binary.LittleEndian.AppendUint32(append(header, "data"...), uint32(len(samples)))
	return string(header) + string(samples)
}

func (p *realPhone) run(lab *peers.Lab, family, dir string) {
	p.t.Helper()
	log, err := os.Create(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	cmd := lab.Command(ctx, "pbx", "baresip", family, "-f", dir, "-s")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		log.Close()
		if p.t.Failed() {
			p.t.Logf("baresip said:\n%s", p.said())
		}
	})
}

// attach connects to the control socket as soon as that is there.
func (p *realPhone) attach(lab *peers.Lab) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); p.conn == nil; time.Sleep(20 * time.Millisecond) {
		err := lab.Inside("pbx", func() (err error) { p.conn, err = net.Dial("tcp", "127.0.0.1:"+phoneControl); return err })
		if err != nil {
			p.conn = nil
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("baresip takes no commands: %v; it said:\n%s", err, p.said())
		}
	}
	var reading sync.WaitGroup
	reading.Go(p.listen)
	p.t.Cleanup(func() { p.conn.Close(); reading.Wait() })
}

// listen reads netstrings until the connection is closed.
func (p *realPhone) listen() {
	for in := bufio.NewReader(p.conn); ; {
		size, err := in.ReadString(':')
		n, bad := strconv.Atoi(strings.TrimSuffix(size, ":"))
		if err != nil || bad != nil {
			return
		}
		text := make([]byte, n+1) // and the comma
		if _, err := io.ReadFull(in, text); err != nil {
			return
		}
		var one phoneEvent
		if err := json.Unmarshal(text[:n], &one); err == nil && one.Event {
			select {
			case p.events <- one:
			default: // nobody waits for that many
			}
		}
	}
}

func (p *realPhone) tell(command, params string) {
	p.t.Helper()
	text, err := json.Marshal(map[string]string{"command": command, "params": params})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.conn, "%d:%s,", len(text), text); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the next event of one of the types.
func (p *realPhone) wait(types ...string) phoneEvent {
	p.t.Helper()
	for late := time.After(patience); ; {
		select {
		case one := <-p.events:
			for _, want := range types {
				if one.Type == want {
					return one
				}
			}
		case <-late:
			p.t.Fatalf("the telephone waited in vain for %v", types)
		}
	}
}

// register has the telephone register an account; its calls are that account's
// from then on.
func (p *realPhone) register(account string) bool {
	p.t.Helper()
	p.tell("uanew", account)
	return p.wait("REGISTER_OK", "REGISTER_FAIL").Type == "REGISTER_OK"
}

func (p *realPhone) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// talked is what became of a call.
type talked struct {
	ending  string // "completed", or how it was refused
	out, in int    // packets of RTP, as the telephone counts them
}

func (c talked) bothWays() string {
	switch {
	case c.out > 0 && c.in > 0:
		return "both ways"
	case c.out > 0:
		return "one way"
	}
	return "-"
}

var statistics = regexp.MustCompile(`packets: +(\d+) +(\d+)`)

// call dials and, where somebody answers, talks until RTP comes, and a little
// longer, and hangs up.
func (p *realPhone) call(number string) (c talked) {
	p.t.Helper()
	before := len(p.said())
	p.tell("dial", number)
	if one := p.wait("CALL_ESTABLISHED", "CALL_CLOSED"); one.Type == "CALL_CLOSED" {
		return talked{ending: one.Param}
	}
	p.until("RTP", before, regexp.MustCompile("incoming rtp for 'audio' established"))
	time.Sleep(200 * time.Millisecond) // ten more packets, for the sake of the figures
	p.tell("hangup", "")
	p.wait("CALL_CLOSED")
	found := p.until("statistics", before, statistics)
	c.ending = "completed"
	c.out, _ = strconv.Atoi(found[1])
	c.in, _ = strconv.Atoi(found[2])
	return c
}

// ring dials the other account of the same telephone, which answers by itself:
// the call goes out to the registrar and comes back in.
func (p *realPhone) ring(number string) string {
	p.t.Helper()
	p.tell("dial", number)
	for range 2 {
		if one := p.wait("CALL_ESTABLISHED", "CALL_CLOSED"); one.Type == "CALL_CLOSED" {
			return one.Param
		}
	}
	p.tell("hangup", "")
	p.wait("CALL_CLOSED")
	p.wait("CALL_CLOSED")
	return "completed"
}

// until waits until baresip has said something that matches, from a place in its
// log on.
func (p *realPhone) until(what string, from int, match *regexp.Regexp) []string {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if found := match.FindStringSubmatch(p.said()[from:]); found != nil {
			return found
		}
	}
	p.t.Fatalf("the telephone waited in vain for %s", what)
	return nil
}
