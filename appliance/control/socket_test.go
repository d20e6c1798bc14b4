package control

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "control.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, err %v; want 0600", info.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another daemon answers") {
		t.Fatalf("err %v; want a living socket to be left alone", err)
	}
	// A daemon that was killed leaves its socket behind.
	first.(*socket).Listener.Close()
	second, err := Listen(path)
	if err != nil {
		t.Fatalf("a dead socket was not replaced: %v", err)
	}
	second.Close()
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
		t.Fatalf("%v is left behind", entries)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Fatal("a file that is no socket was replaced")
	}
}

func TestServeAndClient(t *testing.T) {
	b := newBox(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "s")
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server().Serve(ctx, listener) }()
	client := api.NewClient(path)
	data, revision, err := client.Document(ctx, appliance.DocumentSettings)
	if err != nil || revision != b.State().Revision(appliance.DocumentSettings) {
		t.Fatalf("revision %q, err %v", revision, err)
	}
	changed := []byte(strings.Replace(string(data), "Ringfence", "Depot", 1))
	if _, err := client.PutDocument(ctx, appliance.DocumentSettings, changed, revision); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutDocument(ctx, appliance.DocumentSettings, changed, revision); appliance.CodeOf(err) != appliance.CodeConflict {
		t.Fatalf("err %v; want a conflict", err)
	}
	if _, err := client.Disallow(ctx, "+1/2 3"); appliance.CodeOf(err) != appliance.CodeNotFound {
		t.Fatalf("err %v; want not found", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := client.Status(context.Background()); err == nil || !strings.Contains(err.Error(), "is ringfenced running?") {
		t.Fatalf("err %v", err)
	}
}

// slowly is a health that takes as long as a test lets it.
type slowly struct{ begun, end chan struct{} }

func (s slowly) Status() appliance.Status {
	close(s.begun)
	<-s.end
	return appliance.Status{}
}

// TestServeWaits has Serve end while a request is under way.
func TestServeWaits(t *testing.T) {
	for name, end := range map[string]func(cancel func(), listener net.Listener) error{
		"as asked":            func(cancel func(), _ net.Listener) error { cancel(); return nil },
		"the listener failed": func(_ func(), listener net.Listener) error { return listener.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, t.TempDir())
			path := filepath.Join(t.TempDir(), "s")
			listener, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			health := slowly{make(chan struct{}), make(chan struct{})}
			server := NewServer(b.Control, noCalls{}, b.watch, health, someCertificates{}, slog.New(slog.DiscardHandler))
			done, answered := make(chan error, 1), make(chan error, 1)
			go func() { done <- server.Serve(ctx, listener) }()
			go func() { _, err := api.NewClient(path).Status(context.Background()); answered <- err }()
			<-health.begun
			if err := end(cancel, listener); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-done:
				t.Errorf("it ended under a request: %v", err)
			case <-time.After(200 * time.Millisecond):
			}
			close(health.end)
			if err := <-answered; err != nil {
				t.Errorf("the request: %v", err)
			}
		})
	}
}

var _ net.Listener = (*socket)(nil)
