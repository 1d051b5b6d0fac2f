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

	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/node/config"
)

// meshTLS secures the links between gateways and the streams of gossip: both ends
// show a certificate of the mesh's own CA, and a node's is bound to its name. It is
// read again on demand: links that are open stay as they are. A CA file may hold
// several, so that an old and a new one are valid at once.
type meshTLS struct {
	node   string
	files  config.MeshTLS
	now    func() time.Time // wall clock
	loaded atomic.Pointer[meshCertificates]
}

type meshCertificates struct {
	own    *x509.Certificate
	roots  []*x509.Certificate
	server *tls.Config
	client *tls.Config // for any node; see meshTLS.client

	streamServer, streamClient *tls.Config
}

// streamProtocol keeps a stream of gossip from being taken for a link.
const streamProtocol = "meshgw-stream"

func newMeshTLS(node string, files config.MeshTLS, now func() time.Time) (*meshTLS, error) {
	m := &meshTLS{node: node, files: files, now: now}
	return m, m.load()
}

// load reads the files, or changes nothing. It refuses what peers would.
func (m *meshTLS) load() error {
	if m.files == (config.MeshTLS{}) {
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
	m.loaded.Store(&meshCertificates{
		own: pair.Leaf, roots: trusted,
		server: m.serverOf(pair, roots, "h2", "http/1.1"), streamServer: m.serverOf(pair, roots, streamProtocol),
		client: m.clientOf(pair, roots, "http/1.1"), streamClient: m.clientOf(pair, roots, streamProtocol),
	})
	return nil
}

func (m *meshTLS) serverOf(pair tls.Certificate, roots *x509.CertPool, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols, Time: m.now,
		Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func (m *meshTLS) clientOf(pair tls.Certificate, roots *x509.CertPool, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols, Time: m.now,
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
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

// streams returns how the streams of gossip are secured; nil where only the
// keyring does.
func (m *meshTLS) streams(prefer bool) *gossip.StreamTLS {
	if m.loaded.Load() == nil {
		return nil
	}
	return &gossip.StreamTLS{
		Client: m.streamClient, Prefer: prefer,
		Server: func() *tls.Config { return m.loaded.Load().streamServer },
	}
}

// streamClient is for a call to the node of that name or, where it is empty, to
// any node that the mesh has a certificate for.
func (m *meshTLS) streamClient(node string) *tls.Config {
	config := m.loaded.Load().streamClient.Clone()
	if config.ServerName = node; node != "" {
		return config
	}
	config.ClientSessionCache = nil  // which is by name
	config.InsecureSkipVerify = true // of the name: the rest is verified here
	config.VerifyConnection = func(s tls.ConnectionState) error {
		options := x509.VerifyOptions{
			Roots: config.RootCAs, Intermediates: x509.NewCertPool(), CurrentTime: m.now(),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		for _, c := range s.PeerCertificates[1:] {
			options.Intermediates.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(options)
		return err
	}
	return config
}
