//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// tls measures what a core can do where clients speak TLS: over connections that
// stay, and with a handshake, in full, for every request.
func (b *bench) tls() error {
	pair, err := b.certificate()
	if err != nil {
		return err
	}
	var all []*peer
	for _, p := range b.peers {
		all = append(all, p.variant(p.name, func(s *setup) { s.routes(200); s.Certificate = pair }))
	}
	return b.loadAll(all, false, []way{{body: "1k", conns: 64, tls: true}, {body: "1k", conns: 64, tls: true, once: true}}, b.reference())
}

// certificate makes a file with a key (ECDSA, P-256) and its certificate.
func (b *bench) certificate() (path string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: now, NotAfter: now.Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	path = filepath.Join(b.dir, "pair.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return path, errors.Join(err, os.WriteFile(path, text, 0o600))
}
