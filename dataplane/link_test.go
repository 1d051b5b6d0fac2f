package dataplane_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// linked is a gateway of a mesh of two, with a link listener.
type linked struct {
	*gateway
	tb   testing.TB
	link string
}

// startLinked starts a gateway. trust gives the settings of both sides of its
// links; nil for plain ones.
func startLinked(t *testing.T, node, region string, spec *routetable.Spec, trust *authority) *linked {
	t.Helper()
	g := &linked{gateway: &gateway{log: &safeBuffer{}, reg: prometheus.NewRegistry()}, tb: t}
	cfg := dataplane.Config{Node: node, Region: region, Secret: oneSecret, Link: func(string) *tls.Config { return nil }}
	var secure *tls.Config
	if trust != nil {
		secure = trust.server(t, node)
		client := trust.client(t, node)
		cfg.Link = func(to string) *tls.Config {
			c := client.Clone()
			c.ServerName = to
			return c
		}
	}
	g.Server = dataplane.New(cfg, zerolog.New(g.log), g.reg)
	g.publish(t, spec)
	var listeners []dataplane.Listener
	for _, name := range []string{"http", "mesh"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := dataplane.Listener{Name: name, Listener: ln}
		if name == "mesh" {
			l.Link, l.TLS, g.link = true, secure, ln.Addr().String()
		} else {
			g.addr = ln.Addr().String()
		}
		listeners = append(listeners, l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, listeners...) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(g.stop)
	return g
}

// knows tells g of another gateway with room for upstream up.
func (g *linked) knows(self, region string, other, otherRegion, link string, room float64) {
	g.meets(self, region, other, otherRegion, link, failover.Load{Upstream: "up", Headroom: room})
	for deadline := time.Now().Add(patience); g.roomIn(otherRegion) != room; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.tb.Fatalf("%s does not heed the room of %s", self, other)
		}
	}
}

// meets tells g of another gateway and what it has told.
func (g *linked) meets(self, region string, other, otherRegion, link string, loads ...failover.Load) {
	peer := failover.Peer{
		ID: other, Region: otherRegion, Incarnation: 1, Weight: 100, Ready: true, Heard: time.Now(),
		Loads: failover.Loads{Incarnation: 1, Region: otherRegion, Loads: loads},
	}
	g.SetMesh(&dataplane.Mesh{
		View:  failover.NewView(failover.Peer{ID: self, Region: region, Ready: true}, []failover.Peer{peer}),
		Links: map[string]string{other: link},
	})
}

// roomIn is what g divides by: a division is made ten times a second.
func (g *linked) roomIn(region string) float64 {
	for _, r := range g.Divisions()[0].Regions {
		if r.Region == region {
			return r.Room
		}
	}
	return -1
}

// inUS is a spec with one route, whose only endpoint is in region us.
func inUS(addr string) *routetable.Spec {
	spec := toUpstream(addr)
	spec.Upstreams[0].Endpoints[0].Region = "us"
	return spec
}

// pair is a gateway in eu without endpoints, and one in us with one.
func pair(t *testing.T, spec *routetable.Spec, trust *authority) (eu, us *linked) {
	t.Helper()
	eu, us = startLinked(t, "eu-1", "eu", spec, trust), startLinked(t, "us-1", "us", spec, trust)
	eu.knows("eu-1", "eu", "us-1", "us", us.link, 1000)
	return eu, us
}

func TestRequestsCrossTheLinkAsTheyShallReachTheEndpoint(t *testing.T) {
	rec := startRecorder(t, okay)
	spec := inUS(rec.addr + "/base")
	spec.Routes[0].Match = []routetable.Match{{PathPrefix: "/in"}}
	spec.Routes[0].Rewrite = &routetable.Rewrite{PathPrefix: new("/out"), Host: "inner"}
	spec.Routes[0].RequestHeaders = &routetable.HeaderOps{Set: map[string]string{"x-env": "prod"}, Remove: []string{"x-debug"}}
	spec.Routes[0].ResponseHeaders = &routetable.HeaderOps{Add: map[string]string{"x-once": "1"}}
	eu, us := pair(t, spec, nil)

	resp, body, err := eu.dial(t).send("POST /in/a?q=1 HTTP/1.1\r\nHost: a\r\nx-debug: 1\r\nx-request-id: r-1\r\nX-Meshgw-Link: hop=1;node=evil;region=eu;upstream=up\r\nContent-Length: 4\r\n\r\nbody").answer("POST")
	if err != nil || resp.StatusCode != 200 || body != "ok" {
		t.Fatalf("%v: %d %q\n%s", err, resp.StatusCode, body, eu.log)
	}
	for name, want := range map[string]string{
		"x-meshgw-node": "us-1", "x-meshgw-region": "us", "x-meshgw-via": "eu-1", "x-request-id": "r-1", "x-once": "1",
	} {
		if got := resp.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	head := strings.ToLower(rec.seen()[0])
	for _, want := range []string{
		"post /base/out/a?q=1 http/1.1", "host: inner", "x-env: prod", "via: 1.1 meshgw-eu-1", "via: 1.1 meshgw-us-1", "x-request-id: r-1",
		"x-forwarded-for: 127.0.0.1", "x-forwarded-host: a", "x-forwarded-proto: http", "content-length: 4",
	} {
		if strings.Count(head, want+"\r\n") != 1 {
			t.Errorf("the endpoint did not see %q once:\n%s", want, head)
		}
	}
	if strings.Contains(head, "x-meshgw") || strings.Contains(head, "x-debug") {
		t.Errorf("the endpoint saw what it should not:\n%s", head)
	}
	for g, want := range map[*linked]string{
		eu: `meshgw_failover_requests_total{from="eu",to="us",upstream="up"} 1`,
		us: `meshgw_forwarded_requests_total{from="eu",upstream="up"} 1`,
	} {
		waitFor(t, func() bool { return strings.Contains(metricsText(t, g.reg), want) }) // counted after it is answered
	}
	if text := metricsText(t, us.reg); strings.Contains(text, "meshgw_requests_total{") {
		t.Errorf("us-1 counted it as its client's:\n%s", text)
	}
}

func TestTheLinkIsSecuredByNodeCertificates(t *testing.T) {
	rec := startRecorder(t, okay)
	trust := newAuthority(t)
	eu, us := pair(t, inUS(rec.addr), trust)
	if resp, body, err := eu.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET"); err != nil || resp.StatusCode != 200 || body != "ok" {
		t.Fatalf("%v: %d %q\n%s%s", err, resp.StatusCode, body, eu.log, us.log)
	}
	ask := func(config *tls.Config, node string) (string, error) {
		config.ServerName = "us-1"
		c, err := tls.Dial("tcp", us.link, config)
		if err != nil {
			return "", err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\nx-meshgw-link: hop=1;node=%s;region=eu;upstream=up\r\n\r\n", node)
		line, err := bufio.NewReader(c).ReadString('\n')
		return line, err
	}
	if line, err := ask(trust.client(t, "eu-1"), "eu-1"); err != nil || !strings.Contains(line, " 200 ") {
		t.Errorf("its own name: %q, %v", line, err)
	}
	if line, err := ask(trust.client(t, "eu-1"), "eu-2"); err != nil || !strings.Contains(line, " 403 ") {
		t.Errorf("another's name: %q, %v", line, err)
	}
	stranger := newAuthority(t).client(t, "eu-1")
	stranger.RootCAs = trust.pool
	if line, err := ask(stranger, "eu-1"); err == nil {
		t.Errorf("a certificate of another CA was let in: %q", line)
	}
	if line, err := ask(&tls.Config{RootCAs: trust.pool, MinVersion: tls.VersionTLS13}, "eu-1"); err == nil {
		t.Errorf("nobody was let in: %q", line)
	}
}

func TestWhatTheLinkRefuses(t *testing.T) {
	rec := startRecorder(t, okay)
	_, us := pair(t, inUS(rec.addr), nil)
	const good = "hop=1;node=eu-1;region=eu;upstream=up"
	for name, test := range map[string]struct {
		fields, want, code string
	}{
		"what a gateway sends":    {"x-meshgw-link: " + good, "200", ""},
		"something newer":         {"x-meshgw-link: " + good + ";colour=blue", "200", ""},
		"a second hop":            {"x-meshgw-link: " + strings.Replace(good, "hop=1", "hop=2", 1), "508", "forward_loop"},
		"what was here before":    {"x-meshgw-link: " + good + "\r\nvia: 1.1 meshgw-us-1", "508", "forward_loop"},
		"no field":                {"x-a: b", "400", "bad_request"},
		"two fields":              {"x-meshgw-link: " + good + "\r\nx-meshgw-link: " + good, "400", "bad_request"},
		"nonsense":                {"x-meshgw-link: hop=-1", "400", "bad_request"},
		"an upstream of nobody's": {"x-meshgw-link: " + strings.Replace(good, "up", "other", 1), "400", "bad_request"},
		"an unknown upstream":     {"x-meshgw-link: hop=1;node=eu-1;region=eu;upstream=other", "503", "no_healthy_upstream"},
	} {
		c, err := net.Dial("tcp", us.link)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n"+test.fields+"\r\nConnection: close\r\n\r\n")
		all, _ := io.ReadAll(c)
		c.Close()
		text := strings.ToLower(string(all))
		if !strings.HasPrefix(text, "http/1.1 "+test.want) || test.code != "" && !strings.Contains(text, "x-meshgw-error: "+test.code+"\r\n") {
			t.Errorf("%s: want %s %s, got\n%s", name, test.want, test.code, text)
		}
	}
}

func TestTunnelsAndStreamsCrossTheLink(t *testing.T) {
	rec := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		if strings.HasPrefix(head, "GET /ws") {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			line, _ := r.ReadString('\n')
			io.WriteString(c, "echo "+line)
			return false
		}
		return okay(head, c, r)
	})
	eu, _ := pair(t, inUS(rec.addr), nil)
	c := eu.dial(t).send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello\n")
	if head, err := readHead(c.r); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Fatalf("%v: %s", err, head)
	}
	if got := c.rest(); got != "echo hello\n" {
		t.Errorf("through the tunnel came %q", got)
	}
	const size = 1 << 20
	big := eu.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range size >> 10 {
		big.send("400\r\n" + strings.Repeat("x", 1<<10) + "\r\n")
	}
	if resp, body, err := big.send("0\r\n\r\n").answer("POST"); err != nil || resp.StatusCode != 200 || body != "ok" {
		t.Errorf("%v: %d %q", err, resp.StatusCode, body)
	}
	if got := strings.Count(rec.bytes(), "x"); got < size {
		t.Errorf("%d bytes of %d arrived", got, size)
	}
}

// The other gateway's table gives the request 30 s: what bounds it there is what
// the link says.
func TestADeadlineCrossesTheLink(t *testing.T) {
	given := make(chan time.Time, 8)
	rec := startRecorder(t, func(_ string, _ net.Conn, r *bufio.Reader) bool {
		_, _ = r.ReadByte() // silent until the gateway gives up
		given <- time.Now()
		return false
	})
	spec := inUS(rec.addr)
	us := startLinked(t, "us-1", "us", spec, nil)
	hurried := inUS(rec.addr)
	hurried.Routes[0].Timeouts = &routetable.Timeouts{Request: new(routetable.Duration(300 * time.Millisecond))}
	eu := startLinked(t, "eu-1", "eu", hurried, nil)
	eu.knows("eu-1", "eu", "us-1", "us", us.link, 1000)
	began := time.Now()
	resp, _, err := eu.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
	if err != nil || resp.StatusCode != 504 || resp.Header.Get("x-meshgw-error") != "upstream_timeout" {
		t.Fatalf("%v: %d %v\n%s", err, resp.StatusCode, resp.Header, eu.log)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("answered after %v", took)
	}
	select {
	case <-given:
	case <-time.After(10 * time.Second):
		t.Error("the other gateway still waits for the endpoint")
	}
}

func TestAnUpstreamsOwnErrorThroughAPeerIsFinal(t *testing.T) {
	rec := startRecorder(t, always("HTTP/1.1 503 Service Unavailable\r\nx-meshgw-error: overloaded\r\nContent-Length: 2\r\n\r\nno"))
	spec := inUS(rec.addr)
	spec.Upstreams[0].Retries = &routetable.Retries{Attempts: 1}
	spec.Upstreams[0].CircuitBreaker = &routetable.CircuitBreaker{ConsecutiveFailures: 100}
	eu, us := pair(t, spec, nil)
	for range 8 { // more than would open a breaker
		resp, body, err := eu.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
		if err != nil || resp.StatusCode != 503 || resp.Header.Get("x-meshgw-node") != "us-1" {
			t.Fatalf("%v: %d %q %v\n%s%s", err, resp.StatusCode, body, resp.Header, eu.log, us.log)
		}
	}
	for _, u := range eu.Upstreams() {
		if strings.HasPrefix(u.Endpoint, "mesh://") && u.State != "closed" {
			t.Errorf("the gateway is %s: %s", u.State, u.Reason)
		}
	}
}

// Nothing was sent to an endpoint that could not be connected to, so even what must
// not come twice goes to the next region.
func TestWhatAnotherRegionCannotConnectToGoesToTheNext(t *testing.T) {
	spec := inUS("127.0.0.1:1") // nobody listens
	spec.Upstreams[0].Endpoints = append(spec.Upstreams[0].Endpoints, routetable.Endpoint{URL: "http://" + startRecorder(t, okay).addr, Region: "ap"})
	spec.Upstreams[0].Failover = &routetable.Failover{Regions: []string{"us", "ap"}}
	spec.Upstreams[0].CircuitBreaker = &routetable.CircuitBreaker{Enabled: new(false)}
	eu := startLinked(t, "eu-1", "eu", spec, nil)
	us, sibling, ap := startLinked(t, "us-1", "us", spec, nil), startLinked(t, "us-2", "us", spec, nil), startLinked(t, "ap-1", "ap", spec, nil)
	peer := func(name, region string) failover.Peer {
		return failover.Peer{
			ID: name, Region: region, Incarnation: 1, Weight: 100, Ready: true, Heard: time.Now(),
			Loads: failover.Loads{Incarnation: 1, Region: region, Loads: []failover.Load{{Upstream: "up", Headroom: 1000}}},
		}
	}
	eu.SetMesh(&dataplane.Mesh{
		View:  failover.NewView(failover.Peer{ID: "eu-1", Region: "eu", Ready: true}, []failover.Peer{peer("us-1", "us"), peer("us-2", "us"), peer("ap-1", "ap")}),
		Links: map[string]string{"us-1": us.link, "us-2": sibling.link, "ap-1": ap.link},
	})
	for deadline := time.Now().Add(patience); eu.roomIn("us") != 2000 || eu.roomIn("ap") != 1000; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the other regions are not heeded")
		}
	}
	for range 30 { // more than the budget of retries has
		resp, body, err := eu.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").answer("POST")
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("x-meshgw-region") != "ap" {
			t.Fatalf("%v: %d %s %v\n%s", err, resp.StatusCode, body, resp.Header, eu.log)
		}
	}
}

func TestWhatNoRegionHasRoomForIsRefusedEarly(t *testing.T) {
	rec := startRecorder(t, okay)
	spec := inUS(rec.addr)
	eu := startLinked(t, "eu-1", "eu", spec, nil)
	us := startLinked(t, "us-1", "us", spec, nil)
	eu.knows("eu-1", "eu", "us-1", "us", us.link, 0)
	refused := 0
	for range 50 {
		resp, _, err := eu.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == 503 && resp.Header.Get("x-meshgw-error") == "overloaded" && resp.Header.Get("retry-after") != "" {
			refused++
		}
		time.Sleep(10 * time.Millisecond)
	}
	if refused < 20 {
		t.Errorf("%d of 50 refused", refused)
	}
	if text := metricsText(t, eu.reg); !strings.Contains(text, `meshgw_shed_total{priority="normal",reason="no_room"}`) {
		t.Errorf("not counted:\n%s", text)
	}
}

// A gateway tells its room once a second: of an upstream that is new, nothing yet.
func TestANewUpstreamFailsOverBeforeGatewaysTellTheirRoom(t *testing.T) {
	t.Parallel()
	spec := inUS(startRecorder(t, okay).addr)
	spec.Upstreams[0].Endpoints = append(spec.Upstreams[0].Endpoints, routetable.Endpoint{URL: "http://127.0.0.1:1", Region: "eu"}) // nobody listens
	eu, us := startLinked(t, "eu-1", "eu", spec, nil), startLinked(t, "us-1", "us", spec, nil)
	eu.meets("eu-1", "eu", "us-1", "us", us.link)
	for deadline := time.Now().Add(patience); eu.roomIn("us") <= 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a gateway that has told nothing is taken to have no room")
		}
	}
	for range 20 {
		resp, body, err := eu.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").answer("POST")
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v: %d %s\n%s", err, resp.StatusCode, body, eu.log)
		}
	}
}

func TestACutRegionGetsNothing(t *testing.T) {
	rec := startRecorder(t, okay)
	spec := inUS(rec.addr)
	eu := startLinked(t, "eu-1", "eu", spec, nil)
	eu.SetMesh(&dataplane.Mesh{View: failover.NewView(failover.Peer{ID: "eu-1", Region: "eu", Ready: true}, nil)})
	time.Sleep(300 * time.Millisecond)
	resp, _, err := eu.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
	if err != nil || resp.StatusCode != 503 || resp.Header.Get("x-meshgw-error") != "no_healthy_upstream" {
		t.Errorf("%v: %d %v", err, resp.StatusCode, resp.Header)
	}
	if n := len(rec.seen()); n != 0 {
		t.Errorf("%d requests went past the gateways", n)
	}
}

func metricsText(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			fmt.Fprintf(&b, "%s{%s} %g\n", f.GetName(), strings.Join(labels, ","), m.GetCounter().GetValue())
		}
	}
	return b.String()
}

// authority is a CA in memory.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.key, a.cert = a.issue(t, template, template, nil)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func (a *authority) node(t *testing.T, name string) []tls.Certificate {
	t.Helper()
	key, cert := a.issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert, a.key)
	return []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}}
}

func (a *authority) server(t *testing.T, name string) *tls.Config {
	t.Helper()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"},
		Certificates: a.node(t, name), ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func (a *authority) client(t *testing.T, name string) *tls.Config {
	t.Helper()
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: a.node(t, name), RootCAs: a.pool}
}

func TestABreakerOpensAfterFiveAnswersOf503(t *testing.T) {
	rec := startRecorder(t, always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"))
	spec := toUpstream(rec.addr)
	spec.Upstreams[0].Retries = &routetable.Retries{Attempts: 1}
	g := startGateway(t, dataplane.Config{}, spec)
	for i := range 5 {
		if state := g.Upstreams()[0].State; state != "closed" {
			t.Fatalf("%s after %d", state, i)
		}
		g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").rest()
	}
	if state := g.Upstreams()[0].State; state != "open" {
		t.Errorf("%s after five", state)
	}
}
