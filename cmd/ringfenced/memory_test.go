package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:         948328 kB\nMemFree: 1 kB\n": 948328 << 10,
		"MemFree: 1 kB\nMemTotal: 4 kB\n":              4 << 10,
		"MemTotal: much kB\n":                          math.MaxInt64,
		"MemTotal:\n":                                  math.MaxInt64,
		"":                                             math.MaxInt64,
	} {
		proc := t.TempDir()
		if err := os.WriteFile(filepath.Join(proc, "meminfo"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := memory(proc); got != want {
			t.Errorf("%q: %d bytes, want %d", text, got, want)
		}
	}
	if got := memory(t.TempDir()); got != math.MaxInt64 {
		t.Errorf("without meminfo: %d bytes, want no end", got)
	}
}
