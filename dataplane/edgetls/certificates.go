// Package edgetls has the certificates that clients are shown, and the CAs that theirs
// are verified by.
package edgetls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// File names a certificate chain and its key, both PEM.
type File struct{ Cert, Key string }

// Certificates are the edge's certificates, chosen by SNI and replaced while
// connections are served. It is safe for concurrent use.
type Certificates struct {
	files    []File
	clientCA string
	pairs    atomic.Pointer[[]tls.Certificate]
	clients  atomic.Pointer[x509.CertPool]
}

// Load reads files. The first is presented to clients that ask for a name
// which none of them covers. clientCA is a PEM file of the CAs that client
// certificates are verified by; empty = clients are not asked for one.
func Load(files []File, clientCA string) (*Certificates, error) {
	c := &Certificates{files: files, clientCA: clientCA}
	return c, c.Reload()
}

// Reload reads the files again. On an error all stay as they are. Open connections
// are not affected.
func (c *Certificates) Reload() error {
	if len(c.files) == 0 {
		return errors.New("no certificate given")
	}
	pairs, errs := make([]tls.Certificate, len(c.files)), make([]error, len(c.files))
	for i, f := range c.files {
		var err error
		if pairs[i], err = tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
			errs[i] = fmt.Errorf("read certificate %s with key %s: %w", f.Cert, f.Key, err)
		}
	}
	pool, err := readPool(c.clientCA)
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	c.pairs.Store(&pairs)
	c.clients.Store(pool)
	return nil
}

// readPool reads the CAs of client certificates, nil if path is empty.
func readPool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no pool means no client certificates
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA of clients: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read CA of clients %s: %w", path, errors.New("no certificate in it"))
	}
	return pool, nil
}

// Leaves returns the certificates without their chains.
func (c *Certificates) Leaves() (all []*x509.Certificate) {
	for _, pair := range *c.pairs.Load() {
		all = append(all, pair.Leaf)
	}
	return all
}

// Config returns TLS settings for a Listener: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
// Client certificates are optional; one that does not verify fails the handshake.
func (c *Certificates) Config() *tls.Config {
	base := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.choose,
	}
	if c.clientCA == "" {
		return base
	}
	base.ClientAuth, base.VerifyConnection = tls.VerifyClientCertIfGiven, c.verifyResumed
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := base.Clone()
		now.GetConfigForClient, now.ClientCAs = nil, c.clients.Load()
		return now, nil
	}
	return base
}

// verifyResumed verifies the client certificate of a resumed session again, so that
// sessions do not outlive the CA or the certificate.
func (c *Certificates) verifyResumed(state tls.ConnectionState) error {
	if !state.DidResume || len(state.PeerCertificates) == 0 {
		return nil
	}
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: c.clients.Load(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

func (c *Certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	pairs := *c.pairs.Load()
	for i := range pairs {
		if hello.SupportsCertificate(&pairs[i]) == nil {
			return &pairs[i], nil
		}
	}
	return &pairs[0], nil
}
