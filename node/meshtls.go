package node

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// meshTLS secures the links between gateways: both ends show a certificate of
// the mesh's own CA, and a node's is bound to its name. It is read again on
// demand: links that are open stay as they are. A CA file may hold several, so
// that an old and a new one hold at once.
type meshTLS struct {
	node   string
	files  MeshTLSConfig
	now    func() time.Time // wall clock
	loaded atomic.Pointer[meshCertificates]
}

type meshCertificates struct {
	own    *x509.Certificate
	roots  []*x509.Certificate
	server *tls.Config
	client *tls.Config // for any node; see clientOf
}

func newMeshTLS(node string, files MeshTLSConfig, now func() time.Time) (*meshTLS, error) {
	m := &meshTLS{node: node, files: files, now: now}
	return m, m.load()
}

// load reads the files, or changes nothing. It refuses what peers would.
func (m *meshTLS) load() error {
	if m.files == (MeshTLSConfig{}) {
		return nil
	}
	data, err := os.ReadFile(m.files.CA)
	if err != nil {
		return fmt.Errorf("read mesh CA: %w", err)
	}
	roots, trusted := x509.NewCertPool(), certificatesIn(data)
	for _, ca := range trusted {
		roots.AddCert(ca)
	}
	if len(trusted) == 0 {
		return fmt.Errorf("read mesh CA %s: %w", m.files.CA, errors.New("no certificate in it"))
	}
	pair, err := tls.LoadX509KeyPair(m.files.Cert, m.files.Key)
	if err != nil {
		return fmt.Errorf("load mesh certificate %s with key %s: %w", m.files.Cert, m.files.Key, err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options := x509.VerifyOptions{DNSName: m.node, Roots: roots, Intermediates: intermediates(pair), KeyUsages: []x509.ExtKeyUsage{usage}}
		if _, err := pair.Leaf.Verify(options); err != nil {
			return fmt.Errorf("mesh certificate %s is not good for node %s: %w", m.files.Cert, m.node, err)
		}
	}
	certificates := []tls.Certificate{pair}
	m.loaded.Store(&meshCertificates{
		own: pair.Leaf, roots: trusted,
		server: &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, Time: m.now,
			Certificates: certificates, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
		},
		client: &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, Time: m.now,
			Certificates: certificates, RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(0),
		},
	})
	return nil
}

// certificatesIn reads all certificates of a PEM file, as x509.CertPool does.
func certificatesIn(text []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, cert)
		}
	}
}

func intermediates(pair tls.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			pool.AddCert(cert)
		}
	}
	return pool
}

// server returns the settings of the listener; nil for a plain one.
func (m *meshTLS) server() *tls.Config {
	if m.loaded.Load() == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return m.loaded.Load().server, nil },
	}
}

// client returns the settings of a link to the node of that name; nil for a
// plain one.
func (m *meshTLS) client(node string) *tls.Config {
	loaded := m.loaded.Load()
	if loaded == nil {
		return nil
	}
	config := loaded.client.Clone()
	config.ServerName = node
	return config
}
