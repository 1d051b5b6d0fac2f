package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
)

// certificates are what HTTPS shows, read again on demand: connections keep what
// they began with, new ones get the new.
type certificates struct {
	files  []Certificate
	loaded atomic.Pointer[[]tls.Certificate]
}

func newCertificates(files []Certificate) (*certificates, error) {
	c := &certificates{files: files}
	return c, c.load()
}

// load reads all files, or changes nothing.
func (c *certificates) load() error {
	var certs []tls.Certificate
	var errs []error
	for _, f := range c.files {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			errs = append(errs, fmt.Errorf("load certificate %s with key %s: %w", f.Cert, f.Key, err))
			continue
		}
		certs = append(certs, cert)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.loaded.Store(&certs)
	return nil
}

func (c *certificates) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: c.choose}
}

// choose picks by server name; who names none, or one that fits none, gets the
// first.
func (c *certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs := *c.loaded.Load()
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	for i := range certs {
		if hello.SupportsCertificate(&certs[i]) == nil {
			return &certs[i], nil
		}
	}
	return &certs[0], nil
}
