package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Listen opens the unix socket at path for root alone (mode 0600). A socket
// that a dead daemon left behind is replaced; one that answers, or a file that
// is no socket, is an error. The folder is made where it is missing.
//
// The socket is born in a folder that only we can enter and renamed to its
// place, so that there is no moment with a wider mode and none without a socket.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make socket folder: %w", err)
	}
	if err := vacant(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	nest, err := os.MkdirTemp(filepath.Dir(path), ".control-")
	if err != nil {
		return nil, fmt.Errorf("make socket folder: %w", err)
	}
	defer os.RemoveAll(nest)
	born := filepath.Join(nest, "s") // short: a socket's path has 107 bytes at most
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: born, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(born, 0o600)
	if err == nil {
		err = os.Rename(born, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), listener.Close())
	}
	return &socket{listener, path}, nil
}

// vacant returns nil where nobody answers at path and a socket may go there.
func vacant(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file that is no socket")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return errors.New("another daemon answers there")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return nil
}

// socket removes its file when it is closed.
type socket struct {
	net.Listener
	path string
}

func (s *socket) Close() error {
	os.Remove(s.path)
	return s.Listener.Close()
}
