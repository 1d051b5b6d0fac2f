package auth

import (
	"crypto/x509"
	"strings"
	"time"
)

// Certificate is what a client's certificate says, which the TLS stack verified
// when the connection was made. It never changes.
type Certificate struct {
	names   []string
	expires time.Time
}

// NewCertificate reads a verified leaf. Its names are its subject alternative
// names alone (RFC 9525, section 2): of DNS, in lower case, mail, address, URI.
func NewCertificate(leaf *x509.Certificate) *Certificate {
	c := &Certificate{expires: leaf.NotAfter}
	for _, name := range leaf.DNSNames {
		c.names = append(c.names, strings.ToLower(name))
	}
	c.names = append(c.names, leaf.EmailAddresses...)
	for _, ip := range leaf.IPAddresses {
		c.names = append(c.names, ip.String())
	}
	for _, uri := range leaf.URIs {
		c.names = append(c.names, uri.String())
	}
	return c
}

// Names returns the subject alternative names. It is read only.
func (c *Certificate) Names() []string { return c.names }

// Valid reports whether the certificate still holds at now: connections outlive
// certificates.
func (c *Certificate) Valid(now time.Time) bool { return !now.After(c.expires) }
