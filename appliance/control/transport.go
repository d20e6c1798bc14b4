package control

import (
	"net/http"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

// Certificates are what TLS is spoken with.
type Certificates interface {
	// Certificates returns what is in use, the listeners' first.
	Certificates() []appliance.Certificate
	// Reload reads every file again, and returns what is in use then. Connections
	// that are open stay.
	Reload() []appliance.Certificate
}

func (s *Server) getTrunks(http.ResponseWriter, *http.Request) (any, error) {
	return api.Trunks{Trunks: full(s.inspector.Trunks())}, nil
}

func (s *Server) getCertificates(http.ResponseWriter, *http.Request) (any, error) {
	return api.Certificates{Certificates: full(s.certificates.Certificates())}, nil
}

func (s *Server) postReload(http.ResponseWriter, *http.Request) (any, error) {
	return api.Certificates{Certificates: full(s.certificates.Reload())}, nil
}
