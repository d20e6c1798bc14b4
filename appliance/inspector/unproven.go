package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// undress takes the credentials of a telephone on the WAN away that has not shown
// yet that it hears what is sent to it, and reports whether it did. After a restart
// of the box a telephone goes on with the nonce that it was given before, and a
// registrar may take that: nothing would then show that somebody is at the address,
// the telephone would believe itself registered, and no call would find it. Asked
// anew, it shows it.
func (i *Inspector) undress(q *request) bool {
	if !q.who.remote || credentials(q.Message) == nil || i.watch.guard.Reliable(q.from.remote.Addr()) {
		return false
	}
	q.Del("Authorization")
	q.Del("Proxy-Authorization")
	return true
}

// stale says of every challenge that only the nonce was wrong (RFC 7616 section
// 3.3): a telephone whose credentials nobody has looked at is not to think that its
// password is.
func stale(m *message.Message) {
	for _, name := range [...]string{"WWW-Authenticate", "Proxy-Authenticate"} {
		values := m.All(name)
		m.Del(name)
		for _, value := range values {
			fields, ok := digestFields(value)
			if ok && fields.get("stale") == "" {
				value = strings.TrimRight(value, " \t,") + ", stale=true"
			}
			m.Add(name, value)
		}
	}
}
