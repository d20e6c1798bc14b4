package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/scripts/peers"
)

// load makes calls as fast as they end, 100 at a time, and adds the rate (calls a
// second) and the side's CPU time (seconds a call).
func (b *bench) load(ctx context.Context, side proxy, kind, user string, all readings) error {
	uri := "sip:" + user + "@" + peers.Provider
	numbers := filepath.Join(b.lab.Logs, kind+".csv")
	if err := os.WriteFile(numbers, fmt.Appendf(nil, "SEQUENTIAL\n%s;sip:101@%s\n", uri, peers.PBX), 0o644); err != nil {
		return err
	}
	scenario, calls := "call", b.calls
	if kind == "refused" {
		scenario, calls = "disguise", 6*b.calls // cheap: more of them, for the resolution of the CPU clock
	}
	settle()
	before, start := b.cpu(side), time.Now()
	outcome, err := b.lab.Call(ctx, peers.Script{
		Name: side.name + "-" + kind, Host: "pbx", Scenario: scenario, Quiet: true,
		Local: peers.PBX + ":5060", Remote: side.lan,
		Options: []string{"-inf", numbers, "-key", "uri", uri, "-key", "to", "<" + uri + ">",
			"-m", strconv.Itoa(calls), "-r", "20000", "-l", "100", "-d", "20"},
	})
	if err != nil {
		return err
	}
	if !outcome.OK {
		return fmt.Errorf("%s did not complete every %s, see %s", side.name, kind, outcome.Log)
	}
	elapsed := time.Since(start).Seconds()
	settle()
	all.add(side.name+" "+kind+" rate", float64(calls)/elapsed)
	after := b.cpu(side)
	program, kernel := (after[0]-before[0])/float64(calls), (after[1]-before[1])/float64(calls)
	all.add(side.name+" "+kind+" user", program)
	all.add(side.name+" "+kind+" system", kernel)
	all.add(side.name+" "+kind+" cpu", program+kernel)
	return nil
}

// settle waits until a side has done what it puts off, such as writing records: it
// belongs to the load that caused it, and to no other.
func settle() { time.Sleep(2 * time.Second) }

// cpu is what the side's processes have used, user and system, in seconds.
func (b *bench) cpu(side proxy) (used [2]float64) {
	const ticks = 100 // USER_HZ, fixed by the kernel's ABI on every Linux that Go runs on
	for _, pid := range side.pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended, and the load will say so
		}
		// The command may hold spaces: fields count from behind its parenthesis
		// (proc(5): utime and stime are fields 14 and 15).
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for n, field := range fields[11:13] {
			count, _ := strconv.ParseFloat(field, 64)
			used[n] += count / ticks
		}
	}
	return used
}

// direct is the way to the provider without a proxy. It begins on the box, since
// the egress lock lets nobody on the LAN speak SIP past the inspector: one hop is
// missing in it, the same for either side.
var direct = proxy{name: "direct", lan: peers.Provider + ":5060"}

// latency times INVITE to 180 at an easy pace, and adds every time in seconds. sipp
// counts in milliseconds, so this client is our own.
func (b *bench) latency(ctx context.Context, side proxy, all readings) error {
	name, to, host, address := side.name, side.lan, "pbx", peers.PBX
	if len(side.pids) == 0 {
		host, address = "box", peers.BoxWAN
	}
	var socket net.Conn
	err := b.lab.Inside(host, func() (err error) {
		local := &net.UDPAddr{IP: net.ParseIP(address), Port: 5090}
		remote, err := net.ResolveUDPAddr("udp", to)
		if err != nil {
			return err
		}
		socket, err = net.DialUDP("udp", local, remote)
		return err
	})
	if err != nil {
		return err
	}
	defer socket.Close()
	for n := range b.probes {
		id := fmt.Sprintf("%s-%d-%d", name, time.Now().UnixNano(), n)
		took, err := ring(socket, id)
		if err != nil {
			return fmt.Errorf("call through %s: %w", name, err)
		}
		all.add(name+" ringing", took.Seconds())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// ring makes one whole call and returns the time from INVITE to 180.
func ring(socket net.Conn, id string) (time.Duration, error) {
	uri := "sip:+61255500101@" + peers.Provider
	send := func(method, to, uri, routes string, cseq int) error {
		_, err := fmt.Fprintf(socket, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s:5090;branch=z9hG4bK%s%d%s;rport\r\n%s"+
			"Max-Forwards: 70\r\nFrom: <sip:101@%[3]s>;tag=%[4]s\r\nTo: %[8]s\r\nCall-ID: %[4]s\r\n"+
			"CSeq: %[5]d %[1]s\r\nContact: <sip:pbx@%[3]s:5090>\r\nContent-Length: 0\r\n\r\n",
			method, uri, peers.PBX, id, cseq, strings.ToLower(method), routes, to)
		return err
	}
	start := time.Now()
	if err := send("INVITE", "<"+uri+">", uri, "", 1); err != nil {
		return 0, err
	}
	if _, err := await(socket, id, 180); err != nil {
		return 0, err
	}
	took := time.Since(start)
	answer, err := await(socket, id, 200)
	if err != nil {
		return 0, err
	}
	target := strings.Trim(answer.contact, "<>")
	if err := send("ACK", answer.to, target, answer.routes, 1); err != nil {
		return 0, err
	}
	if err := send("BYE", answer.to, target, answer.routes, 2); err != nil {
		return 0, err
	}
	_, err = await(socket, id, 200)
	return took, err
}

// reply is what of a response the next request needs.
type reply struct{ to, contact, routes string }

// await reads until the response with status to the call id, 5 s at most.
func await(socket net.Conn, id string, status int) (reply, error) {
	buffer := make([]byte, 65535)
	if err := socket.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return reply{}, err
	}
	for {
		n, err := socket.Read(buffer)
		if err != nil {
			return reply{}, fmt.Errorf("wait for %d: %w", status, err)
		}
		text := string(buffer[:n])
		if !strings.Contains(text, id) || !strings.HasPrefix(text, "SIP/2.0 ") {
			continue
		}
		if !strings.HasPrefix(text, fmt.Sprintf("SIP/2.0 %d ", status)) {
			if strings.HasPrefix(text, "SIP/2.0 1") {
				continue
			}
			return reply{}, errors.New(strings.SplitN(text, "\r\n", 2)[0])
		}
		return headers(text), nil
	}
}

func headers(text string) reply {
	var r reply
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "to":
			r.to = value
		case "contact":
			r.contact = value
		case "record-route": // reversed for the caller, RFC 3261 section 12.1.2
			r.routes = "Route: " + value + "\r\n" + r.routes
		}
	}
	return r
}

// daemon finds ringfenced by the lab's pid file.
func (b *bench) daemon() (proxy, error) {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(b.lab.State()), "daemon.pid"))
	if err != nil {
		return proxy{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	return proxy{"ringfence", peers.BoxLAN + ":5060", []int{pid}}, err
}

// startKamailio gives kamailio the high-risk list that ringfenced enforces and
// waits until it listens. Its memory is more than it ever takes.
func (b *bench) startKamailio(ctx context.Context, name string, port int, more ...string) (proxy, error) {
	lists := filepath.Join(b.lab.Logs, "lists-"+name)
	if err := b.writeLists(lists); err != nil {
		return proxy{}, err
	}
	run := filepath.Join(b.lab.Logs, name) // for its sockets
	if err := os.MkdirAll(run, 0o755); err != nil {
		return proxy{}, err
	}
	args := append([]string{"-DD", "-m", "512", "-M", "8", "-f", filepath.Join(b.lab.Root, "scripts/bench/kamailio.cfg"),
		"-A", fmt.Sprintf("LAN=udp:%s:%d", peers.BoxLAN, port), "-A", fmt.Sprintf("WAN=udp:%s:%d", peers.BoxWAN, port),
		"-A", `TRUNK="sip:` + peers.Provider + `:5060"`, "-A", `LISTS="text://` + lists + `"`, "-Y", run}, more...)
	cmd := b.lab.Command(ctx, "box", "kamailio", args...)
	log, err := os.Create(filepath.Join(b.lab.Logs, name+".log"))
	if err != nil {
		return proxy{}, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return proxy{}, err
	}
	go func() { _ = cmd.Wait() }() // its death shows in the calls that fail
	side := proxy{name, fmt.Sprintf("%s:%d", peers.BoxLAN, port), []int{cmd.Process.Pid}}
	for range 50 {
		time.Sleep(100 * time.Millisecond)
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		if err != nil {
			break
		}
		if pids := strings.Fields(string(children)); len(pids) >= 5 {
			for _, pid := range pids {
				n, _ := strconv.Atoi(pid)
				side.pids = append(side.pids, n)
			}
			return side, nil
		}
	}
	return side, fmt.Errorf("start kamailio, see %s", log.Name())
}

// writeLists writes the tables of db_text that mtree reads at start.
func (b *bench) writeLists(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var risky strings.Builder
	risky.WriteString("tprefix(string) tvalue(string)\n")
	for _, entry := range dialplan.HighRisk("AU") {
		fmt.Fprintf(&risky, "%s:risky\n", strings.TrimPrefix(entry.Prefix, "+"))
	}
	return errors.Join(
		os.WriteFile(filepath.Join(folder, "risky"), []byte(risky.String()), 0o644),
		os.WriteFile(filepath.Join(folder, "version"), []byte("table_name(string) table_version(int)\nrisky:1\n"), 0o644))
}
