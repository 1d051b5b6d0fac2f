package dataplane_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// line is a gateway whose upstream takes one request at a time and answers when
// it is told to.
type line struct {
	t    *testing.T
	g    *gateway
	next chan struct{}

	mu    sync.Mutex
	order []string // of the requests as they were served: their paths
	codes map[string]string
	wg    sync.WaitGroup
}

func newLine(t *testing.T, pending int) *line {
	t.Helper()
	l := &line{t: t, next: make(chan struct{}), codes: map[string]string{}}
	rec := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		l.mu.Lock()
		l.order = append(l.order, strings.Fields(head)[1])
		l.mu.Unlock()
		<-l.next
		return okay(head, c, r)
	})
	spec := toUpstream(rec.addr)
	spec.Upstreams[0].MaxConnections, spec.Upstreams[0].MaxPending = 1, &pending
	spec.Routes = append(spec.Routes,
		routetable.Route{Name: "low", Upstream: "up", Priority: "low", Match: []routetable.Match{{PathPrefix: "/low"}}},
		routetable.Route{Name: "high", Upstream: "up", Priority: "high", Match: []routetable.Match{{PathPrefix: "/high"}}})
	for _, name := range []string{"noisy", "quiet", "vip"} {
		tenant := routetable.Tenant{Name: name, Identify: &routetable.Identify{Header: "x-tenant", Value: name}}
		if name == "vip" {
			tenant.Priority = "critical"
		}
		spec.Tenants = append(spec.Tenants, tenant)
	}
	l.g = startGateway(t, dataplane.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, spec)
	t.Cleanup(l.wg.Wait)
	return l
}

// send sends a request and waits until it is served or stands in line, or, where
// it is refused, until it is.
func (l *line) send(path, tenant string) {
	l.t.Helper()
	before, done := l.standing(), len(l.answered())
	c := l.g.dial(l.t).send(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: h\r\nx-tenant: %s\r\nConnection: close\r\n\r\n", path, tenant))
	l.wg.Go(func() {
		answer, err := io.ReadAll(c.r)
		if err != nil || len(answer) < 12 {
			l.t.Errorf("%s: %q, %v", path, answer, err)
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.codes[path] = string(answer[9:12])
	})
	soon(l.t, func() bool { return l.standing() > before || len(l.answered()) > done })
}

// standing is how many requests are served or wait.
func (l *line) standing() int {
	l.mu.Lock()
	served := len(l.order)
	l.mu.Unlock()
	return served + l.g.Upstreams()[0].Pending
}

func (l *line) answered() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.codes)
}

// serveAll lets the upstream answer all, and returns in which order it was asked.
func (l *line) serveAll() string {
	l.t.Helper()
	close(l.next)
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.order, " ")
}

func TestWhoWaitsIsServedByPriority(t *testing.T) {
	l := newLine(t, 100)
	l.send("/first", "")
	for _, path := range []string{"/low", "/normal", "/high", "/low/2"} {
		l.send(path, "")
	}
	l.send("/critical", "vip")
	if got, want := l.serveAll(), "/first /critical /high /normal /low /low/2"; got != want {
		t.Errorf("served %s, want %s", got, want)
	}
}

func TestTenantsWaitInTurns(t *testing.T) {
	l := newLine(t, 100)
	l.send("/first", "noisy")
	for i := range 5 {
		l.send(fmt.Sprint("/n", i), "noisy")
	}
	l.send("/q0", "quiet")
	l.send("/q1", "quiet")
	if got, want := l.serveAll(), "/first /n0 /q0 /n1 /q1 /n2 /n3 /n4"; got != want {
		t.Errorf("served %s, want %s", got, want)
	}
}

func TestWhoFillsTheLineMakesRoom(t *testing.T) {
	l := newLine(t, 3)
	l.send("/first", "noisy")
	for i := range 4 {
		l.send(fmt.Sprint("/n", i), "noisy")
	}
	l.send("/q0", "quiet")
	soon(t, func() bool { return len(l.answered()) == 2 })
	got := l.serveAll()
	if want := "/first /n0 /q0 /n1"; got != want {
		t.Errorf("served %s, want %s", got, want)
	}
	for path, want := range map[string]string{"/n2": "503", "/n3": "503", "/q0": "200", "/n1": "200"} {
		if code := l.answered()[path]; code != want {
			t.Errorf("%s answered %s, want %s", path, code, want)
		}
	}
}
