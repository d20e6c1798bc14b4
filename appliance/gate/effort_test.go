package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/ringfence/ringfence/bpf"
)

// verified is how many instructions the verifier walked to prove the program.
func (p program) verified() uint32 {
	p.Helper()
	info, err := p.Gate.Info()
	check(p, err)
	count, _ := info.VerifiedInstructions()
	return count
}

// Small CPUs take a second for some hundred thousand instructions, while the site
// has no gate.
func TestVerifierEffort(t *testing.T) {
	p := loadProgram(t)
	got := p.verified()
	t.Logf("the verifier walked %d instructions of gate %s", got, p.fingerprint()) // scripts/test-kernels reads this
	if got > 60_000 {
		t.Error("that is more than 60,000")
	}
}

// fingerprint tells builds of the gate apart.
func (p program) fingerprint() string {
	p.Helper()
	digest := sha256.Sum256([]byte(fmt.Sprint(p.gate.specs.gate.Programs[bpf.GateProgGate].Instructions)))
	return hex.EncodeToString(digest[:8])
}

// Kernels before 6.8 take no program whose calls may have more than 512 bytes of
// stack together, each function's rounded up to 32 (check_max_stack_depth in
// kernel/bpf/verifier.c). This counts as they do; later ones count less.
func TestStackFitsOldKernels(t *testing.T) {
	specs, err := specify()
	check(t, err)
	for name, program := range map[string]asm.Instructions{
		bpf.GateProgGate:  specs.gate.Programs[bpf.GateProgGate].Instructions,
		bpf.TCProgIngress: specs.tc.Programs[bpf.TCProgIngress].Instructions,
		bpf.TCProgEgress:  specs.tc.Programs[bpf.TCProgEgress].Instructions,
	} {
		bytes, way := framesOf(program).deepest(name)
		t.Logf("%s: %d bytes, by way of %v", name, bytes, way)
		if bytes > 512 || len(way) < 2 {
			t.Errorf("%s: %d bytes of stack, by way of %v; want at most 512", name, bytes, way)
		}
	}
}

// frames are what the functions of a program have on the stack, by name.
type frames map[string]*function

type function struct {
	stack int // bytes
	calls []string
}

func framesOf(program asm.Instructions) frames {
	out := frames{}
	var in *function
	var copies [asm.R10 + 1]bool // of the frame pointer
	for _, one := range program {
		if one.Symbol() != "" {
			in = &function{}
			out[one.Symbol()] = in
		}
		op := one.OpCode
		switch {
		case one.IsFunctionReference():
			in.calls = append(in.calls, one.Reference())
		case op.Class().IsLoad() && one.Src == asm.RFP, op.Class().IsStore() && one.Dst == asm.RFP:
			in.stack = max(in.stack, -int(one.Offset))
		case op.ALUOp() == asm.Mov:
			copies[one.Dst] = op.Source() == asm.RegSource && one.Src == asm.RFP
		case op.ALUOp() == asm.Add && copies[one.Dst]:
			in.stack = max(in.stack, -int(one.Constant))
			copies[one.Dst] = false
		}
	}
	return out
}

// deepest is how much stack a function and the calls below it may have together,
// in bytes, and by which calls.
func (f frames) deepest(name string) (bytes int, way []string) {
	for _, callee := range f[name].calls {
		if below, further := f.deepest(callee); below > bytes {
			bytes, way = below, further
		}
	}
	return bytes + (max(f[name].stack, 1)+31)/32*32, append([]string{name}, way...)
}
