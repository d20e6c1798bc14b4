package main

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// garbage is how much the heap may grow between two collections, in percent of
// what is alive. What is alive is small, 10 to 20 MB, so that at Go's 100 % a busy
// box collects many times a second and spends a tenth of its time on that.
const garbage = 300

// leastLimit is more than what full tables and the records take, bytes. A limit
// below what is alive would make the collector run all the time.
const leastLimit = 192 << 20

// tuneMemory trades memory that is there anyway for time: collections come seldom,
// until a quarter of the machine's memory is in use. GOGC and GOMEMLIMIT, where
// somebody has set them, are left alone.
func tuneMemory(proc string) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(max(memory(proc)/4, leastLimit))
	}
}

// memory is the machine's memory in bytes, without end where it can't be read
// (proc(5): MemTotal is in kB).
func memory(proc string) int64 {
	file, err := os.Open(filepath.Join(proc, "meminfo"))
	if err != nil {
		return math.MaxInt64
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "MemTotal:" {
			continue
		}
		if kilobytes, err := strconv.ParseInt(fields[1], 10, 53); err == nil {
			return kilobytes << 10
		}
	}
	return math.MaxInt64
}
