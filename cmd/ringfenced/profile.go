//go:build profile

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// recording writes cpu.pprof and allocs.pprof into the folder that
// RINGFENCE_PROFILE names, from here until end is called. It is for the bench
// of the inspector, which builds such a daemon for itself (scripts/bench/inspector).
func recording(stderr io.Writer) (end func()) {
	folder := os.Getenv("RINGFENCE_PROFILE")
	if folder == "" {
		return func() {}
	}
	runtime.MemProfileRate = 16 << 10 // bytes between two samples
	cpu, err := os.Create(filepath.Join(folder, "cpu.pprof"))
	if err == nil {
		err = pprof.StartCPUProfile(cpu)
	}
	if err != nil {
		fmt.Fprintf(stderr, "ringfenced: profile: %v\n", err)
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		err := cpu.Close()
		if err == nil {
			err = allocations(filepath.Join(folder, "allocs.pprof"))
		}
		if err != nil {
			fmt.Fprintf(stderr, "ringfenced: profile: %v\n", err)
		}
	}
}

func allocations(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.Lookup("allocs").WriteTo(file, 0); err != nil {
		return err
	}
	return file.Close()
}
