package message

import (
	"strings"
	"testing"
)

// inUse are headers as phones, PBXs and carriers write them. None is odd to
// its sender: refusing one is refusing a customer's calls.
var inUse = []string{
	`Contact: <sip:101@10.0.0.1:5060>;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-805ec0aabbcc>"`,
	`Contact: "101" <sip:101@10.0.0.9:5060;transport=udp;rinstance=0a1b2c3d4e>;expires=3600`,
	`Contact: <sip:8e2c@10.1.1.9:51234;transport=tls>;+u.sip!devicename.ccm.cisco.com="SEP001122334455";+u.sip!model.ccm.cisco.com="30018"`,
	`Contact: <sip:gw+trunk@203.0.113.7:5080;transport=udp;gw=trunk>`,
	`Contact: <sip:api-du-a.pstnhub.example.com:443;x-i=e9a1b2c3;x-c=aa/s/1/bb/cc>`,
	`Contact: <sip:198.51.100.4:5060;Hpt=8e48_16;CxtId=3;TRC=ffffffff-ffffffff>`,
	`Contact: <sip:anonymous@anonymous.invalid>`,
	`Record-Route: <sip:198.51.100.9:5060;lr=on;ftag=as6f2c;did=2b1.c31>`,
	`Record-Route: <sip:3Zqkv7%0BaGqmaaaaacbsip%3A1@sbg.example.net:5060;lr>`,
	`Record-Route: <sip:198.51.100.9;r2=on;lr;nat=yes>,<sip:10.0.0.9;r2=on;lr;nat=yes>`,
	`Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK+c6b3a1d2e+sip+1+ab12cd34;rport`,
	`Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKBroadWorks.1q2w3e-10.0.0.1V5060-0-123-456-1;rport=5060;received=10.0.0.2`,
	`Via: SIP/2.0/TLS PBX_1.office.lan:5061;alias;branch=z9hG4bK-524287-1---ab;rport`,
	`Referred-By: <sip:101@pbx.example.com>;cid="20398823.2UWQFN309shb3@x"`,
	`Refer-To: <sip:102@pbx.example.com?Replaces=8e2c%4010.0.0.1%3Bto-tag%3Das1%3Bfrom-tag%3D2>`,
	`Replaces: 12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only`,
	`Session-Expires: 1800;refresher=uas`,
	`Event: message-summary`,
	`Event: dialog;sla;include-session-description`,
	`Subscription-State: active;expires=3599`,
	`Allow: INVITE,ACK,CANCEL,BYE,NOTIFY,REFER,OPTIONS,INFO,SUBSCRIBE,UPDATE,PRACK,MESSAGE,`,
	`Supported: replaces, from-change, 100rel, timer, norefersub, path, outbound, gruu`,
	`Content-Disposition: session;handling=required`,
	`Content-Type: multipart/mixed;boundary="unique-boundary-1"`,
	`P-Asserted-Identity: "Anonymous" <sip:+61255501234@ims.example.net;user=phone>`,
	`Diversion: <sip:+61255501234@pbx.example.com>;reason=no-answer;counter=1;privacy=off`,
	`History-Info: <sip:1@a?Reason=SIP%3Bcause%3D302>;index=1.1`,
	`Remote-Party-ID: "101" <sip:101@10.0.0.1>;party=calling;screen=yes;privacy=off`,
	`Authorization: Digest username="101",realm="pbx",nonce="6f2c/ab==",uri="sip:pbx;transport=udp",response="00",algorithm=MD5`,
	`Reason: Q.850;cause=16;text="Terminated"`,
	`Date: Mon, 16 Mar 2026 01:02:03 GMT`,
	`X-FS-Support: update_display,send_info`,
	`User-Agent: Téléphone 3.2 (build 7)`,
	`P-Access-Network-Info: IEEE-802.3;eth-location="x"`,
	`Alert-Info: <http://127.0.0.1/Bellcore-dr4>;info=alert-internal`,
}

func TestHeadersInUse(t *testing.T) {
	for _, header := range inUse {
		m, err := Parse(withHeader(header))
		if err != nil {
			t.Errorf("%s: %v", header, err)
			continue
		}
		checkEmitted(t, m)
	}
}

// TestPartiesInUse does the same for the headers that base has already.
func TestPartiesInUse(t *testing.T) {
	cases := []struct{ old, new string }{
		{"Call-ID: a@b", "Call-ID: 0_2893471828@10.0.0.1"},
		{"Call-ID: a@b", "Call-ID: NmQ4ZTc1YmY5OGE0ZDk4ZTg3YzA=="},
		{"Call-ID: a@b", "Call-ID: SD0v3e901-0a1b{c}-<d>:e@[2001:db8::1]"},
		{";tag=a", ";tag=12345~0a1b-2c3d-4e5f"},
		{";tag=a", ";tag=3772315211+1+3f3d0003+8c24c27f;isup-oli=62"},
		{"<sip:200@192.0.2.1>", `"O'Brien, Pat (Sales)" <sip:+61255501234@192.0.2.1;user=phone;noa=subscriber>`},
		{"<sip:200@192.0.2.1>", "<tel:+61-2-5550-1234;phone-context=example.net>"},
		{"To: <sip:100@192.0.2.1>", "To: <sip:*21*0255501234%23@192.0.2.1>"},
		{"To: <sip:100@192.0.2.1>", "To: sip:100@192.0.2.1:5060"},
		{"To: <sip:100@192.0.2.1>", "To: <urn:service:sos>"},
	}
	for _, c := range cases {
		m, err := Parse(crlf(strings.Replace(base, c.old, c.new, 1) + "\n"))
		if err != nil {
			t.Errorf("%s: %v", c.new, err)
			continue
		}
		checkEmitted(t, m)
	}
}
