package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/meshgw/meshgw/node/config"
)

// meshFiles writes the CA of a mesh and a certificate for each node.
func meshFiles(t *testing.T, nodes ...string) map[string]config.MeshTLS {
	t.Helper()
	dir, files := t.TempDir(), map[string]config.MeshTLS{}
	save := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sign := func(template, by *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		template.SerialNumber, template.NotAfter = big.NewInt(1), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, caKey := sign(ca, ca, nil)
	caFile := save("ca.pem", "CERTIFICATE", caDER)
	for _, name := range nodes {
		usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		der, key := sign(&x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: usage}, ca, caKey)
		text, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = config.MeshTLS{CA: caFile, Cert: save(name+".pem", "CERTIFICATE", der), Key: save(name+".key", "EC PRIVATE KEY", text)}
	}
	return files
}

func TestStreamsOfGossipAskForTheNodeThatIsMeant(t *testing.T) {
	files := meshFiles(t, "a", "b")
	strangers := meshFiles(t, "b")
	load := func(name string, files config.MeshTLS) *meshTLS {
		m, err := newMeshTLS(name, files, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, b, stranger := load("a", files["a"]).streams(false), load("b", files["b"]), load("b", strangers["b"])
	for _, c := range []struct {
		what   string
		client *tls.Config
		server *tls.Config
		good   bool
	}{
		{"by name", a.Client("b"), b.streams(false).Server(), true},
		{"any node", a.Client(""), b.streams(false).Server(), true},
		{"another name", a.Client("c"), b.streams(false).Server(), false},
		{"a stranger by name", a.Client("b"), stranger.streams(false).Server(), false},
		{"a stranger for any", a.Client(""), stranger.streams(false).Server(), false},
		{"a stranger that calls", stranger.streams(false).Client(""), b.streams(false).Server(), false},
		{"the link for a stream", a.Client("b"), b.server(), false},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() {
			far, err := ln.Accept()
			if err == nil {
				err = tls.Server(far, c.server).HandshakeContext(t.Context())
				far.Close()
			}
			served <- err
		}()
		near, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		err = tls.Client(near, c.client).HandshakeContext(t.Context())
		near.Close()
		ln.Close()
		if there := <-served; (err == nil && there == nil) != c.good {
			t.Errorf("%s: %v, %v", c.what, err, there)
		}
	}
	if none := load("a", config.MeshTLS{}).streams(false); none != nil {
		t.Error("without certificates there are settings for them")
	}
}
