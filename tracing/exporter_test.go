package tracing_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/internal/collector"
	"github.com/meshgw/meshgw/telemetry"
	"github.com/meshgw/meshgw/tracing"
)

const traceID, callerID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

// request is one that was tried twice.
func request() *telemetry.Record {
	return &telemetry.Record{
		Start: time.Now(), RequestID: []byte("r-1"), TraceID: []byte(traceID), ParentID: []byte(callerID), Secure: true,
		Protocol: "HTTP/1.1", Listener: "https", Method: []byte("GET"), Host: []byte("api.example.com"), Path: []byte("/orders/7"),
		Client: netip.MustParseAddr("192.0.2.7"), Route: []byte("orders"), Version: 12, Tenant: "acme", Upstream: "orders",
		Attempts: []telemetry.Attempt{
			{Endpoint: "http://10.0.1.10:8080", Region: "eu", Outcome: "connect_failure", Took: time.Millisecond, SpanID: 0x11},
			{Endpoint: "mesh://us-2", Region: "us", Outcome: "ok", Status: 200, After: 5 * time.Millisecond, Took: 2 * time.Millisecond, SpanID: 0x22},
		},
		Status: 200, In: 3, Out: 1024, Took: 9 * time.Millisecond,
	}
}

// start runs an Exporter to url until the function returned is called.
func start(t *testing.T, url string) (*tracing.Exporter, *bytes.Buffer, func()) {
	t.Helper()
	var log bytes.Buffer
	e, err := tracing.New(tracing.Config{URL: url, Node: "eu-1", Region: "eu", Version: "1.2.3"}, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, &log, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// checkSpans looks at the spans of request.
func checkSpans(t *testing.T, spans []collector.Span) {
	t.Helper()
	if len(spans) != 3 {
		t.Fatalf("got %d spans, want one of the request and one of each try: %+v", len(spans), spans)
	}
	first, second, all := spans[0], spans[1], spans[2] // as they end
	if all.Name != "GET orders" || !all.Server || all.Failed || all.Trace != traceID || all.Parent != callerID || all.End.Sub(all.Start) != 9*time.Millisecond {
		t.Errorf("the request's span is %+v", all)
	}
	for key, want := range map[string]any{
		"http.request.method": "GET", "url.path": "/orders/7", "url.scheme": "https", "server.address": "api.example.com", "client.address": "192.0.2.7",
		"http.response.status_code": int64(200), "meshgw.request_id": "r-1", "meshgw.route": "orders", "meshgw.tenant": "acme", "meshgw.routes_version": int64(12),
		"error.type": nil, "network.protocol.version": "1.1",
	} {
		if got := all.Attributes[key]; got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
	if all.Node["service.name"] != "meshgw" || all.Node["service.instance.id"] != "eu-1" || all.Node["service.version"] != "1.2.3" || all.Node["meshgw.region"] != "eu" {
		t.Errorf("the node is %v", all.Node)
	}
	if first.ID != "0000000000000011" || first.Parent != all.ID || first.Server || !first.Failed || first.Attributes["error.type"] != "connect_failure" || first.Attributes["server.port"] != int64(8080) {
		t.Errorf("the first try's span is %+v", first)
	}
	if second.ID != "0000000000000022" || second.Parent != all.ID || second.Trace != traceID || second.Failed || second.Attributes["http.request.resend_count"] != int64(1) ||
		second.Start.Sub(all.Start) != 5*time.Millisecond || second.End.Sub(second.Start) != 2*time.Millisecond {
		t.Errorf("the second try's span is %+v", second)
	}
}

func TestARequestAndItsTriesBecomeSpansOverHTTP(t *testing.T) {
	c := &collector.Collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	e, _, stop := start(t, server.URL)
	e.Add(request())
	stop() // sends the rest
	checkSpans(t, c.Spans())
	if got := e.Stats(); got != (tracing.Stats{Exported: 3}) {
		t.Errorf("stats %+v", got)
	}
}

func TestARequestAndItsTriesBecomeSpansOverGRPC(t *testing.T) {
	c := &collector.Collector{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- c.ServeGRPC(ctx, ln) }()
	e, _, stop := start(t, "grpc://"+ln.Addr().String())
	e.Add(request())
	stop()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	checkSpans(t, c.Spans())
}

func TestATraceThatBeginsHereHasNoParent(t *testing.T) {
	c := &collector.Collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	e, _, stop := start(t, server.URL)
	r := request()
	r.ParentID, r.Attempts, r.Status, r.Error, r.Method = nil, nil, 503, "no_healthy_upstream", []byte("BREW")
	e.Add(r)
	stop()
	spans := c.Spans()
	if len(spans) != 1 {
		t.Fatalf("got %+v", spans)
	}
	if s := spans[0]; s.Trace != traceID || s.Parent != "" || !s.Failed || s.Attributes["error.type"] != "no_healthy_upstream" ||
		s.Name != "HTTP orders" || s.Attributes["http.request.method"] != "_OTHER" {
		t.Errorf("got %+v", s)
	}
}

func TestACollectorThatHangsMakesNobodyWaitAndIsCounted(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	e, log, stop := start(t, server.URL)
	const added = 10_000
	began := time.Now()
	for range added {
		e.Add(request())
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("adding took %v", took)
	}
	if got := e.Stats().Dropped; got == 0 || got > added {
		t.Errorf("%d of %d dropped", got, added)
	}
	began = time.Now()
	stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the end took %v", took)
	}
	got := e.Stats()
	if got.Exported != 0 || got.Failed+3*got.Dropped != 3*added {
		t.Errorf("%+v of %d records of 3 spans", got, added)
	}
	if said := strings.Count(log.String(), "not taken by the collector"); said != 1 {
		t.Errorf("said %d times: %s", said, log)
	}
}

func TestAURLThatIsNoCollectorsIsRefusedWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:4318", "ftp://h:1", "http://", "http://me:hunter2@h:4318", "http://h:4318:%zz"} {
		err := tracing.CheckURL(url)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, url := range []string{"http://h:4318", "https://h/v1/traces", "grpc://h:4317", "grpcs://[::1]:4317"} {
		if err := tracing.CheckURL(url); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}
