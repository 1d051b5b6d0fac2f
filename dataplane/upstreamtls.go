package dataplane

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/meshgw/meshgw/internal/files"
	"github.com/meshgw/meshgw/routetable"
)

// upstreamTLS returns the TLS settings for https endpoints of a service.
func upstreamTLS(spec routetable.UpstreamTLS, host string, protocol routetable.Protocol) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		NextProtos:         alpn(protocol),
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if spec.ServerName != "" {
		cfg.ServerName = spec.ServerName
	}
	if spec.CA != "" {
		pem, err := files.Read(spec.CA, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA %s: %w", spec.CA, errors.New("no certificate in it"))
		}
	}
	if spec.Cert != "" {
		pair, err := readPair(spec.Cert, spec.Key)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// maxPEM is for one file, in bytes; the CAs of a system have a quarter of a megabyte.
const maxPEM = 4 << 20

func readPair(cert, key string) (tls.Certificate, error) {
	chain, err := files.Read(cert, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	secret, err := files.Read(key, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(chain, secret)
}

// alpn returns the protocols that are offered to an endpoint.
func alpn(protocol routetable.Protocol) []string {
	if protocol == routetable.HTTP1 {
		return []string{"http/1.1"}
	}
	return []string{"h2"}
}
