package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/ringfence/ringfence/appliance/dialplan"
	"github.com/ringfence/ringfence/appliance/settings"
)

// Edition says which documents and lists judged, for the trail of a decision.
type Edition struct {
	Serial     uint64 // of the policy
	Generation string // Digest
	HighRisk   string // the built-in list: the first 8 hex digits of its SHA-256; empty where it is not in use
}

// Edition returns what the rules were made of.
func (r *Rules) Edition() Edition {
	if r == nil {
		return Edition{}
	}
	return r.edition
}

// Of names the edition of one list of a Decision; empty for no list.
func (e Edition) Of(list string) string {
	switch list {
	case listHighRisk:
		return e.HighRisk
	case listPolicy:
		return fmt.Sprintf("serial %d", e.Serial)
	case listSettings:
		return "generation " + e.Generation
	}
	return ""
}

// Messages says which calls' messages are kept. A nil Rules keeps none.
func (r *Rules) Messages() settings.Messages {
	if r == nil {
		return settings.MessagesOff
	}
	return r.sip.Messages
}

func (c *compiler) edition(digest string) Edition {
	e := Edition{Serial: c.policy.Serial, Generation: digest}
	if !c.policy.Destinations.HighRisk {
		return e
	}
	hash := sha256.New()
	for _, one := range dialplan.HighRisk(c.settings.Site.Country) {
		fmt.Fprintf(hash, "%s\x00%s\x00%s\n", one.Prefix, one.Class, one.Reason)
	}
	e.HighRisk = hex.EncodeToString(hash.Sum(nil))[:8]
	return e
}
