package dataplane_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/dataplane/edgetls"
	"github.com/meshgw/meshgw/routetable"
)

// writeCertificate writes a certificate for names that signs itself.
func writeCertificate(t *testing.T, file edgetls.File, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		file.Cert: {Type: "CERTIFICATE", Bytes: der}, file.Key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func certificateFile(t *testing.T, name string) edgetls.File {
	t.Helper()
	dir := t.TempDir()
	f := edgetls.File{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	writeCertificate(t, f, name)
	return f
}

func TestCertificatesFollowTheNameAndAreReplaced(t *testing.T) {
	a, b := certificateFile(t, "a.test"), certificateFile(t, "b.test")
	certs, err := edgetls.Load([]edgetls.File{a, b}, "")
	if err != nil {
		t.Fatal(err)
	}
	up := startRecorder(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := dataplane.New(dataplane.Config{}, zerolog.Nop(), prometheus.NewRegistry())
	table, _ := routetable.Compile(toUpstream(up.addr))
	s.Publish(table)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, dataplane.Listener{Name: "https", Listener: ln, TLS: certs.Config()}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	dial := func(name string) *tls.Conn {
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for name, want := range map[string]string{"a.test": "a.test", "b.test": "b.test", "c.test": "a.test"} {
		if got := dial(name).ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%s was shown %s", name, got)
		}
	}
	open := dial("b.test")
	before := open.ConnectionState().PeerCertificates[0].SerialNumber
	writeCertificate(t, b, "b.test")
	if err := certs.Reload(); err != nil {
		t.Fatal(err)
	}
	if after := dial("b.test").ConnectionState().PeerCertificates[0].SerialNumber; after.Cmp(before) == 0 {
		t.Error("the old certificate was shown after Reload")
	}
	if err := os.WriteFile(b.Cert, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if certs.Reload() == nil {
		t.Error("an empty certificate was taken")
	}
	c := &client{Conn: open, t: t, r: bufio.NewReader(open)}
	if resp, body, _ := c.send(get).answer("GET"); resp.StatusCode != 200 || body != "ok" {
		t.Errorf("open connection: got %d %q", resp.StatusCode, body)
	}
}

func TestUpstreamsSpeakTLS(t *testing.T) {
	file, client := certificateFile(t, "up.test"), certificateFile(t, "gateway.test")
	pair, err := tls.LoadX509KeyPair(file.Cert, file.Key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	})}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	for _, test := range []struct {
		tls    *routetable.UpstreamTLS
		status int
	}{
		{&routetable.UpstreamTLS{CA: file.Cert, ServerName: "up.test", Cert: client.Cert, Key: client.Key}, 200},
		{&routetable.UpstreamTLS{CA: file.Cert, ServerName: "other.test", Cert: client.Cert, Key: client.Key}, 502},
		{nil, 502},
		{&routetable.UpstreamTLS{CA: "missing.pem"}, 503},
		{&routetable.UpstreamTLS{CA: "/dev/zero"}, 503},
		{&routetable.UpstreamTLS{CA: file.Cert, Cert: "/dev/zero", Key: "/dev/zero"}, 503},
	} {
		spec := toUpstream()
		spec.Upstreams[0].Endpoints = []routetable.Endpoint{{URL: "https://" + ln.Addr().String()}}
		spec.Upstreams[0].TLS = test.tls
		g := startGateway(t, dataplane.Config{}, spec)
		c := g.dial(t)
		for range 2 {
			resp, body, _ := c.send(get).answer("GET")
			if resp.StatusCode != test.status || test.status == 200 && body != "gateway.test" {
				t.Errorf("%+v: got %d %q", test.tls, resp.StatusCode, body)
			}
		}
	}
}
