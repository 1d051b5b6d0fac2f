package gossip

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// authority is a CA for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mesh"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	a.key, a.cert = a.sign(t, a.cert, a.cert)
	return a
}

func (a authority) sign(t *testing.T, template, by *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// trust is that of the node of that name, whose certificate ends so long from now.
func (a authority) trust(t *testing.T, name string, ends time.Duration) *StreamTLS {
	t.Helper()
	key, cert := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotAfter: time.Now().Add(ends),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	pair := []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	return &StreamTLS{
		Client: func(node string) *tls.Config {
			return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: pair, RootCAs: roots, ServerName: node}
		},
		Server: func() *tls.Config {
			return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: pair, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
		},
	}
}

// secureCall has a dialer say a word to a listener and hear it back, and returns
// how that went on both sides.
func secureCall(t *testing.T, dialer, listener *StreamTLS, name string) (dialed, accepted error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	heard := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			heard <- err
			return
		}
		defer c.Close()
		_, _ = c.Read(make([]byte, 1)) // as transport.route does
		s, err := acceptStream(c, keyring(t, "a"), listener)
		if err == nil {
			var msg []byte
			if msg, err = s.read(); err == nil {
				err = s.write(msg)
			}
		}
		heard <- err
	}()
	var secure *tls.Config
	if dialer != nil {
		secure = dialer.Client(name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := dialStream(ctx, Sockets{}, ln.Addr().String(), keyring(t, "a"), secure, &stats{})
	if err == nil {
		defer s.conn.Close()
		var got []byte
		if err = s.write([]byte("word")); err == nil {
			got, err = s.read()
		}
		if err == nil && (string(got) != "word" || dialer != nil && (!s.speaksFor(name) || s.speaksFor("eve"))) {
			t.Errorf("got %q; the peer speaks for %s: %v", got, name, s.speaksFor(name))
		}
	}
	return err, <-heard
}

func TestStreamsAreOpenedByTheCertificateOfTheNodeThatIsMeant(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	a, b := ours.trust(t, "a", time.Hour), ours.trust(t, "b", time.Hour)
	if dialed, accepted := secureCall(t, a, b, "b"); dialed != nil || accepted != nil {
		t.Fatalf("two good nodes: %v, %v", dialed, accepted)
	}
	for what, c := range map[string]struct {
		dialer, listener *StreamTLS
	}{
		"another node's certificate": {a, ours.trust(t, "c", time.Hour)},
		"listener of another CA":     {a, theirs.trust(t, "b", time.Hour)},
		"dialer of another CA":       {theirs.trust(t, "a", time.Hour), b},
		"listener expired":           {a, ours.trust(t, "b", -time.Minute)},
		"dialer expired":             {ours.trust(t, "a", -time.Minute), b},
	} {
		if dialed, accepted := secureCall(t, c.dialer, c.listener, "b"); dialed == nil || accepted == nil {
			t.Errorf("%s: %v, %v", what, dialed, accepted)
		}
	}
	for what, c := range map[string]struct {
		dialer, listener *StreamTLS
	}{"dialer without": {nil, b}, "listener without": {a, nil}} {
		if dialed, accepted := secureCall(t, c.dialer, c.listener, "b"); !errors.Is(dialed, ErrCertificate) || !errors.Is(accepted, ErrCertificate) {
			t.Errorf("%s: %v, %v, want ErrCertificate", what, dialed, accepted)
		}
	}
	b.Prefer = true
	if dialed, accepted := secureCall(t, nil, b, "b"); dialed != nil || accepted != nil {
		t.Errorf("dialer without, where certificates are preferred: %v, %v", dialed, accepted)
	}
}

// A certificate of the mesh's CA alone, of a node that never was in this mesh or is
// forgotten, reads nothing: it may say who it is, which is how a node begins to join.
func TestACallerIsAskedForTheCertificateOfAMember(t *testing.T) {
	ca := newAuthority(t)
	m, err := New(Config{Name: "a", Bind: "127.0.0.1:0", Profile: "local", TLS: ca.trust(t, "a", time.Hour)}, nil, zerolog.Nop())
	if err == nil {
		err = m.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-m.Started()
	ask := func(as, service string, request []byte) error {
		s, err := dialStream(t.Context(), Sockets{}, m.Addr(), nil, ca.trust(t, as, time.Hour).Client("a"), &stats{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.conn.Close()
		_, err = s.call(service, request)
		return err
	}
	for name, tt := range map[string]struct {
		as, service string
		request     []byte
		refusal     string // "" = answered
	}{
		"a newcomer says its name":      {"eve", "who", appendWho(who{name: "eve"}), ""},
		"a newcomer says another's":     {"eve", "who", appendWho(who{name: "a"}), "not for"},
		"a newcomer reads the state":    {"eve", "sync", encodeSync(syncMessage{state: "s"}), errNoMember.Error()},
		"a newcomer writes the state":   {"eve", "deliver", encodeSync(syncMessage{state: "s"}), errNoMember.Error()},
		"a member comes as far as this": {"a", "sync", encodeSync(syncMessage{state: "s"}), "unknown state"},
	} {
		err := ask(tt.as, tt.service, tt.request)
		if tt.refusal == "" && err != nil || tt.refusal != "" && (err == nil || !strings.Contains(err.Error(), tt.refusal)) {
			t.Errorf("%s: %v, want %q", name, err, tt.refusal)
		}
	}
	if got := m.Stats().Refused[Refusal{"stream", "request"}]; got != 4 {
		t.Errorf("%d refusals counted, want 4", got)
	}
}
