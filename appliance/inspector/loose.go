package inspector

import (
	"github.com/ringfence/ringfence/appliance/inspector/message"
)

// unroute does what RFC 3261 section 16.4 wants before anything is decided. A
// strict router before us has written our own Record-Route into the Request-URI
// and the real target behind the last Route: it is put back, so that what is
// judged is what would be called. It reports false where that target can't be
// read.
//
// What is left of Route is never followed: requests that open something go where
// the rules say, and the others along the route set that their dialog learned.
func (i *Inspector) unroute(q *request) bool {
	if q.uri.Scheme != "sip" || q.uri.User != "" || !q.uri.Params.Has("lr") || !i.ownHost(*q.uri) {
		return true
	}
	routes, err := q.Routes()
	if err != nil {
		return false
	}
	if len(routes) == 0 {
		return true
	}
	q.uri = &routes[len(routes)-1].URI
	q.URI = q.uri.String()
	q.Del("Route")
	for _, route := range routes[:len(routes)-1] {
		q.Add("Route", route.String())
	}
	return true
}

// pathTo writes the Request-URI and the Routes that reach target along a route
// set. Where its first hop is a strict router, that one becomes the Request-URI
// and the target the last Route (RFC 3261 section 16.6 step 6).
func pathTo(target message.URI, routes []string) (uri string, left []string) {
	if len(routes) == 0 {
		return target.String(), nil
	}
	first, err := message.ParseNameAddr(routes[0])
	if err != nil || first.URI.Params.Has("lr") {
		return target.String(), routes
	}
	left = append(left, routes[1:]...)
	left = append(left, message.NameAddr{URI: target}.String())
	hop := plainTarget(first.URI)
	hop.Params = hop.Params.Del("method")
	return hop.String(), left
}
