package control

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
	"github.com/ringfence/ringfence/appliance/fraud"
	"github.com/ringfence/ringfence/appliance/trace"
)

// getEvidence sends everything that is known of an incident as one zip, whose bytes
// are the same as long as the content is.
func (s *Server) getEvidence(_ http.ResponseWriter, r *http.Request) (any, error) {
	found, err := s.incidentOf(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return stream{"application/zip", func(to io.Writer) error { return s.bundle(to, found) }}, nil
}

// bundle writes the zip, a file at a time.
func (s *Server) bundle(to io.Writer, found *incident) error {
	b := &bundle{out: zip.NewWriter(to)}
	b.json("box.json", "Which box this is: site, firmware, revisions of policy and settings, digest of the rules in force.", s.boxOf(found))
	b.json("calls.json", fmt.Sprintf("The records of %d calls with the trail of each decision, oldest first.", len(found.calls)), full(found.calls))
	b.json("blocks.json", fmt.Sprintf("%d toll-blocks in force that concern it, with their evidence.", len(found.blocks)), blocksOf(found.blocks))
	b.json("findings.json", fmt.Sprintf("%d findings of the behaviour engine.", len(found.findings)), findingsOf(found.findings))
	b.json("events.json", fmt.Sprintf("%d entries of the journal of the time.", len(found.events)), full(found.events))
	b.json("audit.json", fmt.Sprintf("%d lines of the audit log of the time, each with the hash of the one before.", len(found.audits)),
		api.Audits{Lines: full(found.audits), Broken: found.broken})
	silent := 0
	for _, call := range found.calls {
		if !b.call(call, s.inspector.Trace(call.CallID)) {
			silent++
		}
	}
	b.file("README.txt", "", []byte(s.readme(found, b.lines, silent)))
	b.file("SHA256SUMS", "", []byte(b.sums.String()))
	if b.err != nil {
		return fmt.Errorf("write evidence: %w", b.err)
	}
	return b.out.Close()
}

// bundle is a zip that is being written. The first error stays.
type bundle struct {
	out   *zip.Writer
	sums  strings.Builder // as sha256sum writes them
	lines []string        // of the README
	err   error
}

// file adds one. Files carry no time of their own: the same content makes the same
// bytes.
func (b *bundle) file(name, about string, data []byte) {
	if b.err != nil {
		return
	}
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	to, err := b.out.CreateHeader(header)
	if err == nil {
		_, err = to.Write(data)
	}
	b.err = err
	fmt.Fprintf(&b.sums, "%x  %s\n", sha256.Sum256(data), name)
	if about != "" {
		b.lines = append(b.lines, name, "    "+about)
	}
}

func (b *bundle) json(name, about string, value any) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil && b.err == nil {
		b.err = fmt.Errorf("%s: %w", name, err)
	}
	b.file(name, about, out.Bytes())
}

// call adds what a person reads of a call, and its messages where there are any. They
// were redacted by the inspector; a file that leaves the site is redacted once more.
func (b *bundle) call(call appliance.Call, t appliance.Trace) (kept bool) {
	messages := make([]appliance.Message, len(t.Messages))
	for n, m := range t.Messages {
		m.Text = string(trace.Redact([]byte(m.Text)))
		messages[n] = m
	}
	t.Messages = messages
	folder := "calls/" + call.ID + "/"
	b.file(folder+"call.txt", "The record, the decision, the SIP ladder and the messages, to be read.", []byte(trace.Text(call, t, trace.Style{})))
	if len(messages) == 0 {
		b.lines = append(b.lines, "    There is no capture beside it: "+t.Note+".")
		return false
	}
	var capture bytes.Buffer
	if err := trace.Capture(&capture, messages); err != nil && b.err == nil {
		b.err = err
	}
	b.file(folder+"messages.pcapng", "The SIP messages, for Wireshark and tshark.", capture.Bytes())
	return true
}

// boxOf is which box this is, and what was in force.
func (s *Server) boxOf(found *incident) any {
	state := s.control.State()
	return struct {
		About      string      `json:"about"`
		From       time.Time   `json:"from"`
		Until      time.Time   `json:"until,omitzero"`
		Site       string      `json:"site"`
		Firmware   string      `json:"firmware"`
		Policy     api.Edition `json:"policy"`
		Settings   api.Edition `json:"settings"`
		Generation string      `json:"generation"`
	}{found.about, found.from, found.until, state.Settings.Site.Name, s.health.Status().Version,
		api.Edition{Revision: state.Revision(appliance.DocumentPolicy), Serial: state.Policy.Serial, Issuer: state.Policy.Issuer},
		api.Edition{Revision: state.Revision(appliance.DocumentSettings)}, state.Rules.Digest()}
}

func blocksOf(list []fraud.Block) []api.TollBlock {
	out := []api.TollBlock{}
	for _, b := range list {
		out = append(out, blockOf(b))
	}
	return out
}

// readme says what each file is, and what is missing.
func (s *Server) readme(found *incident, lines []string, silent int) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Evidence about %s, from %s\n", found.about, found.from.UTC().Format(time.RFC3339))
	if !found.until.IsZero() {
		fmt.Fprintf(&out, "until %s\n", found.until.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&out, "Written by a Ringfence box at %q. Times are in UTC.\n\n", s.control.State().Settings.Site.Name)
	switch {
	case len(found.calls) == 0:
		out.WriteString("No record of a call is kept of this time.\n")
	case silent == len(found.calls):
		out.WriteString("No messages are kept of any of these calls; the records stand for themselves.\n")
	case silent > 0:
		fmt.Fprintf(&out, "No messages are kept of %d of %d calls.\n", silent, len(found.calls))
	}
	if found.omitted > 0 {
		fmt.Fprintf(&out, "%d older calls found no room.\n", found.omitted)
	}
	if found.broken != "" {
		fmt.Fprintf(&out, "THE AUDIT LOG DOES NOT HOLD: %s.\n", found.broken)
	}
	out.WriteString(`No file holds a password, a digest response or a key of media: where one stood in
a message there are stars.

`)
	out.WriteString(strings.Join(lines, "\n"))
	out.WriteString(`
SHA256SUMS
    The SHA-256 of every other file: sha256sum -c SHA256SUMS.

The hashes tell a damaged file. Against a forger keep the hash of the whole zip with
somebody else. The lines of the audit log are a chain: the hash of each is over the
line itself, with the hash of the one before in it.
`)
	return out.String()
}
