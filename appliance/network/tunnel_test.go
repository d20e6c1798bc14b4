package network

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestTunnels(t *testing.T) {
	inNamespace(t)
	var want []Tunnel
	for _, c := range []struct {
		add  string
		want Tunnel
	}{
		{"link add gnv0 type geneve id 7 remote 192.0.2.9", Tunnel{"gnv0", "geneve", 6081}},
		{"link add vx0 type vxlan id 7 dstport 4789 remote 192.0.2.9 dev wan", Tunnel{"vx0", "vxlan", 4789}},
		{"link add vx1 type vxlan id 8 dstport 8472", Tunnel{"vx1", "vxlan", 8472}},
	} {
		if out, err := exec.Command("ip", strings.Fields(c.add)...).CombinedOutput(); err != nil {
			t.Logf("SKIPPED, A KIND OF TUNNEL IS NOT TESTED: ip %s: %v: %s", c.add, err, out)
			continue
		}
		want = append(want, c.want)
	}
	if got, err := Tunnels(); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v, err %v", got, want, err)
	}
}
