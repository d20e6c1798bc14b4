package network

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// reserved is the kernel's list of ports that it never picks by itself, below
// the root of proc (Documentation/networking/ip-sysctl.rst,
// ip_local_reserved_ports). It belongs to the network namespace.
const reserved = "sys/net/ipv4/ip_local_reserved_ports"

// Reserve keeps the ports out of the ephemeral range: a connection of the
// box's own from a guarded port would have its replies dropped by the gate.
// Ports that are reserved already stay so. proc is the mount point of procfs.
// The list is read back; an error means that it is not in force.
func Reserve(proc string, ports []uint16) error {
	missing, err := Unreserved(proc, ports)
	if err != nil || len(missing) == 0 {
		return err
	}
	path := filepath.Join(proc, reserved)
	have, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reserve ports: %w", err)
	}
	list := strings.TrimSpace(string(have))
	for _, port := range missing {
		list += "," + strconv.Itoa(int(port))
	}
	if err := os.WriteFile(path, []byte(strings.TrimPrefix(list, ",")+"\n"), 0o644); err != nil {
		return fmt.Errorf("reserve ports: %w", err)
	}
	missing, err = Unreserved(proc, ports)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("reserve ports: the kernel did not take %v", missing)
	}
	return err
}

// Unreserved returns those of the ports that the kernel may pick for a
// connection of the box's own, ascending.
func Unreserved(proc string, ports []uint16) ([]uint16, error) {
	text, err := os.ReadFile(filepath.Join(proc, reserved))
	if err != nil {
		return nil, fmt.Errorf("read reserved ports: %w", err)
	}
	spans, err := parseSpans(string(text))
	if err != nil {
		return nil, fmt.Errorf("read reserved ports: %w", err)
	}
	var missing []uint16
	for _, port := range ports {
		if !slices.ContainsFunc(spans, func(s span) bool { return s.first <= port && port <= s.last }) {
			missing = append(missing, port)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing), nil
}

type span struct{ first, last uint16 }

// parseSpans reads the kernel's form, "5060-5061,50600\n".
func parseSpans(text string) ([]span, error) {
	var spans []span
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if part == "" {
			continue
		}
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil, err
		}
		last, err := strconv.ParseUint(high, 10, 16)
		if err != nil {
			return nil, err
		}
		spans = append(spans, span{uint16(first), uint16(last)})
	}
	return spans, nil
}
