package dataplane_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"
)

// traces keeps what a gateway traces.
type traces struct {
	mu  sync.Mutex
	all []*telemetry.Record
}

func (t *traces) add(r *telemetry.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, r.Clone())
}

// take returns what came since the last take.
func (t *traces) take() []*telemetry.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.all
	t.all = nil
	return all
}

const (
	sampled = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
	dropped = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n"
)

// traceparent returns what an upstream was sent as such.
func traceparent(head string) string {
	_, after, _ := strings.Cut(head, "\r\ntraceparent: ")
	value, _, _ := strings.Cut(after, "\r\n")
	return value
}

func TestEachTryIsTracedByTheIDThatItsEndpointWasTold(t *testing.T) {
	var mu sync.Mutex
	var told []string
	firstFails := func(head string, c net.Conn, r *bufio.Reader) bool {
		mu.Lock()
		defer mu.Unlock()
		if told = append(told, traceparent(head)); len(told) == 1 {
			io.WriteString(c, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
			return true
		}
		return okay(head, c, r)
	}
	up, other := startRecorder(t, firstFails), startRecorder(t, firstFails)
	var got traces
	g := startGateway(t, dataplane.Config{Traced: got.add}, toUpstream(up.addr, other.addr))
	c := g.dial(t)
	for range 2 { // the second shows nothing of the first
		if resp, _, _ := c.send("GET / HTTP/1.1\r\nHost: h\r\n" + sampled + "\r\n").answer("GET"); resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	g.stop() // the answer comes before what is told of it
	records := got.take()
	if len(records) != 2 || len(records[1].Attempts) != 1 || len(records[0].Attempts) != 2 || len(told) != 3 {
		t.Fatalf("got %+v, endpoints were told %q", records, told)
	}
	r := records[0]
	if string(r.TraceID) != "0af7651916cd43dd8448eb211c80319c" || string(r.ParentID) != "b7ad6b7169203331" {
		t.Errorf("trace %s, parent %s", r.TraceID, r.ParentID)
	}
	for i, a := range r.Attempts {
		if want := fmt.Sprintf("00-0af7651916cd43dd8448eb211c80319c-%016x-01", a.SpanID); told[i] != want {
			t.Errorf("try %d was told %s, and is traced as %s", i+1, told[i], want)
		}
	}
	if r.Attempts[0].SpanID == r.Attempts[1].SpanID {
		t.Error("both tries have one id")
	}
}

func TestWhatIsNotSampledIsTracedOnlyIfItFails(t *testing.T) {
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		if strings.HasPrefix(head, "GET /bad") {
			io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
			return true
		}
		return okay(head, c, r)
	})
	var got traces
	spec := toUpstream(up.addr)
	spec.Routes[0].Match = []routetable.Match{{PathPrefix: "/good"}, {PathPrefix: "/bad"}}
	g := startGateway(t, dataplane.Config{Traced: got.add, TraceRatio: 1}, spec)
	c := g.dial(t)
	for _, path := range []string{"/good", "/none", "/bad", "/good"} { // no route is the client's mistake
		c.send("GET " + path + " HTTP/1.1\r\nHost: h\r\n" + dropped + "\r\n").answer("GET")
	}
	g.stop()
	records := got.take()
	if len(records) != 1 || string(records[0].Path) != "/bad" {
		t.Errorf("traced %+v", records)
	}
}

func TestTheRatioHoldsForTracesThatBeginHere(t *testing.T) {
	up := startRecorder(t, nil)
	var got traces
	g := startGateway(t, dataplane.Config{Traced: got.add, TraceRatio: .25}, toUpstream(up.addr))
	c := g.dial(t)
	const requests = 1000
	for range requests {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").answer("GET")
	}
	g.stop()
	told := 0
	for _, head := range up.seen() {
		if strings.HasSuffix(traceparent(head), "-01") {
			told++
		}
	}
	if traced := len(got.take()); traced != told || traced < 150 || traced > 350 { // beyond 7 standard deviations
		t.Errorf("%d of %d traced, endpoints were told of %d", traced, requests, told)
	}
}
