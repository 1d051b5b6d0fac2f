package dataplane_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// mirrored is a spec with one route to addr whose requests are copied to shadow.
func mirrored(addr, shadow string, percent float64) *routetable.Spec {
	spec := toUpstream(addr)
	spec.Upstreams = append(spec.Upstreams, routetable.Upstream{Name: "shadow", Endpoints: []routetable.Endpoint{{URL: "http://" + shadow}}})
	spec.Routes[0].Mirror = &routetable.Mirror{Upstream: "shadow", Percent: percent}
	return spec
}

// until waits for a condition that must come true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// tally returns a counter of the gateway's with a label of that value.
func (g *gateway) tally(tb testing.TB, name, label string) float64 {
	tb.Helper()
	var gatherer prometheus.Gatherer = g.reg
	families, err := gatherer.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				if family.GetName() == name && pair.GetValue() == label {
					sum += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

func TestMirrorsGetTheWholeRequest(t *testing.T) {
	large := strings.Repeat("x", 40_000)
	for _, test := range []struct{ name, request, body string }{
		{"no body", "GET /a?b=c HTTP/1.1\r\nHost: h.test\r\n\r\n", ""},
		{"head", "HEAD /a?b=c HTTP/1.1\r\nHost: h.test\r\n\r\n", ""},
		{"small", "POST /a?b=c HTTP/1.1\r\nHost: h.test\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		{"streamed", fmt.Sprintf("POST /a?b=c HTTP/1.1\r\nHost: h.test\r\nContent-Length: %d\r\n\r\n%s", len(large), large), large},
		{"chunked", "POST /a?b=c HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"},
		{"chunked, empty", "POST /a?b=c HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := startRecorder(t, nil)
			bodies := make(chan string, 8)
			shadow := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
				req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), r)))
				if err != nil {
					return false
				}
				body, err := io.ReadAll(req.Body)
				if err != nil {
					return false
				}
				bodies <- string(body)
				io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nwrong")
				return false
			})
			g := startGateway(t, dataplane.Config{}, mirrored(up.addr, shadow.addr, 100))
			method, _, _ := strings.Cut(test.request, " ")
			got, body, err := g.dial(t).send(test.request).answer(method)
			if err != nil || got.StatusCode != 200 || method != "HEAD" && body != "ok" {
				t.Fatalf("the client got %v %d %q", err, got.StatusCode, body)
			}
			select {
			case body := <-bodies:
				if body != test.body {
					t.Errorf("the mirror got %d bytes, want %d", len(body), len(test.body))
				}
			case <-time.After(patience):
				t.Fatal("no copy came")
			}
			heads := shadow.seen()
			if want := method + " /a?b=c HTTP/1.1\r\nhost: h.test\r\n"; !strings.HasPrefix(heads[0], want) || len(heads) != 1 {
				t.Errorf("the mirror got %q, want %q", heads, want)
			}
			until(t, "one copy is counted", func() bool { return g.tally(t, "meshgw_mirrored_requests_total", "sent") == 1 })
		})
	}
}

func TestMirrorsNeverDelay(t *testing.T) {
	up := startRecorder(t, nil)
	silent := startRecorder(t, func(string, net.Conn, *bufio.Reader) bool { time.Sleep(50 * time.Millisecond); return true })
	g := startGateway(t, dataplane.Config{}, mirrored(up.addr, silent.addr, 100))
	c := g.dial(t)
	for range 200 {
		if got, _, err := c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET"); err != nil || got.StatusCode != 200 {
			t.Fatal(err, got.StatusCode)
		}
	}
	if dropped := g.tally(t, "meshgw_mirrored_requests_total", "dropped"); dropped != 200-64 {
		t.Errorf("%v copies dropped, want all but 64 that wait", dropped)
	}
	began := time.Now()
	g.stop() // nobody waits for copies
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopped after %v", took)
	}
}

func TestMirrorsTakeAShareAndNothingTooLarge(t *testing.T) {
	up, shadow := startRecorder(t, nil), startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, mirrored(up.addr, shadow.addr, 30))
	c := g.dial(t)
	copies := func(outcome string) float64 {
		return g.tally(t, "meshgw_mirrored_requests_total", outcome)
	}
	for range 1000 {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
	}
	until(t, "the copies have ended", func() bool {
		n := copies("sent") + copies("dropped")
		return n > 200 && n < 400
	})
	g.publish(t, mirrored(up.addr, shadow.addr, 100))
	dropped := copies("dropped")
	large := strings.Repeat("x", 70_000)
	g.dial(t).send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(large), large)).answer("POST")
	g.dial(t).send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(large), large)).answer("POST")
	until(t, "two more are dropped", func() bool { return copies("dropped") == dropped+2 })
}

func TestADeadMirrorHurtsNobody(t *testing.T) {
	up := startRecorder(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	g := startGateway(t, dataplane.Config{}, mirrored(up.addr, ln.Addr().String(), 100))
	c := g.dial(t)
	for range 20 {
		if got, _, err := c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET"); err != nil || got.StatusCode != 200 {
			t.Fatal(err, got.StatusCode)
		}
	}
	until(t, "all copies failed", func() bool { return g.tally(t, "meshgw_mirrored_requests_total", "failed") == 20 })
}
