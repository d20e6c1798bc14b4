package main

import "github.com/ringfence/ringfence/scripts/peers"

// disguise is one way of asking for a number that costs, as a PBX or a stolen phone
// account can put it on the wire.
type disguise struct {
	name   string
	method string // INVITE, MESSAGE, REFER, or 302 from the PBX's own side
	uri    string // Request-URI; the target of a REFER
	to     string // the whole To value where it is not <uri>
}

// marks are the digits by which what the provider receives is searched: every
// disguise holds one of them, and no allowed call does.
func marks() []string { return []string{"5550148", "8765550199"} }

// disguises are mostly of one number, +252 61 555 0148 in Somalia. In Australia
// 0011 is the international prefix, 14xx an override code before it, 1831 withholds
// the caller's number; 0 is this PBX's outside line.
func disguises() []disguise {
	at := func(user string) string { return "sip:" + user + "@" + peers.Provider }
	return []disguise{
		{"+252, plain", "INVITE", at("+252615550148"), ""},
		{"0011 as Australia dials", "INVITE", at("0011252615550148"), ""},
		{"00 as Europe dials", "INVITE", at("00252615550148"), ""},
		{"011 as America dials", "INVITE", at("011252615550148"), ""},
		{"0 for an outside line, 0011", "INVITE", at("00011252615550148"), ""},
		{"1831 (caller withheld), 0011", "INVITE", at("18310011252615550148"), ""},
		{"1414 (carrier override), 0011", "INVITE", at("14140011252615550148"), ""},
		{"+ as %2B", "INVITE", at("%2B252615550148"), ""},
		{"digits as %30%30%31%31", "INVITE", at("%30%30%31%31252615550148"), ""},
		{"visual separators", "INVITE", at("(0011)252-61-555.0148") + ";user=phone", ""},
		{"tel: URI", "INVITE", "tel:+252-61-555-0148", ""},
		{"local number, phone-context", "INVITE", at("615550148;phone-context=+252") + ";user=phone", ""},
		{"routing number beside a good one", "INVITE", at("+61255500101;rn=+252615550148"), ""},
		{"good To, bad Request-URI", "INVITE", at("0011252615550148"), `"+61 2 5550 0101" <` + at("+61255500101") + ">"},
		{"Jamaica, which looks American", "INVITE", at("001118765550199"), ""},
		{"satellite phone, 00", "INVITE", at("0088165550148"), ""},
		{"premium rate at home", "INVITE", at("1905550148"), ""},
		{"text message", "MESSAGE", at("+252615550148"), ""},
		{"transfer of a good call", "REFER", at("+252615550148"), ""},
		{"redirect of an inbound call", "302", at("+252615550148"), ""},
	}
}

// attempt is what became of a disguise.
type attempt struct {
	disguise
	answer  int  // the final answer to whoever asked; 0 for none
	reached bool // the provider saw the number
	callID  string
	log     string // where sipp says what went wrong
}
