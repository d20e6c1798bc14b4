package inspector

import (
	"strings"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/inspector/message"
	"github.com/ringfence/ringfence/appliance/rules"
)

// exempt reports whether a judged request is a call for help, which nothing here
// may turn away. A trunk's call to such a number is a call like any other: whom
// it reaches is the PBX's matter.
func exempt(q *request, said rules.Decision) bool {
	return q.who.side == inside && said.Verdict == appliance.Allow && said.Reason == appliance.ReasonEmergency
}

// fit takes out of a request that opens something what could name another callee
// than the one who was judged. An ordinary request with more than that has been
// refused before; an emergency call is sent on without it.
func fit(out *message.Message, urgent bool) {
	if !urgent {
		plainBody(out, false)
		return
	}
	knownBody(out, true)
	for _, name := range bridging {
		out.Del(name)
	}
	tags, _ := out.Tokens("Require")
	out.Del("Require")
	var known []string
	for _, tag := range tags {
		if extensions[strings.ToLower(tag)] {
			known = append(known, tag)
		}
	}
	if len(known) > 0 {
		out.Add("Require", strings.Join(known, ", "))
	}
}
