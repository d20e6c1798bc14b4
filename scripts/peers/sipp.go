package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Script is one run of sipp.
type Script struct {
	Name     string // of its logs
	Host     string // where it runs
	Scenario string // file in scripts/lab.d/sipp, without .xml
	Local    string // address and port that it binds
	Remote   string // address and port that it sends to; empty for a server
	Options  []string
	Quiet    bool // no message log, for load
}

// Outcome is what one client run of sipp did, in its own messages.
type Outcome struct {
	OK       bool // every call went as the scenario says
	Messages []Message
	Log      string // where sipp says what went wrong
}

// Server is a sipp that answers.
type Server struct {
	Log     string // of its messages
	command *exec.Cmd
	done    chan struct{} // closed once it has ended, with err set
	err     error
}

// Call runs a client scenario to its end.
func (l *Lab) Call(ctx context.Context, s Script) (Outcome, error) {
	messages, errs, err := l.logs(s.Name)
	if err != nil {
		return Outcome{}, err
	}
	err = l.sipp(ctx, s, messages, errs).Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Outcome{}, fmt.Errorf("run sipp %s: %w", s.Name, err)
	}
	if ctx.Err() != nil {
		return Outcome{}, ctx.Err()
	}
	outcome := Outcome{OK: err == nil, Log: errs}
	if s.Quiet {
		return outcome, nil
	}
	outcome.Messages, err = ReadMessages(messages)
	if err != nil {
		return outcome, fmt.Errorf("run sipp %s, see %s: %w", s.Name, errs, err)
	}
	return outcome, nil
}

// Serve starts a server scenario and waits until its port is bound. It ends with
// ctx.
func (l *Lab) Serve(ctx context.Context, s Script) (*Server, error) {
	messages, errs, err := l.logs(s.Name)
	if err != nil {
		return nil, err
	}
	// sipp creates its log with the first message: an empty one reads the same.
	if err := os.WriteFile(messages, nil, 0o644); err != nil {
		return nil, err
	}
	server := &Server{Log: messages, command: l.sipp(ctx, s, messages, errs), done: make(chan struct{})}
	if err := server.command.Start(); err != nil {
		return nil, fmt.Errorf("start sipp %s: %w", s.Name, err)
	}
	go func() {
		server.err = server.command.Wait()
		close(server.done)
	}()
	return server, l.untilBound(ctx, s, server, errs)
}

// Messages reads what the server has sent and received so far.
func (s *Server) Messages() ([]Message, error) { return ReadMessages(s.Log) }

// Stop ends the server and waits for it.
func (s *Server) Stop() {
	_ = s.command.Cancel()
	<-s.done
}

func (l *Lab) sipp(ctx context.Context, s Script, messages, errs string) *exec.Cmd {
	local := netip.MustParseAddrPort(s.Local)
	args := []string{
		"-nostdin", "-sf", filepath.Join(l.Root, "scripts/lab.d/sipp", s.Scenario+".xml"),
		"-i", local.Addr().String(), "-p", strconv.Itoa(int(local.Port())),
		"-trace_err", "-error_file", errs,
	}
	if !s.Quiet {
		args = append(args, "-trace_msg", "-message_file", messages)
	}
	if s.Remote != "" {
		// -timeout_error: a call that hangs is a failure, never a pass.
		args = append([]string{s.Remote, "-timeout", "40s", "-timeout_error"}, args...)
	}
	cmd := l.Command(ctx, s.Host, "sipp", append(args, s.Options...)...)
	cmd.Dir = l.Logs
	return cmd
}

// logs returns fresh paths for the messages and the errors of a run.
func (l *Lab) logs(name string) (messages, errs string, err error) {
	messages = filepath.Join(l.Logs, name+".messages")
	errs = filepath.Join(l.Logs, name+".errors")
	for _, path := range []string{messages, errs} {
		if err := os.RemoveAll(path); err != nil {
			return "", "", err
		}
	}
	return messages, errs, nil
}

// untilBound waits, 5 s at most, until the server's port is bound.
func (l *Lab) untilBound(ctx context.Context, s Script, server *Server, errs string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 250 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-server.done:
			said, _ := os.ReadFile(errs)
			return fmt.Errorf("start sipp %s: %w: %s", s.Name, server.err, strings.TrimSpace(string(said)))
		case <-tick.C:
		}
		if bound, err := l.bound(s); bound || err != nil {
			return err
		}
	}
	server.Stop()
	return fmt.Errorf("start sipp %s: %s is not bound after 5 s", s.Name, s.Local)
}

// bound looks the port up in the host's socket tables: to try to bind it would
// race with sipp.
func (l *Lab) bound(s Script) (bool, error) {
	port := fmt.Sprintf(":%04X ", netip.MustParseAddrPort(s.Local).Port())
	found := false
	err := l.Inside(s.Host, func() error {
		for _, table := range []string{"udp", "udp6", "tcp", "tcp6"} {
			sockets, err := os.ReadFile("/proc/thread-self/net/" + table)
			if err != nil {
				return err
			}
			found = found || strings.Contains(string(sockets), port)
		}
		return nil
	})
	return found, err
}
