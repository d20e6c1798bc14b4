package rules

import (
	"fmt"
	"slices"

	"github.com/ringfence/ringfence/appliance"
)

// claim is the line that gave a port its service.
type claim struct {
	service Service
	line    string
}

// ports unites the guarded ports of both documents. A port that the inspector
// listens on is guarded whether or not anybody thought of listing it.
func (c *compiler) ports() [Services][]uint16 {
	claims := make(map[uint16]claim)
	add := func(service Service, line string, port uint16) {
		other, taken := claims[port]
		switch {
		case !taken:
			claims[port] = claim{service, line}
		case other.service != service:
			c.fail(appliance.CodeInvalid, line, "%d is %s already by %s; a port has one service", port, other.service.guarded(), other.line)
		}
	}
	each := func(service Service, line string, ports []uint16) {
		for i, port := range ports {
			add(service, fmt.Sprintf("%s[%d]", line, i), port)
		}
	}
	each(ServiceSIP, "policy ports.sip", c.policy.Ports.SIP)
	each(ServiceHTTP, "policy ports.http", c.policy.Ports.HTTP)
	each(ServiceOpen, "policy ports.open", c.policy.Ports.Open)
	for i, listen := range c.settings.SIP.Listen {
		add(ServiceSIP, fmt.Sprintf("settings sip.listen[%d]", i), listen.Port())
	}
	if len(c.settings.SIP.Listen) == 0 {
		for _, port := range c.defaults(defaultPort, secondPort) {
			add(ServiceSIP, fmt.Sprintf("settings sip.listen (empty, which means port %d)", port), port)
		}
	}
	for i, listen := range c.settings.SIP.TLS.Listen {
		add(ServiceSIP, fmt.Sprintf("settings sip.tls.listen[%d]", i), listen.Port())
	}
	if len(c.settings.SIP.TLS.Listen) == 0 && len(c.secure()) > 0 {
		add(ServiceSIP, "settings sip.tls.listen (empty, which means port 5061)", securePort)
	}
	each(ServiceSIP, "settings ports.sip", c.settings.Ports.SIP)
	each(ServiceHTTP, "settings ports.http", c.settings.Ports.HTTP)
	each(ServiceOpen, "settings ports.open", c.settings.Ports.Open)
	var out [Services][]uint16
	for port, one := range claims {
		out[one.service] = append(out[one.service], port)
	}
	for service := range out {
		slices.Sort(out[service])
	}
	return out
}

// guarded says what the service makes of a port.
func (s Service) guarded() string {
	if s == ServiceOpen {
		return "open to the internet"
	}
	return "guarded for " + s.String()
}

// String returns the protocol's name.
func (s Service) String() string {
	switch s {
	case ServiceSIP:
		return "SIP"
	case ServiceHTTP:
		return "HTTP"
	case ServiceOpen:
		return "an open service"
	case ServiceTunnel:
		return "tunnels"
	default:
		return fmt.Sprintf("service %d", uint8(s))
	}
}
