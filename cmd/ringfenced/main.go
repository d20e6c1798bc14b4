// Command ringfenced is the daemon of a Ringfence box: it guards the WAN
// interfaces, inspects SIP, and answers the control API on a unix socket.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // the image has no zone files
)

// env is all of the outside world that the command takes from its process.
type env struct {
	args           []string // without the command's own name
	stdout, stderr io.Writer
	proc           string // where procfs is mounted
	resolv         string // the file that names the resolvers, resolv.conf(5)
	now            func() time.Time
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	end := recording(os.Stderr)
	tuneMemory("/proc")
	status := run(ctx, env{args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr, proc: "/proc", resolv: "/etc/resolv.conf", now: time.Now})
	end()
	os.Exit(status)
}
