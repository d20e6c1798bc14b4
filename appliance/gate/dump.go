package gate

import (
	"bufio"
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance/rules"
	"github.com/ringfence/ringfence/bpf"
)

// Dump reads the generation in force out of the kernel and writes it as text, a
// line for each port, limit and network: what the gate judges by, and not what
// it was meant to. Networks are those into which the compiler has cut the
// address space, which need not be those of the documents.
func (g *Gate) Dump(w io.Writer) error {
	g.mu.Lock()
	if g.kernel == nil {
		g.mu.Unlock()
		return errClosed
	}
	live, err := g.tray().readImage()
	g.mu.Unlock()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	live.dump(out)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	return nil
}

// dump writes to a writer that keeps its error.
func (i *image) dump(out *bufio.Writer) {
	if i.head.Magic != uint32(bpf.GateFormatFORMAT_MAGIC) || i.head.Ports == 0 {
		fmt.Fprintf(out, "# no rules: the standard ports are shut for everybody\n")
		return
	}
	fmt.Fprintf(out, "# generation %s, layout %d, pages of %[4]d KiB: %[3]d, feeds: %[5]d\n",
		digestOf(&i.head), i.head.Layout, i.head.Pages, pageSize>>10, i.head.Feeds)
	for port := range 1 << 16 {
		raw := bits.ReverseBytes16(uint16(port))
		if service := i.head.Services[raw>>2] >> (raw & 3 * 2) & 3; service > 0 {
			fmt.Fprintf(out, "port %d %s\n", port, serviceWord(rules.Service(service-1)))
		}
	}
	fmt.Fprintf(out, "media %s\n", rules.MediaGuard(i.head.Media))
	for service, limit := range i.head.Limits {
		if limit.Interval > 0 {
			fmt.Fprintf(out, "limit %s %d/s burst %d\n", serviceWord(rules.Service(service)),
				uint64(time.Second)/limit.Interval, limit.Tolerance/limit.Interval+1)
		}
	}
	for _, table := range []bpf.GateTable{bpf.GateTableTABLE_ALLOW, bpf.GateTableTABLE_FEED} {
		if table == bpf.GateTableTABLE_FEED && i.head.Feeds == 0 {
			continue
		}
		dumpRuns(out, table, i.runs4(table), ^addr4(0))
		dumpRuns(out, table, i.runs6(table), addr6{High: ^uint64(0), Low: ^uint64(0)})
	}
}

func serviceWord(service rules.Service) string {
	return [...]string{"sip", "http", "open", "tunnel"}[service]
}

// dumpRuns writes every run that has a class. The last one goes on to end.
func dumpRuns[A address[A]](out *bufio.Writer, table bpf.GateTable, runs []run[A], end A) {
	for n, one := range runs {
		last := end
		if n+1 < len(runs) {
			last = runs[n+1].first.before()
		}
		if one.class != 0 {
			fmt.Fprintln(out, line(table, rangeName(one.first.ip(), last.ip()), one.class))
		}
	}
}

// rangeName names a range: as a network where it is one.
func rangeName(first, last netip.Addr) string {
	for bits := 0; bits <= first.BitLen(); bits++ {
		prefix := netip.PrefixFrom(first, bits)
		if prefix == prefix.Masked() && prefix.Contains(last) && !prefix.Contains(last.Next()) {
			return prefix.String()
		}
	}
	return first.String() + "-" + last.String()
}

func line(table bpf.GateTable, addresses string, class uint8) string {
	if table == bpf.GateTableTABLE_FEED {
		return fmt.Sprintf("deny %s feed %d", addresses, class)
	}
	words := []string{"allow", addresses}
	for service := range rules.Services {
		if class>>service&1 == 1 {
			words = append(words, serviceWord(service))
		}
	}
	if class&uint8(bpf.GateClassCLASS_FIRM) != 0 {
		words = append(words, "firm")
	}
	return strings.Join(words, " ")
}
