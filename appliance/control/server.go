package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
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
}

// Health judges the state of the box, read back at the time of asking.
type Health interface {
	Status() appliance.Status
}

// Server answers the control API. It trusts whoever can reach it: the socket's
// mode is the lock.
type Server struct {
	control   *Control
	inspector Inspector
	health    Health
	log       *slog.Logger
	mux       *http.ServeMux
}

// NewServer returns a server of c.
func NewServer(c *Control, inspector Inspector, health Health, log *slog.Logger) *Server {
	s := &Server{control: c, inspector: inspector, health: health, log: log, mux: http.NewServeMux()}
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
		{"GET", "/calls", []string{"since", "verdict", "limit"}, s.getCalls},
		{"GET", "/calls/{id}", nil, s.getCall},
		{"GET", "/drops", []string{"after", "limit"}, s.getDrops},
		{"GET", "/events", []string{"after", "since", "kind", "limit"}, s.getEvents},
		{"GET", "/top", []string{"limit"}, s.getTop},
		{"POST", "/try", nil, s.postTry},
		{"GET", "/policy", nil, s.getPolicy},
		{"PUT", "/policy", nil, s.putPolicy},
		{"GET", "/settings", nil, s.getSettings},
		{"PUT", "/settings", nil, s.putSettings},
		{"GET", "/allow", nil, s.getAllow},
		{"POST", "/allow", nil, s.postAllow},
		{"DELETE", "/allow/{prefix}", nil, s.deleteAllow},
		{"GET", "/openapi.yaml", nil, s.getDescription},
	}
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
)

// Serve answers on listener until ctx ends, lets requests under way finish for
// at most five seconds, and closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			server.Close()
		}
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// answer turns a handler's value or error into JSON.
func (s *Server) answer(one route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, api.MaxBody)
		value, err := any(nil), onlyKnown(r, one.query)
		if err == nil {
			value, err = one.handle(w, r)
		}
		if err != nil {
			s.fail(w, err)
			return
		}
		if raw, ok := value.(document); ok {
			w.Header().Set("Content-Type", raw.contentType)
			w.Write(raw.data)
			return
		}
		write(w, http.StatusOK, value)
	})
}

// document is an answer that is sent as it is.
type document struct {
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
		return http.StatusRequestEntityTooLarge, failure(appliance.CodeInvalid, "", tooLong.Error())
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
