package dataplane

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
)

// certificates are those of an endpoint's TLS: what it has shown last, and what
// it is shown. Both are nil where there is none.
type certificates struct {
	theirs atomic.Pointer[x509.Certificate]
	ours   *x509.Certificate
}

// follow remembers what is shown in handshakes by cfg.
func (c *certificates) follow(cfg *tls.Config) {
	if len(cfg.Certificates) > 0 {
		c.ours = cfg.Certificates[0].Leaf
	}
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		c.theirs.Store(state.PeerCertificates[0]) // of a server there is always one
		return nil
	}
}

// UpstreamCertificates are those of the endpoints of one upstream, each once.
type UpstreamCertificates struct {
	Upstream string
	Theirs   []*x509.Certificate // what they showed last, here
	Ours     *x509.Certificate   // what they are shown; nil = nothing
}

// UpstreamCertificates returns the certificates of all upstreams that have any.
func (s *Server) UpstreamCertificates() (all []UpstreamCertificates) {
	for _, u := range s.plan.Load().upstreams {
		of := UpstreamCertificates{Upstream: u.Name}
		seen := map[string]bool{}
		for _, e := range u.endpoints {
			if e.shown.ours != nil {
				of.Ours = e.shown.ours
			}
			if c := e.shown.theirs.Load(); c != nil && !seen[string(c.Raw)] {
				seen[string(c.Raw)] = true
				of.Theirs = append(of.Theirs, c)
			}
		}
		if of.Ours != nil || len(of.Theirs) > 0 {
			all = append(all, of)
		}
	}
	return all
}
