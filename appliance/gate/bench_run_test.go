package gate

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// liveFrames makes the kernel's test-run send the frames that a program
// redirects: BPF_F_TEST_XDP_LIVE_FRAMES of linux/bpf.h.
const liveFrames = 1 << 1

// runAttr is the kernel's union bpf_attr for BPF_PROG_TEST_RUN. The library
// hides how long a run with flags took.
type runAttr struct {
	program, result  uint32
	sizeIn, sizeOut  uint32
	dataIn, dataOut  uint64
	repeat, duration uint32
	context          [6]uint32 // sizes and pointers, in and out
	flags, cpu       uint32
	batch, reserved  uint32
}

// took is how long a program took for each packet, in nanoseconds: by the clock
// of the kernel's test-run, which counts whole ones, and by that of the thread,
// which some kernels stop while it handles packets that arrive. Both stand still
// while another task has the CPU.
type took struct{ kernel, thread float64 }

func testRun(tb testing.TB, program *ebpf.Program, frame []byte, repeat int, flags uint32) took {
	tb.Helper()
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&frame[0])
	for {
		attr := runAttr{program: uint32(program.FD()), sizeIn: uint32(len(frame)), dataIn: uint64(uintptr(unsafe.Pointer(&frame[0]))),
			repeat: uint32(repeat), flags: flags}
		before := threadTime()
		_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		spent := threadTime() - before
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			tb.Fatalf("run %v: %v", program, errno)
		}
		return took{float64(attr.duration), float64(spent) / float64(repeat)}
	}
}

// perPacket is the time of one packet. A program of two instructions is too
// quick for a clock of whole nanoseconds.
func perPacket(tb testing.TB, program *ebpf.Program, frame []byte, repeat int) float64 {
	tb.Helper()
	return testRun(tb, program, frame, repeat, 0).thread
}

// median of an odd number of values.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// ratios divides two series round by round: what slows a round down slows both.
func ratios(over, under []float64) []float64 {
	out := make([]float64, len(over))
	for i := range out {
		out[i] = over[i] / under[i]
	}
	return out
}

// setting reads a number from the environment, for short runs while a bench is
// written: RINGFENCE_BENCH_ROUNDS, _PACKETS and so on.
func setting(tb testing.TB, name string, otherwise int) int {
	tb.Helper()
	text, set := os.LookupEnv("RINGFENCE_BENCH_" + name)
	if !set {
		return otherwise
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 1 {
		tb.Fatalf("RINGFENCE_BENCH_%s=%s: want a number from 1", name, text)
	}
	return value
}

// say puts one machine-readable line on standard output, for scripts/bench/gate.
func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// threadTime is the CPU time of this thread, which the caller is tied to.
func threadTime() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now) // always there
	return now.Nano()
}
