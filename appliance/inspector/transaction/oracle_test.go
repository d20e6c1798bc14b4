package transaction

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// wire is sipgo's connection: it writes down what would be sent.
type wire struct {
	mu   sync.Mutex
	sent []string
}

func (w *wire) WriteMsg(msg sip.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch msg := msg.(type) {
	case *sip.Request:
		w.sent = append(w.sent, string(msg.Method))
	case *sip.Response:
		w.sent = append(w.sent, fmt.Sprint(msg.StatusCode))
	}
	return nil
}

func (w *wire) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.sent = nil }()
	return strings.Join(w.sent, " ")
}

func (w *wire) LocalAddr() net.Addr    { return &net.UDPAddr{} }
func (w *wire) Ref(int) int            { return 1 }
func (w *wire) TryClose() (int, error) { return 1, nil }
func (w *wire) Close() error           { return nil }

func request(method sip.RequestMethod, transport string) *sip.Request {
	r := sip.NewRequest(method, sip.Uri{Scheme: "sip", Host: "host"})
	r.AppendHeader(sip.NewHeader("Via", "SIP/2.0/UDP host;branch=z9hG4bKoracle"))
	r.AppendHeader(&sip.FromHeader{Params: sip.NewParams()})
	r.AppendHeader(&sip.ToHeader{Params: sip.NewParams()})
	id := sip.CallIDHeader("oracle")
	r.AppendHeader(&id)
	r.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: method})
	r.SetTransport(transport)
	r.SetSource("host:5060")
	return r
}

// sequences are all of up to length of the words.
func sequences(words []string, length int) [][]string {
	all := [][]string{nil}
	for from := 0; length > 0; length-- {
		to := len(all)
		for _, head := range all[from:to] {
			for _, word := range words {
				all = append(all, append(slices.Clone(head), word))
			}
		}
		from = to
	}
	return all[1:]
}

// TestServersAgree puts every short sequence of what can happen to a server
// transaction to sipgo's machines too, an implementation of its own: both must
// send the same.
func TestServersAgree(t *testing.T) {
	for _, method := range []sip.RequestMethod{"INVITE", "OPTIONS"} {
		for _, events := range sequences([]string{"180", "200", "486", "request", "ACK"}, 4) {
			w := &wire{}
			theirs := sip.NewServerTx("key", request(method, "UDP"), w, slog.New(slog.DiscardHandler))
			if err := theirs.Init(); err != nil {
				t.Fatal(err)
			}
			timers, kind := Defaults(), Server
			if method == "INVITE" {
				kind = ServerInvite
			}
			ours := Start(kind, false, &timers, 0)
			last := ""
			for n, event := range events {
				var do Action
				switch event {
				case "request":
					_ = theirs.Receive(request(method, "UDP"))
					if do = ours.Handle(Request, 0); last == "" {
						do = 0 // there is nothing to repeat yet
					}
				case "ACK":
					if method != "INVITE" {
						continue // never reaches a transaction of another method
					}
					_ = theirs.Receive(request("ACK", "UDP"))
					do = ours.Handle(Ack, 0)
				default:
					var status int
					_, _ = fmt.Sscan(event, &status)
					if late := last >= "200"; !late || method == "INVITE" && last == "200" && status == 200 {
						_ = theirs.Respond(sip.NewResponse(status, ""))
					} // else sipgo sends nothing, but repeats it from now on: RFC 3261 section 17.2 discards it
					if do = ours.Handle(Response(status), 0); do.Has(Send) {
						last = event
					}
				}
				want, got := w.take(), ""
				if do.Has(Send) {
					got = last
				}
				if got != want {
					t.Errorf("%s %v: at %d we send %q, sipgo %q", method, events, n, got, want)
				}
			}
			theirs.Terminate()
		}
	}
}

// TestClientsAgree does the same for client transactions: both must pass the same
// responses on, and acknowledge the same.
func TestClientsAgree(t *testing.T) {
	for _, method := range []sip.RequestMethod{"INVITE", "OPTIONS"} {
		for _, events := range sequences([]string{"100", "180", "200", "486"}, 4) {
			if n := slices.Index(events, "486"); method == "INVITE" && n >= 0 && slices.Contains(events[n+1:], "486") && !slices.Contains(events[:n], "200") {
				continue // sipgo sleeps before it acknowledges a second time
			}
			compareClient(t, method, events)
		}
	}
}

func compareClient(t *testing.T, method sip.RequestMethod, events []string) {
	t.Helper()
	w := &wire{}
	theirs := sip.NewClientTx("key", request(method, "UDP"), w, slog.New(slog.DiscardHandler))
	repeated := false
	theirs.OnRetransmission(func(*sip.Response) { repeated = true })
	if err := theirs.Init(); err != nil {
		t.Fatal(err)
	}
	defer theirs.Terminate()
	w.take()
	timers, kind := Defaults(), Client
	if method == "INVITE" {
		kind = ClientInvite
	}
	ours := Start(kind, false, &timers, 0)
	for n, event := range events {
		var status int
		_, _ = fmt.Sscan(event, &status)
		done := make(chan struct{})
		repeated = false
		response := sip.NewResponseFromRequest(request(method, "UDP"), status, "", nil)
		go func() {
			defer close(done)
			theirs.Receive(response)
		}()
		passed := false
		select {
		case <-theirs.Responses():
			passed = true
			<-done
		case <-done:
			passed = repeated
		case <-time.After(time.Minute): // only a test that fails waits
			t.Fatal("sipgo hangs")
		}
		do := ours.Handle(Response(status), 0)
		if got := do.Has(Pass); got != passed {
			t.Errorf("%s %v: at %d we pass %v, sipgo %v", method, events, n, got, passed)
		}
		if acknowledged := w.take() == "ACK"; do.Has(Acknowledge) != acknowledged {
			t.Errorf("%s %v: at %d we acknowledge %v, sipgo %v", method, events, n, do.Has(Acknowledge), acknowledged)
		}
	}
}
