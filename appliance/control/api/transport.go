package api

import (
	"context"
	"net/http"

	"github.com/ringfence/ringfence/appliance"
)

// Trunks is the answer to GET /trunks, in document order.
type Trunks struct {
	Trunks []appliance.Trunk `json:"trunks"`
}

// Certificates is the answer to GET /certificates, the listeners' first.
type Certificates struct {
	Certificates []appliance.Certificate `json:"certificates"`
}

// Trunks asks for the trunks and what is known of their targets.
func (c *Client) Trunks(ctx context.Context) (Trunks, error) {
	return get[Trunks](ctx, c, "/trunks", nil)
}

// Certificates asks for the certificates that TLS is spoken with.
func (c *Client) Certificates(ctx context.Context) (Certificates, error) {
	return get[Certificates](ctx, c, "/certificates", nil)
}

// Reload has the files of every certificate read again.
func (c *Client) Reload(ctx context.Context) (Certificates, error) {
	return send[Certificates](ctx, c, http.MethodPost, "/certificates/reload", "", nil)
}
