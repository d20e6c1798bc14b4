package appliance

import "fmt"

// Reason names why a packet or a call met its verdict. There is one list. The
// values below 64 are shared with the XDP program (enum reason in
// bpf/gate.bpf.c, generated into package bpf); a test in package gate checks
// that both ends agree. Values are stable: they are counted, stored and sent.
type Reason uint8

// Packets that the gate drops.
const (
	// ReasonNoRules is the zero Reason: nothing has been compiled yet, or the
	// generation is empty, so everything guarded is refused.
	ReasonNoRules Reason = iota
	ReasonSIPSource
	ReasonHTTPSource
	ReasonMalformed
	ReasonFragmentTiny
	ReasonHeaderChain
	ReasonVLANDepth
	ReasonFragmentDropped
	ReasonSourceRoute
	ReasonRedirectICMP
	ReasonTunnelSource
	ReasonTunnelDepth
	ReasonBanned
	ReasonFeed
	ReasonRateLimit
	ReasonSIPPayload
	ReasonMediaCut
	ReasonMediaStray
	ReasonMediaCutOut // the only one of packets that leave
)

// Packets that the gate passes.
const (
	ReasonNotIP Reason = 32 + iota
	ReasonOtherProtocol
	ReasonNotGuarded
	ReasonSIPAllowed
	ReasonHTTPAllowed
	ReasonFragmentLater
	ReasonOpenService
	ReasonReply
	ReasonExempt
	ReasonMedia
	ReasonMediaObserved
)

// FirstCallReason is the lowest value that the kernel never uses.
const FirstCallReason Reason = 64

// Calls that are allowed.
const (
	ReasonEmergency Reason = FirstCallReason + iota
	ReasonInternal
	ReasonDestinationAllowed
	ReasonException
	ReasonInbound
	ReasonSalvaged
)

// Calls that are refused for where they would go.
const (
	ReasonHighRisk Reason = 80 + iota
	ReasonPremium
	ReasonPolicyBlock
	ReasonSettingsBlock
	ReasonUnknownNumber
	ReasonUnreadableNumber
	ReasonForeignHost
)

// Calls that are refused for how they are made: by the behaviour engine.
const (
	ReasonTollBlock Reason = 96 + iota
	ReasonHours
	ReasonSuspicion
	ReasonCredit
	ReasonForwarded
)

// ReasonReleased lets one number pass that a list blocks, for a while.
const ReasonReleased Reason = 76

// Messages that are refused for what they are.
const (
	ReasonMalformedMessage Reason = 112 + iota
	ReasonUnknownDialog
	ReasonUnknownSource
	ReasonUnknownMethod
	ReasonUnknownUser
	ReasonExtension
	ReasonHops
	ReasonLoop
	ReasonOverload
	ReasonNoTrunk
	ReasonBody
	ReasonShutdown
	ReasonRegistrationSource
	ReasonScanner
	ReasonSlowed
	ReasonUnregistered
	ReasonTLS
	ReasonSIPS
)

// Packets from the LAN that the egress lock meets. The kernel counts them, in
// nftables.
const (
	ReasonIntercepted Reason = 160 + iota
	ReasonNoInspector
	ReasonEgressSIP
	ReasonOpaqueTLS
	ReasonOpaqueTLSPassed
	ReasonEgressVoIP
	ReasonEgressPassed
	ReasonEgressPayload
)

// ReasonCut is of a call that was ended here after it had been let through.
const ReasonCut Reason = 176

type reasonText struct {
	name     string
	sentence string
	verdict  Verdict
}

var reasons = map[Reason]reasonText{
	ReasonNoRules:      {"no_rules", "no rules are loaded", Block},
	ReasonSIPSource:    {"sip_source", "the source is not an allowed SIP provider", Block},
	ReasonHTTPSource:   {"http_source", "the source is not an allowed administrator", Block},
	ReasonMalformed:    {"malformed", "a header is cut short or contradicts itself", Block},
	ReasonFragmentTiny: {"fragment_tiny", "the first fragment is too short to hold its ports", Block},
	ReasonHeaderChain:  {"header_chain", "the IPv6 header chain is longer than the bound", Block},
	ReasonVLANDepth:    {"vlan_depth", "the frame carries more than two VLAN tags", Block},

	ReasonFragmentDropped: {"fragment_dropped", "a later fragment of a packet whose first was dropped", Block},
	ReasonSourceRoute:     {"source_route", "the sender prescribes the route", Block},
	ReasonRedirectICMP:    {"redirect_icmp", "an ICMP redirect from the internet", Block},
	ReasonTunnelSource:    {"tunnel_source", "a tunnel from a source that no document names", Block},
	ReasonTunnelDepth:     {"tunnel_depth", "a tunnel in a tunnel, or one that can't be looked into", Block},
	ReasonBanned:          {"banned", "the source is banned", Block},
	ReasonFeed:            {"feed", "the source is on a deny feed", Block},
	ReasonRateLimit:       {"rate_limit", "the source sends more than its limit", Block},
	ReasonSIPPayload:      {"sip_payload", "a SIP request from a stranger to another port", Block},

	ReasonMediaCut:    {"media_cut", "media of a call that was cut", Block},
	ReasonMediaStray:  {"media_stray", "media that no call negotiated", Block},
	ReasonMediaCutOut: {"media_cut_out", "media that a cut call still sends", Block},

	ReasonNotIP:         {"not_ip", "not an IP packet", Allow},
	ReasonOtherProtocol: {"other_protocol", "neither TCP nor UDP", Allow},
	ReasonNotGuarded:    {"not_guarded", "the port is not guarded", Allow},
	ReasonSIPAllowed:    {"sip_allowed", "the source may speak SIP", Allow},
	ReasonHTTPAllowed:   {"http_allowed", "the source may administer", Allow},
	ReasonFragmentLater: {"fragment_later", "a later fragment, harmless without its first", Allow},
	ReasonOpenService:   {"open_service", "the port is open to the internet", Allow},
	ReasonReply:         {"reply", "a reply to a flow that began inside", Allow},
	ReasonExempt:        {"exempt", "the interface is not a WAN of ours", Allow},

	ReasonMedia:         {"media", "media that a call negotiated", Allow},
	ReasonMediaObserved: {"media_observed", "media that no call negotiated, only observed", Allow},

	ReasonEmergency:          {"emergency", "an emergency number", Allow},
	ReasonInternal:           {"internal", "an internal call", Allow},
	ReasonDestinationAllowed: {"destination_allowed", "no list blocks the destination", Allow},
	ReasonException:          {"exception", "an exception allows the destination", Allow},
	ReasonInbound:            {"inbound", "a call from the provider", Allow},
	ReasonSalvaged:           {"salvaged", "a call from before a restart is ended", Allow},

	ReasonHighRisk:         {"high_risk", "a high-risk destination", Block},
	ReasonPremium:          {"premium", "a premium-rate number", Block},
	ReasonPolicyBlock:      {"policy_block", "the provider's policy blocks the destination", Block},
	ReasonSettingsBlock:    {"settings_block", "the local settings block the destination", Block},
	ReasonUnknownNumber:    {"unknown_number", "the number has no meaning in the dial plan", Block},
	ReasonUnreadableNumber: {"unreadable_number", "the number can't be read safely", Block},
	ReasonForeignHost:      {"foreign_host", "the host is neither a trunk nor the PBX", Block},

	ReasonTollBlock: {"toll_block", "a toll-block is in force", Block},
	ReasonHours:     {"hours", "outside business hours", Block},
	ReasonSuspicion: {"suspicion", "the call looks like fraud", Block},
	ReasonCredit:    {"credit", "a money limit is used up", Block},
	ReasonForwarded: {"forwarded", "a forwarded call may not go there", Block},
	ReasonReleased:  {"released", "the number was released for a while", Allow},

	ReasonMalformedMessage: {"malformed_message", "the SIP message breaks the grammar", Block},
	ReasonUnknownDialog:    {"unknown_dialog", "no such dialog", Block},
	ReasonUnknownSource:    {"unknown_source", "the sender is neither on the LAN nor a trunk", Block},
	ReasonUnknownMethod:    {"unknown_method", "the method is not understood", Block},
	ReasonUnknownUser:      {"unknown_user", "nobody is known by that name", Block},
	ReasonExtension:        {"extension", "a required SIP extension is not understood", Block},
	ReasonHops:             {"hops", "Max-Forwards is used up", Block},
	ReasonLoop:             {"loop", "the request came round again", Block},
	ReasonOverload:         {"overload", "a bounded table is full", Block},
	ReasonNoTrunk:          {"no_trunk", "no trunk can carry the call", Block},
	ReasonBody:             {"body", "the message body is not understood", Block},
	ReasonShutdown:         {"shutdown", "the box is being restarted", Block},
	ReasonTLS:              {"tls", "no TLS could be agreed on", Block},
	ReasonSIPS:             {"sips", "a sips URI asks for TLS where there is none", Block},

	ReasonIntercepted:        {"intercepted", "SIP that was handed to the inspector on its way", Allow},
	ReasonNoInspector:        {"no_inspector", "SIP for the inspector while there is none", Block},
	ReasonEgressSIP:          {"egress_sip", "SIP from the LAN past the inspector", Block},
	ReasonOpaqueTLS:          {"opaque_tls", "SIP over TLS from the LAN, which can't be inspected", Block},
	ReasonOpaqueTLSPassed:    {"opaque_tls_passed", "SIP over TLS from the LAN to a trunk, uninspected", Allow},
	ReasonEgressVoIP:         {"egress_voip", "telephony other than SIP from the LAN", Block},
	ReasonEgressPassed:       {"egress_passed", "telephony other than SIP that the settings let out", Allow},
	ReasonEgressPayload:      {"egress_payload", "SIP from the LAN to another port", Block},
	ReasonCut:                {"cut", "the call was cut", Block},
	ReasonRegistrationSource: {"registration_source", "the account may not register from there", Block},
	ReasonScanner:            {"scanner", "the source is a scanner, or ignored for what it did", Block},
	ReasonSlowed:             {"slowed", "the account was wrong too often and is slowed down", Block},
	ReasonUnregistered:       {"unregistered", "nobody is registered from that source on the WAN", Block},
}

// Reasons returns every named reason, in ascending order.
func Reasons() []Reason {
	var all []Reason
	for i := range 256 {
		if _, ok := reasons[Reason(i)]; ok {
			all = append(all, Reason(i))
		}
	}
	return all
}

// String returns the name that is counted and stored, such as "sip_source".
func (r Reason) String() string {
	if text, ok := reasons[r]; ok {
		return text.name
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// Sentence says the reason to a person, lower case and without a full stop.
func (r Reason) Sentence() string {
	if text, ok := reasons[r]; ok {
		return text.sentence
	}
	return r.String()
}

// Verdict returns the only verdict that the reason can stand beside. An
// unnamed reason blocks.
func (r Reason) Verdict() Verdict { return verdicts[r] }

// verdicts is that column of reasons: the judge asks for it often.
var verdicts = func() (all [256]Verdict) {
	for r, entry := range reasons {
		all[r] = entry.verdict
	}
	return all
}()

// MarshalText implements encoding.TextMarshaler with the name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It accepts only the names
// of Reasons.
func (r *Reason) UnmarshalText(text []byte) error {
	for value, entry := range reasons {
		if entry.name == string(text) {
			*r = value
			return nil
		}
	}
	return fmt.Errorf("read reason %q: no such reason", text)
}
