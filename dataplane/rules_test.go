package dataplane_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func TestRulesDecideWhatBecomesOfARequest(t *testing.T) {
	up := startRecorder(t, nil)
	spec := toUpstream(up.addr)
	spec.Routes = []routetable.Route{
		{Name: "own", Match: []routetable.Match{{Path: "/own"}}, Respond: &routetable.Respond{Status: 418, Body: "tea", Headers: map[string]string{"x-own": "1"}}},
		{Name: "moved", Match: []routetable.Match{{PathPrefix: "/old"}}, Redirect: &routetable.Redirect{Scheme: "https", PathPrefix: new("/new"), Status: 308}},
		{
			Name: "changed", Match: []routetable.Match{{PathPrefix: "/api"}}, Upstream: "up",
			Rewrite:         &routetable.Rewrite{PathPrefix: new("/v2"), Host: "inner.test"},
			RequestHeaders:  &routetable.HeaderOps{Set: map[string]string{"x-set": "new"}, Add: map[string]string{"x-add": "more"}, Remove: []string{"x-gone"}},
			ResponseHeaders: &routetable.HeaderOps{Set: map[string]string{"x-out": "1"}, Remove: []string{"server"}},
		},
		{Name: "denied", Match: []routetable.Match{{Path: "/denied"}}, Upstream: "up", Deny: &routetable.CIDRs{CIDRs: []string{"127.0.0.0/8"}}},
		{Name: "closed", Match: []routetable.Match{{Path: "/closed"}}, Upstream: "up", Allow: &routetable.CIDRs{CIDRs: []string{"10.0.0.0/8"}}},
		{Name: "small", Match: []routetable.Match{{Path: "/small"}}, Upstream: "up", MaxBody: new(routetable.Bytes(2))},
		{Name: "beta", Match: []routetable.Match{{Path: "/beta", Query: []routetable.NameValue{{Name: "a b", Value: "c&d"}}, Headers: []routetable.NameValue{{Name: "x-beta", Value: "1"}}}}, Upstream: "up"},
		{Name: "slashes", Match: []routetable.Match{{PathPrefix: "/s"}}, Upstream: "up", EncodedSlashes: "keep"},
		{Name: "elsewhere", Match: []routetable.Match{{Path: "/elsewhere"}}, Upstream: "up", Listeners: []string{"https"}},
	}
	g := startGateway(t, dataplane.Config{}, spec)
	c := g.dial(t)
	for _, test := range []struct {
		request string
		status  int
		code    string
	}{
		{"GET /own", 418, ""},
		{"GET /old/a?b", 308, ""},
		{"GET /denied", 403, "denied"},
		{"GET /closed", 403, "denied"},
		{"GET /beta?a+b=c%26d HTTP/1.1\r\nX-Beta: 1", 200, ""},
		{"GET /beta?a+b=c HTTP/1.1\r\nX-Beta: 1", 404, "no_route"},
		{"GET /elsewhere", 404, "no_route"},
		{"GET /none", 404, "no_route"},
		{"GET /s/a%2fb", 200, ""},
		{"GET /s/a%2f..%2fb", 400, "bad_request"},
		{"GET /s%2fa", 404, "no_route"},
		{"GET /own%2f", 404, "no_route"},
		{"GET /api/a%2fb", 400, "bad_request"},
		{"POST /small HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", 200, ""},
		{"POST /small HTTP/1.1\r\nContent-Length: 3\r\n\r\nhi!", 413, "too_large"},
	} {
		line, rest, _ := strings.Cut(test.request, " HTTP/1.1\r\n")
		raw := line + " HTTP/1.1\r\nHost: a.test\r\n" + rest
		if !strings.Contains(rest, "\r\n\r\n") {
			raw = strings.TrimSuffix(raw, "\r\n") + "\r\n\r\n"
		}
		resp, body, _ := c.send(raw).answer(line[:strings.IndexByte(line, ' ')])
		if resp.StatusCode != test.status || resp.Header.Get("X-Meshgw-Error") != test.code {
			t.Errorf("%q: %d %q", test.request, resp.StatusCode, resp.Header.Get("X-Meshgw-Error"))
		}
		if resp.StatusCode == 308 && resp.Header.Get("Location") != "https://a.test/new/a?b" {
			t.Errorf("location %q", resp.Header.Get("Location"))
		}
		if resp.StatusCode == 418 && (body != "tea" || resp.Header.Get("X-Own") != "1" || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8") {
			t.Errorf("own answer %q, %v", body, resp.Header)
		}
		if test.code != "" && !json.Valid([]byte(body)) {
			t.Errorf("problem %q", body)
		}
		if resp.Close {
			c = g.dial(t)
		}
	}
	resp, _, _ := g.dial(t).send("GET /api/x HTTP/1.1\r\nHost: a.test\r\nX-Set: old\r\nX-Gone: 1\r\n\r\n").answer("GET")
	heads := up.seen()
	head := heads[len(heads)-1]
	if !strings.HasPrefix(head, "GET /v2/x HTTP/1.1\r\nhost: inner.test\r\n") || !strings.Contains(head, "x-set: new\r\n") ||
		!strings.Contains(head, "x-add: more\r\n") || strings.Contains(head, "old") || strings.Contains(head, "Gone") ||
		!strings.Contains(head, "x-forwarded-host: a.test\r\n") || resp.Header.Get("X-Out") != "1" {
		t.Errorf("upstream saw %q, client %v", head, resp.Header)
	}
}

func TestOnlyTrustedProxiesAreBelieved(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4, 6.6.6.6, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.test\r\n\r\n"
	for _, test := range []struct{ trusted, client, forwarded, proto string }{
		{"", "127.0.0.1", "127.0.0.1", "http"},
		{"127.0.0.0/8", "10.0.0.1", "1.2.3.4, 6.6.6.6, 10.0.0.1, 127.0.0.1", "https"},
		{"127.0.0.0/8 10.0.0.0/8", "6.6.6.6", "1.2.3.4, 6.6.6.6, 10.0.0.1, 127.0.0.1", "https"},
	} {
		up := startRecorder(t, nil)
		var cfg dataplane.Config
		for text := range strings.FieldsSeq(test.trusted) {
			cfg.TrustedProxies = append(cfg.TrustedProxies, netip.MustParsePrefix(text))
		}
		g := startGateway(t, cfg, toUpstream(up.addr))
		g.dial(t).send(request).answer("GET")
		head := up.seen()[0]
		if !strings.Contains(head, "\r\nx-forwarded-for: "+test.forwarded+"\r\n") || !strings.Contains(head, "\r\nx-forwarded-proto: "+test.proto+"\r\n") {
			t.Errorf("trusting %q: upstream saw %q", test.trusted, head)
		}
		g.stop()
		if !strings.Contains(g.log.String(), `"client_ip":"`+test.client+`"`) {
			t.Errorf("trusting %q: log %s", test.trusted, g.log)
		}
	}
}

func TestIdsAreKeptOrMade(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	resp, _, _ := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc.1-2_3\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n\r\n").answer("GET")
	head := up.seen()[0]
	if resp.Header.Get("X-Request-Id") != "abc.1-2_3" || !strings.Contains(head, "x-request-id: abc.1-2_3\r\n") ||
		!strings.Contains(head, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-") || strings.Contains(head, "b7ad6b7169203331") || !strings.Contains(head, "tracestate: a=b") {
		t.Errorf("upstream saw %q, client %v", head, resp.Header)
	}
	v7 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	resp, _, _ = g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: a b\r\ntraceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\r\ntracestate: a=b\r\n\r\n").answer("GET")
	head = up.seen()[1]
	if !v7.MatchString(resp.Header.Get("X-Request-Id")) || strings.Contains(head, "tracestate") || strings.Contains(head, "0000000000000000-") {
		t.Errorf("upstream saw %q, client %v", head, resp.Header)
	}
}

func TestLoopsEnd(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, &routetable.Spec{})
	g.publish(t, toUpstream(g.addr))
	resp, _, _ := g.dial(t).send(get).answer("GET")
	if resp.StatusCode != 508 || g.Load().Requests != 2 {
		t.Errorf("got %d after %d requests", resp.StatusCode, g.Load().Requests)
	}
}

func TestCapacityIsBounded(t *testing.T) {
	g := startGateway(t, dataplane.Config{MaxConnsPerIP: 2}, toUpstream())
	a, b := g.dial(t), g.dial(t)
	a.send(get).answer("GET")
	b.send(get).answer("GET")
	if got := g.dial(t).rest(); got != "" {
		t.Errorf("third connection got %q", got)
	}
	waitFor(t, func() bool {
		return strings.Contains(metricsText(t, g.reg), "meshgw_connections_closed_total{reason=\"per_client\"} 1\n")
	})
	a.Close()
	waitFor(t, func() bool {
		c := g.dial(t)
		_, err := fmt.Fprint(c.Conn, get)
		line, _ := c.r.ReadString('\n')
		return err == nil && line != ""
	})
}

func TestConnectionsOfTrustedProxiesAreNotCounted(t *testing.T) {
	g := startGateway(t, dataplane.Config{MaxConnsPerIP: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, toUpstream())
	for range 3 {
		if _, _, err := g.dial(t).send(get).answer("GET"); err != nil {
			t.Error(err)
		}
	}
}

// crowd has clients come until so many idle connections have made room.
func (g *gateway) crowd(t *testing.T, closed int) {
	t.Helper()
	waitFor(t, func() bool {
		g.dial(t).Close()
		return strings.Contains(metricsText(t, g.reg), fmt.Sprintf("meshgw_connections_closed_total{reason=\"idle\"} %d\n", closed))
	})
}

func TestAtTheLimitOfConnectionsAnIdleOneMakesRoom(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{MaxConns: 3}, toUpstream(up.addr))
	idle := g.dial(t).send(get)
	idle.answer("GET")
	young := g.dial(t)
	g.crowd(t, 1)
	if got := idle.rest(); got != "" {
		t.Errorf("the idle connection got %q", got)
	}
	waitFor(t, func() bool { return g.Load().Clients == 1 })
	for _, c := range []*client{young, g.dial(t)} {
		if resp, _, _ := c.send(get).answer("GET"); resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
	}
}

func TestAtTheLimitOfConnectionsAnIdleOneOfHTTP2MakesRoom(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{MaxConns: 2}, toUpstream(up.addr))
	if got, _ := overHTTP2(t).ask("GET", "http://"+g.addr+"/", nil); got.StatusCode != 200 || got.Proto != "HTTP/2.0" {
		t.Errorf("got %d in %s", got.StatusCode, got.Proto)
	}
	g.crowd(t, 1)
}

// A connection that is idle for longer than its buffers are kept still serves.
func TestParkedConnectionsServeOn(t *testing.T) {
	t.Parallel()
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t)
	for range 3 {
		if resp, body, _ := c.send(get).answer("GET"); resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("got %d %q", resp.StatusCode, body)
		}
		time.Sleep(400 * time.Millisecond)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	for range 3 {
		g.dial(t).send(get).answer("GET")
	}
	g.stop()
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	counted := byName["meshgw_requests_total"].GetMetric()
	if len(counted) != 1 || counted[0].GetCounter().GetValue() != 3 {
		t.Fatalf("counted %v", counted)
	}
	labels := map[string]string{}
	for _, l := range counted[0].GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	if labels["route"] != "all" || labels["upstream"] != "up" || labels["code"] != "200" || labels["region_served"] != "eu" {
		t.Errorf("labels %v", labels)
	}
	for _, name := range []string{"meshgw_request_duration_seconds", "meshgw_upstream_duration_seconds", "meshgw_upstream_pending", "meshgw_upstream_endpoints", "meshgw_circuit_open", "meshgw_retries_total", "meshgw_inflight_requests"} {
		if byName[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if load := g.Load(); load.Requests != 3 || load.Inflight != 0 {
		t.Errorf("load %+v", load)
	}
}

func TestAccessLogKeepsWhatItIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		mode       dataplane.AccessLog
		good, fail bool
	}{
		{dataplane.AccessLog{}, true, true},
		{dataplane.AccessLog{Off: true}, false, false},
		{dataplane.AccessLog{ErrorsOnly: true}, false, true},
		{dataplane.AccessLog{Ratio: 1e-12}, false, true},
	} {
		up := startRecorder(t, nil)
		spec := toUpstream(up.addr)
		spec.Routes[0].Hosts = []string{"a"}
		g := startGateway(t, dataplane.Config{AccessLog: test.mode}, spec)
		g.dial(t).send(get).answer("GET")
		g.dial(t).send("GET / HTTP/1.1\r\nHost: b\r\n\r\n").answer("GET")
		g.stop()
		log := g.log.String()
		if strings.Contains(log, `"status":200`) != test.good || strings.Contains(log, `"error":"no_route"`) != test.fail {
			t.Errorf("%+v: %s", test.mode, log)
		}
		for line := range strings.Lines(log) {
			if !json.Valid([]byte(line)) {
				t.Errorf("line %q", line)
			}
		}
	}
}
