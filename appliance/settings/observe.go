package settings

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ringfence/ringfence/appliance/document"
)

// Messages says which calls' SIP messages are kept in memory, for whoever asks
// afterwards what happened. The zero value keeps none.
type Messages string

const (
	// MessagesOff keeps none.
	MessagesOff Messages = ""
	// MessagesRefused keeps those of calls that were refused or failed, and of a
	// call that is up until it ends. It is the default.
	MessagesRefused Messages = "refused"
	// MessagesAll keeps those of every call, until others need the room.
	MessagesAll Messages = "all"
)

// off is how MessagesOff is written.
const off = "off"

// HEP says where a copy of every SIP message goes, without its credentials: a
// Homer or another collector that speaks HEP version 3. The zero value sends none.
type HEP struct {
	Address   string    // host and port; the host is an address or a DNS name
	Transport Transport // udp, tcp or tls
	CaptureID uint32    // the number that the collector knows this box by
	Password  string    // the collector's, or empty
}

type rawHEP struct {
	Address   string `json:"address"`
	Transport string `json:"transport"`
	CaptureID uint64 `json:"capture_id"`
	Password  string `json:"password"`
}

// maxPassword bounds the key that goes out with every message.
const maxPassword = 64

func refineMessages(m *document.Mistakes, raw string) Messages {
	switch raw {
	case "", string(MessagesRefused): // a document from before there was a choice
		return MessagesRefused
	case string(MessagesAll):
		return MessagesAll
	case off:
		return MessagesOff
	}
	m.Add("sip.messages", "want off, refused or all")
	return MessagesOff
}

func encodeMessages(kept Messages) string {
	if kept == MessagesOff {
		return off
	}
	return string(kept)
}

func refineHEP(m *document.Mistakes, raw *rawHEP) HEP {
	if raw == nil {
		return HEP{}
	}
	if raw.CaptureID > 1<<32-1 {
		m.Add("hep.capture_id", "want a number from 0 to %d", uint32(1<<32-1))
	}
	if raw.Transport != "udp" && raw.Transport != "tcp" && raw.Transport != "tls" {
		m.Add("hep.transport", "want udp, tcp or tls")
	}
	checkCollector(m, raw.Address)
	return HEP{
		Address: raw.Address, Transport: Transport(raw.Transport), CaptureID: uint32(raw.CaptureID),
		Password: m.Text("hep.password", raw.Password, maxPassword),
	}
}

// checkCollector takes "192.0.2.9:9060", "[2001:db8::9]:9060" and
// "homer.example.net:9061".
func checkCollector(m *document.Mistakes, address string) {
	const at = "hep.address"
	host, port, err := net.SplitHostPort(address)
	number, bad := strconv.ParseUint(port, 10, 16)
	switch {
	case address == "":
		m.Add(at, "missing")
	case err != nil || bad != nil || number == 0:
		m.Add(at, "want a host and a port, like homer.example.net:9060")
	case !hostLike(host):
		m.Add(at, "want an IP address or a DNS name in lower case before the port")
	}
}

func hostLike(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return !addr.IsUnspecified() && !addr.IsMulticast() && addr.String() == host
	}
	labels := strings.Split(host, ".")
	numeric := strings.Trim(labels[len(labels)-1], "0123456789") == ""
	if len(host) > 253 || numeric {
		return false
	}
	for _, label := range labels {
		if len(label) < 1 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func encodeHEP(h HEP) *rawHEP {
	if h == (HEP{}) {
		return nil
	}
	return &rawHEP{Address: h.Address, Transport: string(h.Transport), CaptureID: uint64(h.CaptureID), Password: h.Password}
}
