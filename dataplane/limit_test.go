package dataplane_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/routetable"
)

// lone keeps the limits of a mesh of one node, but where answers says what
// becomes of a request.
type lone struct {
	engine *quota.Engine
	began  time.Time
	still  bool // no time passes
	secret quota.Secret

	answers   func() quota.Decision
	waits     atomic.Int64
	cancelled atomic.Int64
	released  atomic.Int64

	mu    sync.Mutex
	names map[quota.Key]string
	all   []*quota.Limit
}

func newLone() *lone {
	return &lone{engine: quota.New(0, quota.Config{Self: 1, Incarnation: 1}), began: time.Now(), names: map[quota.Key]string{}}
}

func (l *lone) now() time.Duration {
	if l.still {
		return 0
	}
	return time.Since(l.began)
}

func (l *lone) Configure(all []*quota.Limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = all
	l.engine.Configure(l.now(), all)
}

func (l *lone) Key(of *quota.Limit, subject []byte) quota.Key { return l.secret.Key(of, subject) }

func (l *lone) Name(k quota.Key, subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[k] = subject
}

func (l *lone) Take(asks []quota.Ask) quota.Decision {
	if l.answers != nil {
		return l.answers()
	}
	return l.engine.Take(l.now(), asks)
}

func (l *lone) Wait(t quota.Ticket, gone func() bool) quota.Decision {
	l.waits.Add(1)
	if l.answers == nil {
		return l.poll(t)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if gone() {
			l.cancelled.Add(1)
			return quota.Decision{Verdict: quota.Deny}
		}
	}
	return quota.Decision{Verdict: quota.Deny}
}

// poll runs the engine until t is answered. One request waits at a time.
func (l *lone) poll(t quota.Ticket) quota.Decision {
	var out quota.Output
	for {
		l.engine.Poll(l.now(), &out)
		for _, r := range out.Resolved {
			if r.Ticket == t {
				return r.Decision
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *lone) Release(asks []quota.Ask) {
	l.released.Add(1)
	l.engine.Release(asks)
}

// perNode are limits that one node keeps by itself.
func perNode(l routetable.Limit) routetable.Limit {
	l.Scope, l.Wait = "node", "0"
	return l
}

func hourly(n int64) *routetable.Rate { return &routetable.Rate{N: n, Per: time.Hour} }

func limitedSpec(addr string, limits ...routetable.Limit) *routetable.Spec {
	spec := toUpstream(addr)
	for _, l := range limits {
		spec.Limits = append(spec.Limits, perNode(l))
		spec.Routes[0].Limits = append(spec.Routes[0].Limits, l.Name)
	}
	return spec
}

func (g *gateway) fetch(tb testing.TB, fields ...string) Answer {
	tb.Helper()
	head := "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	a, _, err := g.dial(tb).send(head + "\r\n").answer("GET")
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// An endpoint's own fields of that kind go, lest two limits read as one.
func TestOlderFieldsAreSentUnlessALimitSaysNo(t *testing.T) {
	rec, limiter := startRecorder(t, always("HTTP/1.1 200 OK\r\nX-RateLimit-Limit: 7\r\nContent-Length: 2\r\n\r\nok")), newLone()
	limiter.still = true // lest a second flows in
	told := []string{"2 1 1800", "2 0 3600", "2 0 3600"}
	for name, test := range map[string]struct {
		asked *bool
		want  []string
	}{"absent": {nil, told}, "on": {new(true), told}, "off": {new(false), []string{"7  ", "7  ", "  "}}} {
		g := startGateway(t, dataplane.Config{Limiter: limiter}, limitedSpec(rec.addr, routetable.Limit{Name: name, Rate: hourly(2), XHeaders: test.asked}))
		for i, want := range test.want {
			h := g.fetch(t).Header
			if all := h.Values("X-RateLimit-Limit"); len(all) > 1 {
				t.Errorf("%s, request %d: limits %v", name, i, all)
			}
			if got := h.Get("X-RateLimit-Limit") + " " + h.Get("X-RateLimit-Remaining") + " " + h.Get("X-RateLimit-Reset"); got != want {
				t.Errorf("%s, request %d: %q, want %q", name, i, got, want)
			}
		}
	}
}

func TestALimitRefusesAndSaysWhenToComeBack(t *testing.T) {
	rec, limiter := startRecorder(t, nil), newLone()
	g := startGateway(t, dataplane.Config{Limiter: limiter}, limitedSpec(rec.addr, routetable.Limit{Name: "l", Rate: hourly(2)}))
	for i := range 2 {
		a := g.fetch(t)
		if a.StatusCode != 200 || a.Header.Get("RateLimit-Policy") != `"l";q=2;w=3600` {
			t.Errorf("request %d: %d %v", i, a.StatusCode, a.Header)
		}
		if want := fmt.Sprintf(`"l";r=%d;t=`, 1-i); !strings.HasPrefix(a.Header.Get("RateLimit"), want) {
			t.Errorf("RateLimit %q, want %s", a.Header.Get("RateLimit"), want)
		}
	}
	a := g.fetch(t)
	if a.StatusCode != 429 || a.Header.Get("x-meshgw-error") != "quota_exceeded" || !strings.HasPrefix(a.Header.Get("RateLimit"), `"l";r=0;`) {
		t.Errorf("over the limit: %d %v", a.StatusCode, a.Header)
	}
	var after int
	if _, err := fmt.Sscan(a.Header.Get("Retry-After"), &after); err != nil || after < 1790 || after > 2170 {
		t.Errorf("Retry-After %q, want half an hour and up to a fifth", a.Header.Get("Retry-After"))
	}
	if len(rec.seen()) != 2 {
		t.Errorf("the upstream saw %d requests, want 2", len(rec.seen()))
	}
	for decision, want := range map[string]float64{"allow": 2, "deny": 1} {
		if got := g.decisions(t, "l", decision); got != want {
			t.Errorf("%v counted as %s, want %v", got, decision, want)
		}
	}
}

// decisions is what meshgw_limit_decisions_total says.
func (g *gateway) decisions(t *testing.T, limit, decision string) float64 {
	t.Helper()
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "meshgw_limit_decisions_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["limit"] == limit && labels["decision"] == decision {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func TestWhomALimitCounts(t *testing.T) {
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	tenants := []routetable.Tenant{
		{Name: "acme", Identify: &routetable.Identify{Header: "x-tenant", Value: "a"}},
		{Name: "beta", Identify: &routetable.Identify{Header: "x-tenant", Value: "b"}},
	}
	for name, tt := range map[string]struct {
		key         []string
		first, same string // a field of the first request, and of one that counts with it
		other       string // of one that does not
		trusted     []netip.Prefix
	}{
		"everybody":                   {nil, "a: 1", "a: 2", "", nil},
		"none":                        {[]string{"none"}, "a: 1", "a: 2", "", nil},
		"header":                      {[]string{"header:x-key"}, "X-Key: 1", "x-key: 1", "x-key: 2", nil},
		"client":                      {[]string{"client_ip"}, "x-forwarded-for: 192.0.2.1", "x-forwarded-for: 192.0.2.1", "x-forwarded-for: 192.0.2.2", local},
		"client of a stranger":        {[]string{"client_ip"}, "x-forwarded-for: 192.0.2.1", "x-forwarded-for: 192.0.2.2", "", nil},
		"IPv6 network":                {[]string{"client_ip"}, "x-forwarded-for: 2001:db8::1", "x-forwarded-for: 2001:db8::2:1", "x-forwarded-for: 2001:db8:0:1::1", local},
		"tenant":                      {[]string{"tenant"}, "x-tenant: a", "x-tenant: a", "x-tenant: b", local},
		"tenant unknown":              {[]string{"tenant"}, "x-tenant: z", "a: 1", "x-tenant: b", local},
		"tenant said by a stranger":   {[]string{"tenant"}, "x-tenant: a", "x-tenant: b", "", nil},
		"route and tenant and header": {[]string{"route", "tenant", "header:x-key"}, "x-tenant: a\r\nx-key: 1", "x-tenant: a\r\nx-key: 1", "x-tenant: a\r\nx-key: 2", local},
	} {
		t.Run(name, func(t *testing.T) {
			limiter := newLone()
			spec := limitedSpec(startRecorder(t, nil).addr, routetable.Limit{Name: "l", Rate: hourly(1), Key: tt.key})
			spec.Tenants = tenants
			g := startGateway(t, dataplane.Config{Limiter: limiter, TrustedProxies: tt.trusted}, spec)
			if a := g.fetch(t, tt.first); a.StatusCode != 200 {
				t.Errorf("first: %d", a.StatusCode)
			}
			if a := g.fetch(t, tt.same); a.StatusCode != 429 {
				t.Errorf("second of the same: %d", a.StatusCode)
			}
			if tt.other == "" {
				return
			}
			if a := g.fetch(t, tt.other); a.StatusCode != 200 {
				t.Errorf("another: %d", a.StatusCode)
			}
		})
	}
}

func TestATenantIsHeldToItsOwnLimitsBesides(t *testing.T) {
	limiter := newLone()
	spec := limitedSpec(startRecorder(t, nil).addr, routetable.Limit{Name: "wide", Rate: hourly(100)})
	spec.Tenants = []routetable.Tenant{{
		Name: "acme", Identify: &routetable.Identify{Header: "x-tenant", Value: "a"},
		Limits: &routetable.TenantLimits{Rate: hourly(1)},
	}}
	g := startGateway(t, dataplane.Config{Limiter: limiter, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, spec)
	a := g.fetch(t, "x-tenant: a")
	if want := `"wide";q=100;w=3600, "tenant/acme";q=1;w=3600`; a.StatusCode != 200 || a.Header.Get("RateLimit-Policy") != want {
		t.Errorf("%d, policy %q, want %q", a.StatusCode, a.Header.Get("RateLimit-Policy"), want)
	}
	if a := g.fetch(t, "x-tenant: a"); a.StatusCode != 429 || !strings.HasPrefix(a.Header.Get("RateLimit"), `"tenant/acme";r=0`) {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := g.fetch(t); a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("RateLimit"), `"wide";r=98`) {
		t.Errorf("a refused request took of the other limit: %v", a.Header)
	}
	soon(t, func() bool { return strings.Contains(g.log.String(), `"tenant":"acme"`) })
	limiter.mu.Lock()
	defer limiter.mu.Unlock()
	if len(limiter.names) != 0 {
		t.Errorf("one count for all has no name, got %v", limiter.names)
	}
}

func TestWhoeverComesFirstIsNamed(t *testing.T) {
	limiter := newLone()
	g := startGateway(t, dataplane.Config{Limiter: limiter}, limitedSpec(startRecorder(t, nil).addr, routetable.Limit{Name: "l", Rate: hourly(100), Key: []string{"client_ip"}}))
	g.fetch(t)
	limiter.mu.Lock()
	defer limiter.mu.Unlock()
	for _, name := range limiter.names {
		if name == "client_ip=127.0.0.1" {
			return
		}
	}
	t.Errorf("the names are %v", limiter.names)
}

func soon(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v", patience)
		}
	}
}

func TestSlotsAreHeldUntilAnExchangeHasEnded(t *testing.T) {
	more := map[string]string{"upgrade": "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"}
	for name, upstream := range map[string]func(string, net.Conn, *bufio.Reader) bool{
		"whole":  always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
		"cut":    once("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"),
		"reset":  once(""),
		"stream": once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
		"upgrade": func(_ string, c net.Conn, _ *bufio.Reader) bool {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			limiter := newLone()
			g := startGateway(t, dataplane.Config{Limiter: limiter}, limitedSpec(startRecorder(t, upstream).addr, routetable.Limit{Name: "l", Concurrency: 1}))
			for i := range 3 {
				c := g.dial(t).send("GET /x HTTP/1.1\r\nHost: h\r\n" + more[name] + "\r\n")
				line, err := c.r.ReadString('\n')
				if err != nil || strings.Contains(line, " 4") {
					t.Fatalf("request %d: %q, %v", i, line, err)
				}
				c.Close()
				soon(t, func() bool { return limiter.released.Load() == int64(i+1) })
			}
		})
	}
}

func TestRequestsAtOnceAreBounded(t *testing.T) {
	release := make(chan struct{})
	rec := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		<-release
		return okay(head, c, r)
	})
	g := startGateway(t, dataplane.Config{Limiter: newLone()}, limitedSpec(rec.addr, routetable.Limit{Name: "l", Concurrency: 1}))
	first := g.dial(t).send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
	soon(t, func() bool { return len(rec.seen()) == 1 })
	if a := g.fetch(t); a.StatusCode != 429 || a.Header.Get("x-meshgw-error") != "concurrency_exceeded" || a.Header.Get("Retry-After") == "" {
		t.Errorf("second at once: %d %v", a.StatusCode, a.Header)
	}
	close(release)
	if a, _, err := first.answer("GET"); err != nil || a.StatusCode != 200 {
		t.Errorf("first: %d, %v", a.StatusCode, err)
	}
	soon(t, func() bool { return g.fetch(t).StatusCode == 200 })
}

func TestAWaitEndsWhenTheClientGoes(t *testing.T) {
	limiter := newLone()
	limiter.answers = func() quota.Decision { return quota.Decision{Verdict: quota.Wait, Ticket: 1} }
	rec := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{Limiter: limiter}, limitedSpec(rec.addr, routetable.Limit{Name: "l", Rate: hourly(1)}))
	c := g.dial(t).send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
	soon(t, func() bool { return limiter.waits.Load() == 1 })
	if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil { // a reset
		t.Fatal(err)
	}
	c.Close()
	soon(t, func() bool { return limiter.cancelled.Load() == 1 })
	soon(t, func() bool { return strings.Contains(g.log.String(), `"status":499`) })
	if len(rec.seen()) != 0 {
		t.Error("the request went on")
	}
}

func TestALimitThatStaysIsTheSame(t *testing.T) {
	limiter := newLone()
	spec := limitedSpec(startRecorder(t, nil).addr, routetable.Limit{Name: "l", Rate: hourly(10)}, routetable.Limit{Name: "m", Rate: hourly(10), Concurrency: 3})
	g := startGateway(t, dataplane.Config{Limiter: limiter}, spec)
	before := limiter.all
	g.fetch(t)
	spec.Limits[0].Rate = hourly(20)
	g.publish(t, spec)
	after := limiter.all
	if len(before) != 3 || len(after) != 3 || before[0] == after[0] || before[1] != after[1] || before[2] != after[2] {
		t.Errorf("before %v, after %v: want another first only", before, after)
	}
	if got := g.Limits(); got[0].Allowed != 1 || got[1].Allowed != 1 {
		t.Errorf("counts after a new table: %+v", got)
	}
}

func TestLimitsThatCannotBeKeptAreRefused(t *testing.T) {
	rec := startRecorder(t, nil)
	var many []routetable.Limit
	for i := range 4 {
		many = append(many, routetable.Limit{Name: fmt.Sprint("l", i), Rate: hourly(9), Concurrency: 9})
	}
	for name, tt := range map[string]struct {
		cfg    dataplane.Config
		limits []routetable.Limit
	}{
		"nobody keeps them": {dataplane.Config{}, many[:1]},
		"too many":          {dataplane.Config{Limiter: newLone()}, many},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, tt.cfg, limitedSpec(rec.addr, tt.limits...))
			if a := g.fetch(t); a.StatusCode != 503 {
				t.Errorf("answered %d, want 503", a.StatusCode)
			}
		})
	}
}

func TestAPreflightIsNotCounted(t *testing.T) {
	limiter := newLone()
	spec := limitedSpec(startRecorder(t, nil).addr, routetable.Limit{Name: "l", Rate: hourly(1)})
	spec.Routes[0].CORS = &routetable.CORS{Origins: []string{"https://a.example"}}
	g := startGateway(t, dataplane.Config{Limiter: limiter}, spec)
	c := g.dial(t).send("OPTIONS /x HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\r\n")
	if a, _, err := c.answer("OPTIONS"); err != nil || a.StatusCode != 204 {
		t.Errorf("%d, %v", a.StatusCode, err)
	}
	if a := g.fetch(t); a.StatusCode != 200 {
		t.Errorf("the one request of the hour: %d", a.StatusCode)
	}
}

// steadyLimited is steady, held to two limits that never refuse.
func steadyLimited(tb testing.TB) func() {
	tb.Helper()
	return steadyWith(tb, dataplane.Config{Limiter: newLone()}, func(addr string) *routetable.Spec {
		return limitedSpec(addr,
			routetable.Limit{Name: "l", Rate: &routetable.Rate{N: 1e6, Per: time.Second}, Key: []string{"client_ip", "header:user-agent"}},
			routetable.Limit{Name: "m", Concurrency: 100},
		)
	}, "")
}

func BenchmarkLimitedGet(b *testing.B) {
	request := steadyLimited(b)
	request()
	b.ReportAllocs()
	for b.Loop() {
		request()
	}
}

func TestALimitedGetHardlyAllocates(t *testing.T) {
	holdToBudget(t, steadyLimited(t), 8) // one in 256 has its keys named
}
