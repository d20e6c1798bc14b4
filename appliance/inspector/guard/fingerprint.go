package guard

import "strings"

// Mark says what the words of a request give away about what sent it.
type Mark uint8

const (
	// MarkNone is a request like any other.
	MarkNone Mark = iota
	// MarkForged is the name of a softphone that few still use and many scanners
	// carry: it makes what else a source does count double, and is nothing alone.
	MarkForged
	// MarkTool is a program that administrators use, too: nothing on the LAN, and
	// a scanner elsewhere.
	MarkTool
	// MarkScanner is a program that does nothing but look for victims.
	MarkScanner
)

// part is a part of a request that a fingerprint is looked for in.
type part uint8

const (
	agent   part = iota // User-Agent
	display             // display name of From or To
	address             // user@host of From or To
)

// fingerprint is one row of the table: text that a part of the request holds or,
// where whole is set, is; without regard to case.
type fingerprint struct {
	in    part
	text  string
	whole bool
	mark  Mark
	shown string // how the ban names it
	cite  string // where it is on record
}

// Sources of the table.
const (
	svmap    = "SIPVicious OSS, svmap, svwar and svcrack as they come"
	smartvox = "smartvox.co.uk, How to spot hacker INVITE requests (2016)"
	sipxecs  = "sipXecs, denied SIP user agents of its firewall"
	pexip    = "Pexip Infinity, local policy examples, suspect user agents"
	kamailio = "Kamailio's example configuration and those derived from it, $ua checks"
	etscan   = "Emerging Threats, ET SCAN and ET VOIP rules on User-Agent"
)

// fingerprints is the whole list. A word that a real phone's name could hold does
// not belong here ("sip", "phone", "cisco", "Asterisk PBX"): complaint fail2ban
// #1999 is what that leads to.
var fingerprints = [...]fingerprint{
	{agent, "friendly-scanner", false, MarkScanner, "friendly-scanner", svmap},
	{agent, "friendly-request", false, MarkScanner, "friendly-request", pexip},
	{agent, "sipvicious", false, MarkScanner, "sipvicious", svmap},
	{display, "sipvicious", false, MarkScanner, "the name sipvicious", smartvox},
	{address, "100@1.1.1.1", true, MarkScanner, "the address 100@1.1.1.1", smartvox},
	{address, "nm@nm", true, MarkScanner, "the address nm@nm", smartvox + "; nmap's sip probe"},
	{agent, "sundayddr", false, MarkScanner, "sundayddr", sipxecs},
	{agent, "iwar", true, MarkScanner, "iWar", sipxecs},
	{agent, "sip-scan", false, MarkScanner, "sip-scan", sipxecs},
	{agent, "sipscan", false, MarkScanner, "sipscan", etscan},
	{agent, "sivus", false, MarkScanner, "SiVuS", pexip},
	{agent, "gulp", true, MarkScanner, "Gulp", pexip},
	{agent, "smap", true, MarkScanner, "smap", pexip},
	{agent, "siparmyknife", false, MarkScanner, "siparmyknife", kamailio},
	{agent, "sippts", false, MarkScanner, "sippts", "SIPPTS as it comes"},
	{agent, "pplsip", true, MarkScanner, "pplsip", "honeypot reports since 2019, in several public firewall scripts"},
	{agent, "vaxsipuseragent", false, MarkScanner, "VaxSIPUserAgent", kamailio},
	{agent, "vaxipuseragent", false, MarkScanner, "VaxIPUserAgent", pexip},
	{agent, "nmap nse", false, MarkScanner, "Nmap NSE", "nmap's SIP scripts as they come"},
	{agent, "sipcli/", false, MarkTool, "sipcli", smartvox},
	{agent, "sipsak", false, MarkTool, "sipsak", sipxecs},
	{agent, "sipp", true, MarkTool, "sipp", "SIPp's scenarios as they come"},
	{agent, "eyebeam release", false, MarkForged, "an eyeBeam of 2009", pexip},
	{agent, "portsip voip sdk", false, MarkForged, "the PortSIP SDK", pexip},
	{agent, "abto video sip sdk", false, MarkForged, "the ABTO SDK", pexip},
	{agent, "csipsimple", false, MarkForged, "CSipSimple", pexip},
}

// Words are the parts of a request that fingerprints are looked for in. They come
// from the message as parsed, never from a log line: what an attacker writes can't
// make them another host's (complaints fail2ban #1927, #822).
type Words struct {
	Agent    string
	Displays [2]string // of From and To
	Users    [2]string // of the URIs of From and To
	Hosts    [2]string // likewise
}

// look returns the worst fingerprint of the words.
func look(w Words) (Mark, string) {
	mark, shown := MarkNone, ""
	for n := range fingerprints {
		one := &fingerprints[n]
		if one.mark > mark && one.matches(&w) {
			mark, shown = one.mark, one.shown
		}
	}
	return mark, shown
}

func (f *fingerprint) matches(w *Words) bool {
	switch f.in {
	case agent:
		return f.holds(w.Agent)
	case display:
		return f.holds(w.Displays[0]) || f.holds(w.Displays[1])
	default:
		return f.names(w.Users[0], w.Hosts[0]) || f.names(w.Users[1], w.Hosts[1])
	}
}

// names reports whether the fingerprint is user@host.
func (f *fingerprint) names(user, host string) bool {
	at := len(user)
	return at+1+len(host) == len(f.text) && f.text[at] == '@' && strings.EqualFold(f.text[:at], user) && strings.EqualFold(f.text[at+1:], host)
}

// holds compares without allocating: it runs for every request that opens
// something.
func (f *fingerprint) holds(s string) bool {
	if f.whole || len(s) == len(f.text) {
		return strings.EqualFold(s, f.text)
	}
	for n := 0; n+len(f.text) <= len(s); n++ {
		if s[n]|0x20 == f.text[0]|0x20 && strings.EqualFold(s[n:n+len(f.text)], f.text) {
			return true
		}
	}
	return false
}
