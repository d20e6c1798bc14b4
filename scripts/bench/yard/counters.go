package yard

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counters is what the stack of a box has counted.
type Counters struct {
	Received  uint64 // frames that came in by wan, before any filter
	Delivered uint64 // packets that reached a socket or the lack of one
	Forwarded uint64
}

// Minus is what came between two readings.
func (c Counters) Minus(before Counters) Counters {
	return Counters{c.Received - before.Received, c.Delivered - before.Delivered, c.Forwarded - before.Forwarded}
}

// Count reads the counters of a box.
func (y *Yard) Count(box *Box) (c Counters, err error) {
	err = y.Within(box.Space, func() error {
		devices, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		_, wan, _ := strings.Cut(string(devices), "wan:")
		if c.Received, err = field(strings.Fields(wan), 1); err != nil {
			return err
		}
		return c.readIP()
	})
	return c, err
}

// Lost is how many frames the ring of a box's wan had no room for.
func (y *Yard) Lost(box *Box) (uint64, error) {
	far, err := net.InterfaceByIndex(box.Far)
	if err != nil {
		return 0, fmt.Errorf("find the peer of wan: %w", err)
	}
	devices, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(devices), far.Name+":")
	return field(strings.Fields(rest), 11) // drops of what it transmits
}

// readIP adds both families: the second line "Ip:" of snmp has the values, in
// the order of RFC 1213; snmp6 has one line for each.
func (c *Counters) readIP() error {
	four, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		return err
	}
	lines := strings.SplitN(string(four), "\n", 3)
	if len(lines) < 2 {
		return fmt.Errorf("snmp has %d lines", len(lines))
	}
	values := strings.Fields(lines[1])
	if c.Forwarded, err = field(values, 6); err != nil {
		return err
	}
	if c.Delivered, err = field(values, 9); err != nil {
		return err
	}
	six, err := os.ReadFile("/proc/thread-self/net/snmp6")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(six), "Ip6InDelivers")
	delivered, err := field(strings.Fields(rest), 0)
	c.Delivered += delivered
	return err
}

func field(fields []string, at int) (uint64, error) {
	if at >= len(fields) {
		return 0, fmt.Errorf("counter %d of %d", at, len(fields))
	}
	return strconv.ParseUint(fields[at], 10, 64)
}

// switchGRO puts generic receive offload on, as most devices of a box have it.
// It also lets a veth take frames from XDP without a program of its own: it
// polls only if it has either.
func switchGRO(name string) error {
	const setGRO = 0x2c // ETHTOOL_SGRO of linux/ethtool.h
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("switch GRO on: %w", err)
	}
	defer unix.Close(socket)
	value := struct{ command, data uint32 }{setGRO, 1}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		rest [16]byte // of union ifr_ifru
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return fmt.Errorf("switch GRO on: %w", errno)
	}
	return nil
}
