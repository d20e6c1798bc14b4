package gate

import (
	"encoding/hex"
	"testing"

	"github.com/ringfence/ringfence/appliance/rules"
)

// FuzzEquivalence reads a perimeter's number from data[0] and takes the rest
// for a frame: first for one that leaves, then for one that enters. Bans and a
// flow came before. The kernel must say of it what the model says.
func FuzzEquivalence(f *testing.F) {
	k := loadKernel(quiet{f})
	guards := []rules.Guard{fortress(), {}, randomGuard(newRandom(1)), randomGuard(newRandom(2)), randomGuard(newRandom(5))}
	flow := frame{source: stranger4, protocol: protoTCP, from: 9000, port: 50600, flags: flagSYN}
	prelude := []step{
		{act: "ban", source: provider4}, {act: "ban", source: provider6},
		{act: "out", frame: flow.outward().bytes()},
	}
	random := newRandom(4)
	for which, guard := range guards {
		for _, step := range trafficNear(random, guard).steps(30) {
			if step.frame != nil {
				f.Add(append([]byte{byte(which)}, step.frame...))
			}
		}
	}
	enforced := -1
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < etherHeader+2 || len(data) > 3000 { // what the kernel's test-run takes
			t.Skip()
		}
		which, bytes := int(data[0])%len(guards), data[1:]
		if enforced != which {
			k.enforce(guards[which])
			enforced = which
		}
		s := story{guards[which], append(prelude[:len(prelude):len(prelude)], step{act: "out", frame: bytes}, step{act: "in", frame: bytes})}
		if kernel, model := s.ends(k); kernel != model {
			t.Fatalf("kernel says %v, model %v of %s under guard %d", kernel, model, hex.EncodeToString(bytes), which)
		}
	})
}
