package e2e

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// tokens signs tokens of one key, and serves the key set.
type tokens struct{ key ed25519.PrivateKey }

func (s tokens) keySet() []byte {
	x := base64.RawURLEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
	return fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":%q}]}`, x)
}

func (s tokens) bearer(algorithm string, end time.Duration) string {
	encode := base64.RawURLEncoding.EncodeToString
	message := encode(fmt.Appendf(nil, `{"alg":%q,"kid":"1"}`, algorithm)) + "." +
		encode(fmt.Appendf(nil, `{"iss":"me","org":"claimant","exp":%d}`, time.Now().Add(end).Unix()))
	return "Bearer " + message + "." + encode(ed25519.Sign(s.key, []byte(message)))
}

// ca makes certificates.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) ca {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	return ca{cert, key}
}

func (c ca) leaf(t *testing.T, name string, end time.Duration) *tls.Certificate {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(end), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, &key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestStrangersStayOutside(t *testing.T) {
	w := newWorld(t)
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	ours, theirs := tokens{private}, tokens{stranger}
	hash, err := bcrypt.GenerateFromPassword([]byte("apple"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	keySet, users := w.save("keys.json", ours.keySet()), w.save("users", fmt.Appendf(nil, "ann:%s\n", hash))
	issuer := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(ours.keySet()) }))
	routes := w.save("routes.yaml", fmt.Appendf(nil, `
routes:
  - {name: key, match: [{path: /key}], auth: [{api_key: {}}], respond: {status: 200}}
  - {name: token, match: [{path: /token}], auth: [{jwt: {jwks: %q, issuer: me, algorithms: [EdDSA]}}], respond: {status: 200}}
  - {name: issuer, match: [{path: /issuer}], auth: [{jwt: {jwks: "http://%s/", algorithms: [EdDSA]}}], respond: {status: 200}}
  - {name: login, match: [{path: /login}], auth: [{basic: {file: %q}}], respond: {status: 200}}
  - {name: cert, match: [{path: /cert}], auth: [{mtls: {}}], respond: {status: 200}}
  - {name: open, match: [{path: /open}], respond: {status: 200}}
tenants:
  - {name: keeper, identify: {api_key_sha256: [%x]}}
  - {name: claimant, identify: {jwt_claim: {name: org, value: claimant}}}
  - {name: shower, identify: {mtls_san: client.test}}
  - {name: named, identify: {header: x-tenant, value: named}}
`, keySet, issuer.Listener.Addr(), users, sha256.Sum256([]byte("the-key"))))
	clients, others := newCA(t), newCA(t)
	server := clients.leaf(t, "gw.test", time.Hour)
	secret, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	a := w.start("a", "--routes", routes, "--https", "127.0.0.1:0",
		"--tls-cert", w.save("gw.crt", certPEM(server.Certificate[0])),
		"--tls-key", w.save("gw.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
		"--tls-client-ca", w.save("clients.pem", certPEM(clients.cert.Raw)))

	roots := x509.NewCertPool()
	roots.AddCert(clients.cert)
	// ask returns the status, 0 where there is no connection to be had.
	ask := func(path, header, value string, show *tls.Certificate) int {
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
		if show != nil {
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return show, nil }
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+a.listen.HTTPS+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			request.Header.Set(header, value)
		}
		answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
		if err != nil {
			return 0
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	basic := func(login string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(login)) }
	for _, c := range []struct {
		what, path, header, value string
		show                      *tls.Certificate
		status                    int
		tenant                    string
	}{
		{"no key", "/key", "", "", nil, 401, ""},
		{"a wrong key", "/key", "X-Api-Key", "the-kez", nil, 401, ""},
		{"the key", "/key", "X-Api-Key", "the-key", nil, 200, "keeper"},
		{"no token", "/token", "", "", nil, 401, ""},
		{"a token", "/token", "Authorization", ours.bearer("EdDSA", time.Hour), nil, 200, "claimant"},
		{"an expired token", "/token", "Authorization", ours.bearer("EdDSA", -2*time.Minute), nil, 401, ""},
		{"a stranger's token", "/token", "Authorization", theirs.bearer("EdDSA", time.Hour), nil, 401, ""},
		{"a token by the name of none", "/token", "Authorization", ours.bearer("none", time.Hour), nil, 401, ""},
		{"a token by the name of HMAC", "/token", "Authorization", ours.bearer("HS256", time.Hour), nil, 401, ""},
		{"a token whose keys are not to be had", "/issuer", "Authorization", ours.bearer("EdDSA", time.Hour), nil, 503, ""},
		{"a login", "/login", "Authorization", basic("ann:apple"), nil, 200, ""},
		{"a wrong login", "/login", "Authorization", basic("ann:pear"), nil, 401, ""},
		{"no certificate", "/cert", "", "", nil, 401, ""},
		{"a certificate", "/cert", "", "", clients.leaf(t, "client.test", time.Hour), 200, "shower"},
		{"another CA's certificate", "/cert", "", "", others.leaf(t, "client.test", time.Hour), 0, ""},
		{"an expired certificate", "/cert", "", "", clients.leaf(t, "client.test", -time.Minute), 0, ""},
		{"a forged tenant", "/open", "X-Tenant", "named", nil, 200, ""},
		{"a forged tenant of the mesh's own", "/open", "X-Meshgw-Tenant", "named", nil, 200, ""},
	} {
		before := len(a.log.String())
		if got := ask(c.path, c.header, c.value, c.show); got != c.status {
			t.Errorf("%s: got %d, want %d", c.what, got, c.status)
		}
		if c.status == 0 {
			continue
		}
		eventually(t, 5*time.Second, c.what+" is logged", func() error {
			line := a.log.String()[before:]
			if !strings.Contains(line, `"path":"`+c.path+`"`) {
				return fmt.Errorf("not logged yet: %s", line)
			}
			if !strings.Contains(line, `"tenant":"`+c.tenant+`"`) {
				t.Errorf("%s: want tenant %q, got %s", c.what, c.tenant, line)
			}
			return nil
		})
	}
	s, err := a.status()
	if err != nil || len(s.Routes.Pending) != 1 || s.Routes.Pending[0].Name != "issuer" {
		t.Errorf("pending: %+v, %v; want the route whose keys are not to be had", s.Routes.Pending, err)
	}
	issuer.Start()
	defer issuer.Close()
	eventually(t, 90*time.Second, "the issuer's keys are had", func() error {
		if got := ask("/issuer", "Authorization", ours.bearer("EdDSA", time.Hour), nil); got != 200 {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
	for _, secret := range []string{"the-key", "apple", string(hash), ours.bearer("EdDSA", time.Hour)[7:60]} {
		if strings.Contains(a.log.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}
