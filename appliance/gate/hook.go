package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Mode says where the program runs.
type Mode string

// The modes of attachment.
const (
	modeNative  Mode = "native"  // in the driver, before the packet has a buffer of the stack
	modeGeneric Mode = "generic" // in the stack, slower, on any interface
)

// hook is what the kernel says of an interface's XDP hook. The zero hook is
// free.
type hook struct {
	program ebpf.ProgramID
	mode    Mode
}

// nlaTypeMask strips the nested and byte-order flags: NLA_TYPE_MASK of
// linux/netlink.h.
const nlaTypeMask = 0x3fff

// hookOf reads an interface's XDP hook by route netlink (attribute IFLA_XDP of
// rtnetlink(7)): links alone can't tell of programs attached without one, nor
// in which mode they run.
func hookOf(index int) (hook, error) {
	table, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return hook{}, fmt.Errorf("list interfaces: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return hook{}, fmt.Errorf("list interfaces: %w", err)
	}
	for i := range messages {
		if found, ok := messageIndex(&messages[i]); !ok || found != index {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&messages[i])
		if err != nil {
			return hook{}, fmt.Errorf("read interface: %w", err)
		}
		return parseHook(attributes), nil
	}
	return hook{}, errors.New("no such interface")
}

func messageIndex(message *syscall.NetlinkMessage) (int, bool) {
	if message.Header.Type != unix.RTM_NEWLINK || len(message.Data) < int(unsafe.Sizeof(syscall.IfInfomsg{})) {
		return 0, false
	}
	offset := unsafe.Offsetof(syscall.IfInfomsg{}.Index)
	return int(int32(binary.NativeEndian.Uint32(message.Data[offset:]))), true
}

func parseHook(attributes []syscall.NetlinkRouteAttr) hook {
	for _, attribute := range attributes {
		if attribute.Attr.Type&nlaTypeMask == unix.IFLA_XDP {
			return parseNested(attribute.Value)
		}
	}
	return hook{}
}

// parseNested reads the attributes within IFLA_XDP: length and type, two bytes
// each, then the value, padded to four.
func parseNested(value []byte) (h hook) {
	for len(value) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(value))
		kind := binary.NativeEndian.Uint16(value[2:]) & nlaTypeMask
		if length < unix.SizeofNlAttr || length > len(value) {
			return h
		}
		h.set(kind, value[unix.SizeofNlAttr:length])
		value = value[min((length+3)&^3, len(value)):]
	}
	return h
}

func (h *hook) set(kind uint16, value []byte) {
	switch {
	case kind == unix.IFLA_XDP_PROG_ID && len(value) == 4:
		h.program = ebpf.ProgramID(binary.NativeEndian.Uint32(value))
	case kind == unix.IFLA_XDP_ATTACHED && len(value) == 1:
		h.mode = map[byte]Mode{1: modeNative, 2: modeGeneric}[value[0]] // XDP_ATTACHED_DRV and _SKB of linux/if_link.h
	}
}
