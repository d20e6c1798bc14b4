package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// Inspector is what the API shows of the SIP inspector.
type Inspector interface {
	// Live returns the calls in progress.
	Live() []appliance.Call
	// Tallies counts what was refused, by reason.
	Tallies() map[appliance.Reason]uint64
	// Cut ends a call in progress by its whole ID, or returns how far the cut is. It
	// returns when both sides have answered or ctx has ended; the media has stopped.
	Cut(ctx context.Context, id, reason string) (appliance.Cut, error)
	// Cuts are the calls that are being cut.
	Cuts() []appliance.Cut
	// Accounts returns who uses it, and who may, by name.
	Accounts() []appliance.Account
	// Suspects returns the sources that its guard holds something against, the
	// worst first, at most limit of them, and how many there are.
	Suspects(limit int) ([]appliance.Suspect, int)
	// Pardon forgets what is held against a source whose ban was lifted.
	Pardon(source netip.Prefix)
	// Trunks returns the trunks of the rules in force and what is known of their
	// targets.
	Trunks() []appliance.Trunk
	// Trace returns what is kept of the messages of a SIP Call-ID, redacted.
	Trace(callID string) appliance.Trace
	// Export says how sending copies of messages goes; zero where none are sent.
	Export() appliance.Export
}

// Health judges the state of the box, read back at the time of asking.
type Health interface {
	Status() appliance.Status
}

// Server answers the control API. It trusts whoever can reach it: the socket's
// mode is the lock.
type Server struct {
	control      *Control
	inspector    Inspector
	health       Health
	watch        Watch
	certificates Certificates
	log          *slog.Logger
	mux          *http.ServeMux
}

// NewServer returns a server of c.
func NewServer(c *Control, inspector Inspector, watch Watch, health Health, certificates Certificates, log *slog.Logger) *Server {
	s := &Server{control: c, inspector: inspector, watch: watch, health: health, certificates: certificates, log: log, mux: http.NewServeMux()}
	for _, one := range s.routes() {
		s.mux.Handle(one.method+" "+one.path, s.answer(one))
	}
	s.mux.HandleFunc("/", s.nowhere)
	return s
}

// route is one line of the API. Every query parameter that it knows is named:
// others are a mistake, not noise.
type route struct {
	method, path string
	query        []string
	handle       func(http.ResponseWriter, *http.Request) (any, error)
}

func (s *Server) routes() []route {
	return []route{
		{"GET", "/status", nil, s.getStatus},
		{"GET", "/calls", []string{"since", "before", "before_id", "verdict", "number", "account", "limit"}, s.getCalls},
		{"GET", "/calls/{id}", nil, s.getCall},
		{"POST", "/calls/{id}/cut", nil, s.postCut},
		{"GET", "/cuts", nil, s.getCuts},
		{"GET", "/calls/{id}/messages", nil, s.getMessages},
		{"GET", "/drops", []string{"after", "limit"}, s.getDrops},
		{"GET", "/events", []string{"after", "before", "since", "kind", "limit"}, s.getEvents},
		{"GET", "/top", []string{"window", "limit"}, s.getTop},
		{"POST", "/try", nil, s.postTry},
		{"GET", "/policy", nil, s.getPolicy},
		{"PUT", "/policy", nil, s.putPolicy},
		{"GET", "/settings", nil, s.getSettings},
		{"PUT", "/settings", nil, s.putSettings},
		{"GET", "/allow", nil, s.getAllow},
		{"POST", "/allow", nil, s.postAllow},
		{"DELETE", "/allow/{prefix}", nil, s.deleteAllow},
		{"GET", "/bans", []string{"limit"}, s.getBans},
		{"POST", "/bans", nil, s.postBan},
		{"DELETE", "/bans/{source}", nil, s.deleteBan},
		{"GET", "/accounts", []string{"limit"}, s.getAccounts},
		{"GET", "/accounts/{name}", nil, s.getAccount},
		{"GET", "/census", []string{"limit"}, s.getCensus},
		{"GET", "/guard", []string{"limit"}, s.getGuard},
		{"DELETE", "/guard/{source}", nil, s.deleteGuard},
		{"GET", "/feeds", nil, s.getFeeds},
		{"PUT", feedPath, nil, s.putFeed},
		{"POST", feedPath, nil, s.postFeed},
		{"DELETE", feedPath, nil, s.deleteFeed},
		{"GET", "/fraud", []string{"limit"}, s.getFraud},
		{"POST", "/fraud/blocks", nil, s.postBlock},
		{"GET", "/fraud/blocks/{subject}", nil, s.getChecklist},
		{"POST", "/fraud/blocks/{subject}", nil, s.postReopen},
		{"POST", replayPath, nil, s.postReplay},
		{"POST", "/releases", nil, s.postRelease},
		{"DELETE", "/releases/{number}", nil, s.deleteRelease},
		{"PUT", ratesPath, []string{"currency"}, s.putRates},
		{"PUT", countriesPath, nil, s.putCountries},
		{"DELETE", countriesPath + "/{registry}", nil, s.deleteCountries},
		{"POST", "/notices/test", nil, s.postNotice},
		{"PUT", "/secrets/{name}", nil, s.putSecret},
		{"GET", "/audit", []string{"after", "limit"}, s.getAudit},
		{"GET", evidencePath, nil, s.getEvidence},
		{"GET", "/gate", nil, s.getGate},
		{"GET", "/trunks", nil, s.getTrunks},
		{"GET", "/certificates", nil, s.getCertificates},
		{"POST", "/certificates/reload", nil, s.postReload},
		{"GET", "/openapi.yaml", nil, s.getDescription},
	}
}

const (
	feedPath      = "/feeds/{name}"
	ratesPath     = "/rates"
	countriesPath = "/countries"
	replayPath    = "/fraud/replay"
	evidencePath  = "/evidence/{id}"
)

// large reports whether a request brings a list, which may be long.
func (r route) large() bool {
	return r.method == http.MethodPut && r.path == feedPath || r.path == ratesPath || r.path == countriesPath || r.path == replayPath
}

// slow reports whether a request takes its time: a feed comes in, or a bundle goes out.
func (r route) slow() bool {
	return r.large() || r.method == http.MethodPost && r.path == feedPath || r.path == evidencePath
}

// admit bounds what a request may send, and how long it may take.
func (r route) admit(w http.ResponseWriter, request *http.Request) {
	limit := int64(api.MaxBody)
	if r.large() {
		limit = api.MaxFeed
	}
	if r.slow() {
		// What has no deadlines, such as a test's recorder, needs no longer ones.
		control, end := http.NewResponseController(w), time.Now().Add(largeTimeout)
		_ = control.SetReadDeadline(end)
		_ = control.SetWriteDeadline(end)
	}
	request.Body = http.MaxBytesReader(w, request.Body, limit)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Bounds of one connection. Every client is on this box: what is slower than
// this is stuck.
const (
	headerTimeout = 2 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
	drainTimeout  = 5 * time.Second
	largeTimeout  = 5 * time.Minute // a million entries on the slowest board
)

// Serve answers on listener until ctx ends, lets requests under way finish for
// at most five seconds, and closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	drained := make(chan struct{})
	drain := func() {
		defer close(drained)
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if err := server.Shutdown(wait); err != nil {
			server.Close()
		}
	}
	stop := context.AfterFunc(ctx, drain)
	err := server.Serve(listener)
	if stop() {
		drain() // the listener failed by itself
	}
	// Serve returns as soon as the shutdown begins. Whoever called us closes the disk
	// and the gate next, which the handlers still use.
	<-drained
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// answer turns a handler's value or error into JSON.
func (s *Server) answer(one route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.admit(w, r)
		value, err := any(nil), onlyKnown(r, one.query)
		if err == nil {
			value, err = one.handle(w, r)
		}
		if err != nil {
			s.fail(w, err)
			return
		}
		switch answer := value.(type) {
		case verbatim:
			w.Header().Set("Content-Type", answer.contentType)
			w.Write(answer.data)
		case stream:
			s.send(w, answer)
		default:
			write(w, http.StatusOK, value)
		}
	})
}

// stream is an answer that may be too long to hold.
type stream struct {
	contentType string
	write       func(io.Writer) error
}

// send lets a stream flow. One that ends early breaks the connection, so that
// the client does not take a part for the whole.
func (s *Server) send(w http.ResponseWriter, answer stream) {
	to := &begun{ResponseWriter: w, contentType: answer.contentType}
	buffer := bufio.NewWriterSize(to, 64<<10)
	err := errors.Join(answer.write(buffer), buffer.Flush())
	if err == nil {
		return
	}
	if to.begun {
		s.log.Error("send a stream", "err", err)
		panic(http.ErrAbortHandler)
	}
	s.fail(w, err)
}

// begun knows whether anything was sent yet.
type begun struct {
	http.ResponseWriter
	contentType string
	begun       bool
}

func (b *begun) Write(p []byte) (int, error) {
	if !b.begun {
		b.Header().Set("Content-Type", b.contentType)
		b.begun = true
	}
	return b.ResponseWriter.Write(p)
}

// verbatim is an answer that is sent as it is.
type verbatim struct {
	contentType string
	data        []byte
}

func write(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client may have gone
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	status, failure := explain(err)
	if status == http.StatusServiceUnavailable {
		s.log.Error("answer a request", "err", err)
	}
	write(w, status, failure)
}

// explain gives an error its one HTTP status and the list that the client
// reads.
func explain(err error) (int, api.Failure) {
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, failure(appliance.CodeInvalid, "", fmt.Sprintf("the body is longer than %d bytes", tooLong.Limit))
	}
	status := map[appliance.Code]int{
		appliance.CodeInvalid:     http.StatusBadRequest,
		appliance.CodeForbidden:   http.StatusForbidden,
		appliance.CodeNotFound:    http.StatusNotFound,
		appliance.CodeConflict:    http.StatusPreconditionFailed,
		appliance.CodeUnavailable: http.StatusServiceUnavailable,
	}[appliance.CodeOf(err)]
	if list, ok := errors.AsType[appliance.Errors](err); ok {
		return status, api.Failure{Errors: list}
	}
	if one, ok := errors.AsType[*appliance.Error](err); ok {
		return status, api.Failure{Errors: appliance.Errors{one}}
	}
	return status, failure(appliance.CodeUnavailable, "", err.Error())
}

func failure(code appliance.Code, field, message string) api.Failure {
	return api.Failure{Errors: appliance.Errors{{Code: code, Field: field, Message: message}}}
}

// nowhere answers for paths that there are not, and methods that a path does
// not take.
func (s *Server) nowhere(w http.ResponseWriter, r *http.Request) {
	taken := false
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		_, pattern := s.mux.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host})
		if pattern != "/" {
			w.Header().Add("Allow", method)
			taken = true
		}
	}
	if taken {
		write(w, http.StatusMethodNotAllowed, failure(appliance.CodeInvalid, "", r.URL.Path+" does not take "+r.Method))
		return
	}
	write(w, http.StatusNotFound, failure(appliance.CodeNotFound, "", "there is no "+r.URL.Path))
}
