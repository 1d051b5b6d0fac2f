package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/bcrypt"

	"github.com/meshgw/meshgw/auth"
	"github.com/meshgw/meshgw/dataplane/edgetls"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/routetable"
)

// signer is an issuer with one key.
type signer struct {
	kid string
	key ed25519.PrivateKey
}

func newSigner(kid string) *signer {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	return &signer{kid: kid, key: key}
}

func (s *signer) keySet() []byte {
	x := base64.RawURLEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
	return fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}]}`, s.kid, x)
}

func (s *signer) token() []byte {
	encode := base64.RawURLEncoding.EncodeToString
	message := encode(fmt.Appendf(nil, `{"alg":"EdDSA","kid":%q}`, s.kid)) + "." + encode([]byte(`{"exp":99999999999}`))
	return []byte(message + "." + encode(ed25519.Sign(s.key, []byte(message))))
}

func verifies(k *auth.Keys, s *signer) error {
	algorithms, _ := auth.ParseAlgorithms([]string{"EdDSA"})
	_, err := k.Verify(time.Now(), s.token(), &auth.Policy{Algorithms: algorithms})
	return err
}

func testCredentials(t *testing.T, path string) *credentials {
	t.Helper()
	dir, err := datadir.Open(path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	return newCredentials(dir, func(netip.AddrPort) bool { return false }, zerolog.Nop())
}

func ruleWith(t *testing.T, a ...routetable.Auth) (*routetable.Table, *routetable.Rule) {
	t.Helper()
	table, problems := routetable.Compile(&routetable.Spec{Routes: []routetable.Route{{Name: "r", Respond: &routetable.Respond{Status: 200}, Auth: a}}})
	if err := problems.Errors(); len(err) > 0 {
		t.Fatal(err)
	}
	return table, table.Rules()[0]
}

func jwtFrom(source string) routetable.Auth {
	return routetable.Auth{JWT: &routetable.JWT{JWKS: source, Algorithms: []string{"EdDSA"}}}
}

func TestAnIssuerThatIsDownStopsNobodyKnown(t *testing.T) {
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const address = "https://issuer.test/keys?key=s3cret"
		old, next := newSigner("1"), newSigner("2")
		var answer atomic.Pointer[signer] // nil = down
		var fetches atomic.Int32
		c := testCredentials(t, path)
		c.fetch = func(context.Context, string) ([]byte, error) {
			fetches.Add(1)
			if s := answer.Load(); s != nil {
				return s.keySet(), nil
			}
			return nil, errors.New("down")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.run(ctx) }()
		defer func() { cancel(); <-done }()

		keys := c.Keys(address)
		_, rule := ruleWith(t, jwtFrom(address))
		time.Sleep(time.Minute)
		if err := verifies(keys, old); !errors.Is(err, auth.ErrNoKeys) {
			t.Fatalf("before anything was had: %v", err)
		}
		if why := c.lacks(rule); len(why) != 1 || !strings.Contains(why[0], "issuer.test/keys?...: ") || !strings.Contains(why[0], "down") {
			t.Fatalf("lacks %q", why)
		}
		if n := fetches.Load(); n < 4 || n > 10 {
			t.Errorf("%d fetches in the first minute", n)
		}

		answer.Store(old)
		time.Sleep(2 * retryKeysMax)
		if err := verifies(keys, old); err != nil || len(c.lacks(rule)) != 0 {
			t.Fatalf("%v, lacks %q", err, c.lacks(rule))
		}

		before := fetches.Load()
		time.Sleep(time.Hour)
		if n := fetches.Load() - before; n < 5 || n > 6 {
			t.Errorf("%d fetches in an hour, want one each 10 minutes or a little more", n)
		}
		answer.Store(nil)
		time.Sleep(24 * time.Hour)
		if err := verifies(keys, old); err != nil {
			t.Errorf("a day without the issuer: %v", err)
		}

		answer.Store(next)
		time.Sleep(2 * retryKeysMax)
		if err := verifies(keys, next); err != nil {
			t.Errorf("after it came back: %v", err)
		}
		if err := verifies(keys, old); !errors.Is(err, auth.ErrUnknownKey) {
			t.Errorf("withdrawn key: %v", err)
		}
	})
}

func TestATokenOfANewKeyBringsIt(t *testing.T) {
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		old, next := newSigner("1"), newSigner("2")
		var answer atomic.Pointer[signer]
		var fetches atomic.Int32
		answer.Store(old)
		c := testCredentials(t, path)
		c.fetch = func(context.Context, string) ([]byte, error) { fetches.Add(1); return answer.Load().keySet(), nil }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.run(ctx) }()
		defer func() { cancel(); <-done }()
		keys := c.Keys("https://issuer.test/keys")
		time.Sleep(time.Minute)
		answer.Store(next)
		if err := verifies(keys, next); !errors.Is(err, auth.ErrUnknownKey) {
			t.Fatal(err)
		}
		time.Sleep(lookAtFiles + time.Second)
		if err := verifies(keys, next); err != nil {
			t.Errorf("the new key did not come: %v", err)
		}
		before := fetches.Load()
		for range 60 {
			_ = verifies(keys, old) // unknown now
			time.Sleep(time.Second)
		}
		if n := fetches.Load() - before; n > 2 {
			t.Errorf("tokens of unknown keys made %d fetches in a minute", n)
		}
	})
}

func TestKeysOutliveARestart(t *testing.T) {
	path, s := t.TempDir(), newSigner("1")
	const address = "https://issuer.test/keys"
	dir, err := datadir.Open(path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	c := newCredentials(dir, func(netip.AddrPort) bool { return false }, zerolog.Nop())
	c.fetch = func(context.Context, string) ([]byte, error) { return s.keySet(), nil }
	c.Keys(address)
	c.refresh(t.Context(), c.all()[0])
	dir.Close()
	again := testCredentials(t, path)
	again.fetch = func(context.Context, string) ([]byte, error) { return nil, errors.New("down") }
	if err := verifies(again.Keys(address), s); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := verifies(again.Keys(address+"2"), s); !errors.Is(err, auth.ErrNoKeys) {
		t.Errorf("another issuer's keys: %v", err)
	}
	none, _ := ruleWith(t)
	again.keep(none)
	if err := verifies(again.Keys(address), s); !errors.Is(err, auth.ErrNoKeys) {
		t.Errorf("keys that a route gave up came back: %v", err)
	}
}

func TestADiskThatHangsOverKeysHoldsUpNobody(t *testing.T) {
	path, s := t.TempDir(), newSigner("1")
	c := testCredentials(t, path)
	c.fetch = func(context.Context, string) ([]byte, error) { return s.keySet(), nil }
	slow := &credential{place: "https://issuer.test/keys"}
	pipe := filepath.Join(path, slow.copyName()+".new")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.run(ctx) }()
	keys := c.Keys(slow.place)
	for verifies(keys, s) != nil {
		time.Sleep(time.Millisecond)
	}
	free := make(chan struct{})
	go func() {
		defer close(free)
		c.Keys("https://other.test/keys")
		none, rule := ruleWith(t, jwtFrom(slow.place))
		c.lacks(rule)
		c.keep(none)
	}()
	select {
	case <-free:
	case <-time.After(10 * time.Second):
		t.Error("other keys wait for the disk")
	}
	cancel()
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0) // the disk answers
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	<-free
	_ = reader.Close()
}

func TestFilesAreReadBeforeAnybodyIsJudgedAndWhenTheyChange(t *testing.T) {
	dir := t.TempDir()
	c := testCredentials(t, filepath.Join(dir, "data"))
	file := filepath.Join(dir, "users")
	save := func(password string) {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+".new", fmt.Appendf(nil, "ann:%s\n", hash), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	login := func(password string) auth.Login { return auth.Login{Name: []byte("ann"), Password: []byte(password)} }
	absent := routetable.Auth{Basic: &routetable.Basic{File: file}}
	_, rule := ruleWith(t, absent)
	users := c.Users(file)
	if why := c.lacks(rule); users.Ready() || len(why) != 1 || !strings.Contains(why[0], "no such file") {
		t.Fatalf("without a file: lacks %q", why)
	}
	save("apple")
	c.lookAt(c.all()[0])
	if !users.Check(login("apple")) || len(c.lacks(rule)) != 0 {
		t.Fatalf("lacks %q", c.lacks(rule))
	}
	save("pear")
	c.lookAt(c.all()[0])
	if users.Check(login("apple")) || !users.Check(login("pear")) {
		t.Error("the file of before holds")
	}
	if err := os.WriteFile(file, []byte("ann:clear text"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.lookAt(c.all()[0])
	if !users.Check(login("pear")) {
		t.Error("a damaged file took away what held")
	}
	if err := c.all()[0].trouble(); err == nil || strings.Contains(err.Error(), "clear text") {
		t.Errorf("trouble: %v", err)
	}
	empty, _ := ruleWith(t)
	if c.keep(empty); len(c.all()) != 0 {
		t.Error("what no route names is kept")
	}
	set := filepath.Join(dir, "keys.json")
	s := newSigner("1")
	if err := os.WriteFile(set, s.keySet(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verifies(c.Keys(set), s); err != nil {
		t.Errorf("a key file is read at once: %v", err)
	}
}

func TestAPipeIsNoFileOfCredentials(t *testing.T) {
	dir := t.TempDir()
	c, pipe := testCredentials(t, filepath.Join(dir, "data")), filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, a := range []routetable.Auth{{Basic: &routetable.Basic{File: pipe}}, jwtFrom(pipe)} {
		_, rule := ruleWith(t, a)
		if a.JWT != nil {
			c.Keys(pipe)
		} else {
			c.Users(pipe) // which waited for a writer, and with it the table
		}
		if why := c.lacks(rule); len(why) != 1 || !strings.Contains(why[0], "not a regular file") {
			t.Errorf("%+v: lacks %q", a, why)
		}
	}
}

func TestKeysAreFetchedFromWhereRoutesMayReach(t *testing.T) {
	s := newSigner("1")
	var answer atomic.Pointer[http.HandlerFunc]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) }))
	defer server.Close()
	control := atomic.Bool{}
	fetch := newFetcher(func(netip.AddrPort) bool { return control.Load() })
	for _, c := range []struct {
		name    string
		answer  http.HandlerFunc
		control bool
		want    string
	}{
		{"keys", func(w http.ResponseWriter, _ *http.Request) { w.Write(s.keySet()) }, false, ""},
		{"status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, false, "status 404"},
		{"control port", func(w http.ResponseWriter, _ *http.Request) { w.Write(s.keySet()) }, true, "no route may reach"},
		{"metadata behind a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		}, false, "no route may reach"},
		{"circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, false, "redirected"},
	} {
		answer.Store(&c.answer)
		control.Store(c.control)
		data, err := fetch(t.Context(), server.URL)
		switch {
		case c.want == "" && (err != nil || string(data) != string(s.keySet())):
			t.Errorf("%s: %q, %v", c.name, data, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	var huge http.HandlerFunc = func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2*auth.MaxKeySet)) }
	answer.Store(&huge)
	control.Store(false)
	if data, err := fetch(t.Context(), server.URL); err != nil || len(data) != auth.MaxKeySet+1 {
		t.Errorf("got %d bytes, %v, want one more than a key set may have", len(data), err)
	}
}

// authority is a CA of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

func (a *authority) save(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a leaf for name that ends at end.
func (a *authority) issue(t *testing.T, name string, end time.Time, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// savePair saves a leaf and its key, as PEM.
func savePair(t *testing.T, pair tls.Certificate, path string) config.Certificate {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c := config.Certificate{Cert: path + ".crt", Key: path + ".key"}
	for name, block := range map[string]*pem.Block{c.Cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, c.Key: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// connected returns the two ends of a connection.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if b, err = net.Dial("tcp", ln.Addr().String()); err == nil {
		a, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestClientsAreVerifiedByTheCAThatHolds(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := newAuthority(t), newAuthority(t)
	ca, later := filepath.Join(dir, "ca.pem"), time.Now().Add(time.Hour)
	ours.save(t, ca)
	server := savePair(t, ours.issue(t, "gw.test", later, x509.ExtKeyUsageServerAuth), filepath.Join(dir, "gw"))
	certs, err := edgetls.Load([]edgetls.File{edgetls.File(server)}, ca)
	if err != nil {
		t.Fatal(err)
	}
	client := ours.issue(t, "client.test", later, x509.ExtKeyUsageClientAuth)
	sessions, config := tls.NewLRUClientSessionCache(4), certs.Config()
	// handshake returns how many certificates the server verified, and whether
	// it resumed a session.
	handshake := func(show []tls.Certificate, cache tls.ClientSessionCache) (verified int, resumed bool, err error) {
		a, b := connected(t)
		defer a.Close()
		defer b.Close()
		roots := x509.NewCertPool()
		roots.AddCert(ours.cert)
		gateway := tls.Server(a, config)
		done := make(chan error, 1)
		go func() {
			err := gateway.Handshake()
			if err == nil {
				_, err = gateway.Write([]byte("x")) // behind the tickets
			}
			a.Close()
			done <- err
		}()
		c := tls.Client(b, &tls.Config{
			ServerName: "gw.test", RootCAs: roots, ClientSessionCache: cache,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(show) == 0 {
					return new(tls.Certificate), nil
				}
				return &show[0], nil // whatever the server asks for
			},
		})
		_, _ = c.Read(make([]byte, 1))
		if err := <-done; err != nil {
			return 0, false, err
		}
		state := gateway.ConnectionState()
		return len(state.VerifiedChains), state.DidResume, nil
	}
	for _, c := range []struct {
		name     string
		show     []tls.Certificate
		verified int
		refused  bool
	}{
		{"none", nil, 0, false},
		{"ours", []tls.Certificate{client}, 1, false},
		{"another CA's", []tls.Certificate{theirs.issue(t, "client.test", later, x509.ExtKeyUsageClientAuth)}, 0, true},
		{"expired", []tls.Certificate{ours.issue(t, "client.test", time.Now().Add(-time.Minute), x509.ExtKeyUsageClientAuth)}, 0, true},
		{"a server's", []tls.Certificate{ours.issue(t, "client.test", later, x509.ExtKeyUsageServerAuth)}, 0, true},
	} {
		verified, _, err := handshake(c.show, nil)
		if verified != c.verified || (err != nil) != c.refused {
			t.Errorf("%s: verified %d, %v", c.name, verified, err)
		}
	}
	for i := range 2 {
		if verified, resumed, err := handshake([]tls.Certificate{client}, sessions); err != nil || verified != 1 || resumed != (i == 1) {
			t.Fatalf("connection %d: verified %d, resumed %v, %v", i, verified, resumed, err)
		}
	}
	theirs.save(t, ca)
	if err := certs.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, resumed, err := handshake([]tls.Certificate{client}, sessions); err == nil {
		t.Errorf("a client of the CA of before was let in (resumed: %v)", resumed)
	}
	if err := os.WriteFile(ca, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := certs.Reload(); err == nil {
		t.Error("a CA file without a certificate was taken")
	}
}
