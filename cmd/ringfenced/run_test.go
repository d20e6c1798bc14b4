package main

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func mustAddr(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

func TestCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		status int
		out    string
		errors string
	}{
		"help":           {[]string{"--help"}, 0, "", "only --detach"},
		"replace":        {[]string{"--help"}, 0, "", "take over WAN interfaces whose XDP hook another program holds"},
		"version":        {[]string{"--version"}, 0, version(), ""},
		"unknown flag":   {[]string{"--nonsense"}, 2, "", "-nonsense"},
		"argument":       {[]string{"start"}, 2, "", `unknown argument "start"`},
		"relative paths": {[]string{"--state", "x", "--socket", "y"}, 2, "", `--state "x": want an absolute path`},
		"not a bpffs":    {[]string{"--detach", "--socket", "/nonexistent/s", "--bpffs", "/proc"}, 1, "", "not on a BPF file system"},
		"bad state":      {[]string{"--state", "/proc/nothing"}, 1, "", "open store: make state folder"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run(context.Background(), env{args: tc.args, stdout: &stdout, stderr: &stderr, proc: "/proc", now: time.Now})
			if status != tc.status || !strings.Contains(stdout.String(), tc.out) || !strings.Contains(stderr.String(), tc.errors) {
				t.Fatalf("status %d\nstdout: %s\nstderr: %s", status, stdout.String(), stderr.String())
			}
		})
	}
}
