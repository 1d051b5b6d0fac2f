package dataplane_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/meshgw/meshgw/auth"
	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// credentials are an issuer and a password file that a gateway has read.
type credentials struct {
	signer ed25519.PrivateKey
	keys   auth.Keys
	users  auth.Users
}

func (c *credentials) Keys(source string) *auth.Keys {
	if source == "absent" {
		return new(auth.Keys)
	}
	return &c.keys
}

func (c *credentials) Users(file string) *auth.Users {
	if file == "absent" {
		return new(auth.Users)
	}
	return &c.users
}

func newCredentials(tb testing.TB) *credentials {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	c := &credentials{signer: private}
	set, err := auth.ParseKeySet(fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public)))
	if err != nil {
		tb.Fatal(err)
	}
	c.keys.Set(set)
	hash, err := bcrypt.GenerateFromPassword([]byte("apple"), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	passwords, err := auth.ParsePasswords(fmt.Appendf(nil, "ann:%s\n", hash))
	if err != nil {
		tb.Fatal(err)
	}
	c.users.Set(passwords, [32]byte{1})
	return c
}

// token signs claims, with an end in an hour where they have none.
func (c *credentials) token(claims map[string]any) string {
	all := map[string]any{"exp": time.Now().Add(time.Hour).Unix(), "iss": "me"}
	maps.Copy(all, claims)
	body, _ := json.Marshal(all)
	message := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	return message + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(c.signer, []byte(message)))
}

func basic(login string) string {
	return "authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(login)) + "\r\n"
}

func sum(key string) string {
	s := sha256.Sum256([]byte(key))
	return hex.EncodeToString(s[:])
}

// behind is a spec with one route to addr, for whom ways admit, and two tenants.
func behind(addr string, ways ...routetable.Auth) *routetable.Spec {
	spec := toUpstream(addr)
	spec.Routes[0].Auth = ways
	spec.Tenants = []routetable.Tenant{
		{Name: "acme", Identify: &routetable.Identify{APIKeySHA256: []string{sum("acme-key")}}},
		{Name: "claimant", Identify: &routetable.Identify{JWTClaim: &routetable.NameValue{Name: "org", Value: "c"}}},
	}
	return spec
}

func jwt(source string) routetable.Auth {
	return routetable.Auth{JWT: &routetable.JWT{JWKS: source, Issuer: "me", Algorithms: []string{"EdDSA"}}}
}

// ask sends one GET with fields and returns the answer.
func (g *gateway) ask(tb testing.TB, fields string) (Answer, string) {
	tb.Helper()
	a, body, err := g.dial(tb).send("GET /v1/x?q=1 HTTP/1.1\r\nHost: a.test\r\n" + fields + "\r\n").answer("GET")
	if err != nil {
		tb.Fatal(err)
	}
	return a, body
}

func TestARouteAdmitsByItsWays(t *testing.T) {
	creds := newCredentials(t)
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{Credentials: creds}, toUpstream(up.addr))
	key := routetable.Auth{APIKey: &routetable.APIKey{}}
	login := routetable.Auth{Basic: &routetable.Basic{File: "users"}}
	mtls := routetable.Auth{MTLS: &struct{}{}}
	bearer := func(claims map[string]any) string { return "Authorization: Bearer " + creds.token(claims) + "\r\n" }
	for _, c := range []struct {
		name   string
		ways   []routetable.Auth
		fields string
		status int
		header string // of the answer, as name: value
	}{
		{"no key", []routetable.Auth{key}, "", 401, `Www-Authenticate: ApiKey realm="meshgw", header="x-api-key"`},
		{"unknown key", []routetable.Auth{key}, "x-api-key: acme-kez\r\n", 401, "X-Meshgw-Error: unauthenticated"},
		{"hash instead of key", []routetable.Auth{key}, "x-api-key: " + sum("acme-key") + "\r\n", 401, ""},
		{"two keys", []routetable.Auth{key}, "x-api-key: acme-key\r\nx-api-key: acme-key\r\n", 401, ""},
		{"key in another field", []routetable.Auth{key}, "authorization: acme-key\r\n", 401, ""},
		{"key", []routetable.Auth{key}, "X-Api-Key: acme-key\r\n", 200, ""},
		{"key in a field of choice", []routetable.Auth{{APIKey: &routetable.APIKey{Header: "X-Key"}}}, "x-key: acme-key\r\n", 200, ""},
		{"no token", []routetable.Auth{jwt("keys")}, "", 401, `Www-Authenticate: Bearer realm="meshgw"`},
		{"token", []routetable.Auth{jwt("keys")}, bearer(nil), 200, ""},
		{"token of a tenant", []routetable.Auth{jwt("keys")}, bearer(map[string]any{"org": []string{"a", "c"}}), 200, ""},
		{"expired token", []routetable.Auth{jwt("keys")}, bearer(map[string]any{"exp": time.Now().Unix() - 61}), 401, `Www-Authenticate: Bearer realm="meshgw", error="invalid_token"`},
		{"token of another issuer", []routetable.Auth{jwt("keys")}, bearer(map[string]any{"iss": "you"}), 401, ""},
		{"token without keys", []routetable.Auth{jwt("absent")}, bearer(nil), 503, "Retry-After: 1"},
		{"two tokens", []routetable.Auth{jwt("keys")}, bearer(nil) + bearer(nil), 401, ""},
		{"no login", []routetable.Auth{login}, "", 401, `Www-Authenticate: Basic realm="meshgw", charset="UTF-8"`},
		{"login", []routetable.Auth{login}, basic("ann:apple"), 200, ""},
		{"login again", []routetable.Auth{login}, basic("ann:apple"), 200, ""},
		{"wrong password", []routetable.Auth{login}, basic("ann:apples"), 401, ""},
		{"wrong password again", []routetable.Auth{login}, basic("ann:apples"), 401, ""},
		{"nobody", []routetable.Auth{login}, basic("eve:apple"), 401, ""},
		{"login without a file", []routetable.Auth{{Basic: &routetable.Basic{File: "absent"}}}, basic("ann:apple"), 503, "X-Meshgw-Error: unauthenticated"},
		{"no certificate", []routetable.Auth{mtls}, "", 401, `Www-Authenticate: ClientCertificate realm="meshgw"`},
		{"second of two", []routetable.Auth{jwt("keys"), login}, basic("ann:apple"), 200, ""},
		{"first fails, second holds", []routetable.Auth{key, login}, "x-api-key: no\r\n" + basic("ann:apple"), 200, ""},
		{"what was shown decides the answer", []routetable.Auth{login, key}, "x-api-key: no\r\n", 401, ""},
		{"who cannot be judged is told so", []routetable.Auth{key, jwt("absent")}, "x-api-key: no\r\n" + bearer(nil), 503, ""},
	} {
		g.publish(t, behind(up.addr, c.ways...))
		before := len(up.seen())
		a, body := g.ask(t, c.fields)
		if a.StatusCode != c.status {
			t.Errorf("%s: got %d %s, want %d", c.name, a.StatusCode, body, c.status)
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok && a.Header.Get(name) != value {
			t.Errorf("%s: %s is %q, want %q", c.name, name, a.Header.Get(name), value)
		}
		if reached := len(up.seen()) > before; reached != (c.status == 200) {
			t.Errorf("%s: reached the upstream: %v", c.name, reached)
		}
	}
	for _, secret := range []string{"acme-key", "apple", creds.token(nil)[:30]} {
		if strings.Contains(g.log.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}

func TestARouteIsForItsTenantsAlone(t *testing.T) {
	up := startRecorder(t, nil)
	spec := toUpstream(up.addr)
	spec.Routes[0].Auth = []routetable.Auth{{APIKey: &routetable.APIKey{Header: "x-api-key"}}}
	spec.Routes[0].Tenants = []string{"initrode", "acme"}
	spec.Routes[0].CORS = &routetable.CORS{Origins: []string{"*"}}
	for _, name := range []string{"acme", "initech", "initrode"} {
		hash := sha256.Sum256([]byte("key of " + name))
		spec.Tenants = append(spec.Tenants, routetable.Tenant{Name: name, Identify: &routetable.Identify{APIKeySHA256: []string{hex.EncodeToString(hash[:])}}})
	}
	g := startGateway(t, dataplane.Config{Credentials: newCredentials(t)}, spec)
	for fields, want := range map[string]string{
		"GET / HTTP/1.1\r\nhost: a\r\nx-api-key: key of acme\r\n\r\n":                                              "200 ",
		"GET / HTTP/1.1\r\nhost: a\r\nx-api-key: key of initech\r\n\r\n":                                           "403 denied",
		"GET / HTTP/1.1\r\nhost: a\r\nx-api-key: key of nobody\r\n\r\n":                                            "401 unauthenticated",
		"OPTIONS / HTTP/1.1\r\nhost: a\r\norigin: https://b.example\r\naccess-control-request-method: GET\r\n\r\n": "204 ",
	} {
		method, _, _ := strings.Cut(fields, " ")
		a, _, err := g.dial(t).send(fields).answer(method)
		if got := fmt.Sprintf("%d %s", a.StatusCode, a.Header.Get("x-meshgw-error")); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", fields, got, err, want)
		}
	}
}

func TestARouteWithoutCredentialsToJudgeByIsClosed(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, behind(up.addr, jwt("keys"), routetable.Auth{Basic: &routetable.Basic{File: "users"}}))
	for _, fields := range []string{"", basic("ann:apple"), "authorization: Bearer a.b.c\r\n"} {
		if a, _ := g.ask(t, fields); a.StatusCode != 401 && a.StatusCode != 503 {
			t.Errorf("%q: got %d", fields, a.StatusCode)
		}
	}
	if n := len(up.seen()); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

func TestPreflightsNeedNoCredentials(t *testing.T) {
	up := startRecorder(t, nil)
	spec := behind(up.addr, routetable.Auth{APIKey: &routetable.APIKey{}})
	spec.Routes[0].CORS = &routetable.CORS{Origins: []string{"https://app.test"}}
	g := startGateway(t, dataplane.Config{}, spec)
	a, _, err := g.dial(t).send("OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n\r\n").answer("OPTIONS")
	if err != nil || a.StatusCode != 204 {
		t.Errorf("preflight: %d, %v", a.StatusCode, err)
	}
	a, _ = g.ask(t, "Origin: https://app.test\r\n")
	if a.StatusCode != 401 || a.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("request: %d %v: the page must be able to read why", a.StatusCode, a.Header)
	}
}

func forward(addr string) routetable.Auth {
	return routetable.Auth{Forward: &routetable.ForwardAuth{URL: "http://" + addr + "/check?a=1", CopyHeaders: []string{"X-Auth-User"}}}
}

func TestAServiceIsAskedAndItsAnswerHolds(t *testing.T) {
	up := startRecorder(t, nil)
	said := make(chan string, 1)
	service := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		return always(<-said)(head, c, r)
	})
	g := startGateway(t, dataplane.Config{}, behind(up.addr, forward(service.addr)))
	for _, c := range []struct {
		name, said string
		status     int
		header     string
	}{
		{"yes", "HTTP/1.1 200 OK\r\nX-Auth-User: ann\r\nX-Other: x\r\nContent-Length: 2\r\n\r\nok", 200, ""},
		{"yes without a word", "HTTP/1.1 204 No Content\r\n\r\n", 200, ""},
		{"no", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403, "X-Meshgw-Error: denied"},
		{"not known", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Custom\r\nContent-Length: 0\r\n\r\n", 401, "Www-Authenticate: Custom"},
		{"log in", "HTTP/1.1 302 Found\r\nLocation: https://login.test/\r\nX-Secret: s\r\nContent-Length: 0\r\n\r\n", 302, "Location: https://login.test/"},
		{"other no", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 403, ""},
		{"broken", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 503, "X-Meshgw-Error: unauthenticated"},
		{"nonsense", "HELLO\r\n\r\n", 503, ""},
		{"endless body", "HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nstart", 200, ""},
	} {
		said <- c.said
		before := len(up.seen())
		a, body := g.ask(t, "X-Auth-User: root\r\nx-forwarded-uri: /public\r\nX-Original-Url: /public\r\nIf-None-Match: \"x\"\r\ncookie: session=1\r\n")
		if a.StatusCode != c.status {
			t.Errorf("%s: got %d %s, want %d", c.name, a.StatusCode, body, c.status)
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok && a.Header.Get(name) != value {
			t.Errorf("%s: %s is %q, want %q", c.name, name, a.Header.Get(name), value)
		}
		if a.Header.Get("X-Secret") != "" {
			t.Errorf("%s: more than what is needed to log in went to the client", c.name)
		}
		heads := up.seen()[before:]
		if (len(heads) == 1) != (c.status == 200) {
			t.Fatalf("%s: the upstream got %d requests", c.name, len(heads))
		}
		if len(heads) == 1 && (strings.Contains(heads[0], "root") || strings.Contains(heads[0], "X-Other")) {
			t.Errorf("%s: the upstream got %s", c.name, heads[0])
		}
		if c.name == "yes" && !strings.Contains(heads[0], "\r\nx-auth-user: ann\r\n") {
			t.Errorf("not told who asks: %s", heads[0])
		}
	}
	question := service.seen()[0]
	for _, want := range []string{
		"GET /check?a=1 HTTP/1.1\r\nhost: " + service.addr + "\r\n", "x-forwarded-method: GET\r\n", "x-forwarded-uri: /v1/x?q=1\r\n",
		"x-forwarded-host: a.test\r\n", "x-forwarded-for: 127.0.0.1\r\n", "cookie: session=1\r\n", "x-request-id: ",
	} {
		if !strings.Contains(question, want) {
			t.Errorf("the question lacks %q:\n%s", want, question)
		}
	}
	for _, not := range []string{"/public", "if-none-match"} {
		if strings.Contains(strings.ToLower(question), not) {
			t.Errorf("the question has %q:\n%s", not, question)
		}
	}
}

func TestAServiceThatIsGoneAdmitsNobody(t *testing.T) {
	up := startRecorder(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	ways := []routetable.Auth{forward(ln.Addr().String()), {APIKey: &routetable.APIKey{}}}
	g := startGateway(t, dataplane.Config{}, behind(up.addr, ways...))
	if a, _ := g.ask(t, ""); a.StatusCode != 503 {
		t.Errorf("got %d, want 503", a.StatusCode)
	}
	// Another way admits; what the service would have said stays unsaid.
	a, _ := g.ask(t, "x-api-key: acme-key\r\nx-auth-user: root\r\n")
	if heads := up.seen(); a.StatusCode != 200 || strings.Contains(heads[len(heads)-1], "root") {
		t.Errorf("got %d, %s", a.StatusCode, heads)
	}
	// Nor is a control port asked, whatever a route says.
	g = startGateway(t, dataplane.Config{}, behind(up.addr, forward("169.254.169.254")))
	if a, _ := g.ask(t, ""); a.StatusCode != 503 {
		t.Errorf("link-local address: got %d, want 503", a.StatusCode)
	}
}

// admitted are ways to be let in, with what a client shows.
func admitted(tb testing.TB, creds *credentials) map[string]func() func() {
	tb.Helper()
	all := map[string]func() func(){}
	for name, c := range map[string]struct {
		way    routetable.Auth
		fields string
	}{
		"api_key": {routetable.Auth{APIKey: &routetable.APIKey{}}, "x-api-key: acme-key\r\n"},
		"jwt":     {jwt("keys"), "authorization: Bearer " + creds.token(map[string]any{"org": "c"}) + "\r\n"},
		"basic":   {routetable.Auth{Basic: &routetable.Basic{File: "users"}}, basic("ann:apple")},
	} {
		all[name] = func() func() {
			return steadyWith(tb, dataplane.Config{Credentials: creds}, func(addr string) *routetable.Spec { return behind(addr, c.way) }, c.fields)
		}
	}
	return all
}

func TestWhoWasAdmittedBeforeCostsNoAllocation(t *testing.T) {
	for name, make := range admitted(t, newCredentials(t)) {
		t.Run(name, func(t *testing.T) { holdToBudget(t, make(), 0) })
	}
}

func BenchmarkAdmitted(b *testing.B) {
	for name, make := range admitted(b, newCredentials(b)) {
		b.Run("auth="+name, func(b *testing.B) {
			request := make()
			request()
			b.ReportAllocs()
			for b.Loop() {
				request()
			}
		})
	}
}
