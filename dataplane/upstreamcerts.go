package dataplane

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
)

// certificates are the certificate that an endpoint has last presented, and the one
// that is presented to it. Either may be nil.
type certificates struct {
	theirs atomic.Pointer[x509.Certificate]
	ours   *x509.Certificate
}

// follow records the certificates of handshakes with cfg.
func (c *certificates) follow(cfg *tls.Config) {
	if len(cfg.Certificates) > 0 {
		c.ours = cfg.Certificates[0].Leaf
	}
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		c.theirs.Store(state.PeerCertificates[0]) // a server always has one
		return nil
	}
}

// UpstreamCertificates are the certificates of the endpoints of one upstream, without
// duplicates.
type UpstreamCertificates struct {
	Upstream string
	Theirs   []*x509.Certificate // last presented by the endpoints
	Ours     *x509.Certificate   // presented to the endpoints; nil = none
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
