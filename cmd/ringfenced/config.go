package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
)

// config is what the command line says.
type config struct {
	state   string
	socket  string
	bpffs   string
	replace bool
	detach  bool
	version bool
}

const usage = `ringfenced guards this box. It has no commands: settings and policy come through
its control socket (see ringfence help), and are kept in the state folder.

Exit status: 0 after SIGTERM or SIGINT, 1 where it can't go on, 2 for a wrong
command line. The gate in the kernel stays shut in every case; only --detach
opens it.

`

// parse reads the command line; its errors are for the person who typed it.
func parse(e env) (config, error) {
	var c config
	flags := flag.NewFlagSet("ringfenced", flag.ContinueOnError)
	flags.SetOutput(e.stderr)
	flags.StringVar(&c.state, "state", "/var/lib/ringfence", "`folder` of documents and records")
	flags.StringVar(&c.socket, "socket", "/run/ringfence/control.sock", "`path` of the control socket")
	flags.StringVar(&c.bpffs, "bpffs", "/sys/fs/bpf/ringfence", "`folder` on the BPF file system for the gate's pins")
	flags.BoolVar(&c.replace, "replace", false, "take over WAN interfaces whose XDP hook another program holds, libxdp's dispatcher included; without this they stay unguarded, and status is red")
	flags.BoolVar(&c.detach, "detach", false, "take the gate off every interface, and the egress lock off the LAN, and exit: nothing is guarded then")
	flags.BoolVar(&c.version, "version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprint(e.stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(e.args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return c, absolute(map[string]string{"state": c.state, "socket": c.socket, "bpffs": c.bpffs})
}

func absolute(paths map[string]string) error {
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if !filepath.IsAbs(paths[name]) {
			mistakes = append(mistakes, fmt.Errorf("--%s %q: want an absolute path", name, paths[name]))
		}
	}
	return errors.Join(mistakes...)
}

// version is what the Go toolchain stamped into the binary: the module's
// version, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, one := range info.Settings {
		if one.Key == "vcs.revision" {
			return one.Value
		}
	}
	return "unreleased"
}
