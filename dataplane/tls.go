package dataplane

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/meshgw/meshgw/routetable"
)

// upstreamTLS makes the settings for https endpoints of a service.
func upstreamTLS(spec routetable.UpstreamTLS, host string) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if spec.ServerName != "" {
		cfg.ServerName = spec.ServerName
	}
	if spec.CA != "" {
		pem, err := os.ReadFile(spec.CA)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA %s: %w", spec.CA, errors.New("no certificate in it"))
		}
	}
	if spec.Cert != "" {
		pair, err := tls.LoadX509KeyPair(spec.Cert, spec.Key)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// CertificateFile names a certificate chain and its key, both PEM.
type CertificateFile struct{ Cert, Key string }

// Certificates are the edge's certificates, chosen by SNI and replaced while
// connections are served. It is safe for concurrent use.
type Certificates struct {
	files []CertificateFile
	pairs atomic.Pointer[[]tls.Certificate]
}

// LoadCertificates reads files. The first is shown to clients that ask for a
// name which none of them is for.
func LoadCertificates(files []CertificateFile) (*Certificates, error) {
	c := &Certificates{files: files}
	return c, c.Reload()
}

// Reload reads the files again. On an error all certificates stay as they are.
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
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.pairs.Store(&pairs)
	return nil
}

// Config returns settings for a Listener: TLS 1.2 and 1.3, HTTP/1.1.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: c.choose,
	}
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
