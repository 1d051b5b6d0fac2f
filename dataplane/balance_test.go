package dataplane_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// closed returns an address that refuses connections.
func closed(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestDeadEndpointCostsNoRequest(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr, closed(t)))
	c := g.dial(t)
	for range 50 {
		if resp, _, _ := c.send(get).answer("GET"); resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		if resp, _, _ := c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").answer("POST"); resp.StatusCode != 200 {
			t.Fatalf("POST: status %d", resp.StatusCode) // nothing was sent, so it may go elsewhere
		}
	}
}

// Two of three endpoints are dead, and one retry is all there is: once a dead one has
// been met, no retry goes there rather than to the one that lives.
func TestARetryGoesToAnEndpointThatHasNotJustFailed(t *testing.T) {
	up := startRecorder(t, nil)
	spec := toUpstream(closed(t), up.addr, closed(t))
	spec.Upstreams[0].CircuitBreaker = &routetable.CircuitBreaker{ConsecutiveFailures: 1000}
	spec.Upstreams[0].Retries = &routetable.Retries{BudgetPercent: new(100)}
	g := startGateway(t, dataplane.Config{}, spec)
	c := g.dial(t)
	failed := 0
	for range 60 {
		if resp, _, _ := c.send(get).answer("GET"); resp.StatusCode != 200 {
			failed++
		}
	}
	if failed > 1 {
		t.Errorf("%d of 60 failed, want at most the one that finds both", failed)
	}
}

func TestWhatThisNodeHasRunOutOfIsNotTheEndpointsFault(t *testing.T) {
	up := startRecorder(t, nil)
	var out atomic.Bool
	out.Store(true)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if out.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", syscall.EMFILE)}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	g := startGateway(t, dataplane.Config{Dial: dial}, toUpstream(up.addr))
	c := g.dial(t)
	for range 20 {
		if resp, _, _ := c.send(get).answer("GET"); resp.Header.Get("x-meshgw-error") != "overloaded" {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.Header.Get("x-meshgw-error"))
		}
	}
	out.Store(false)
	if resp, _, _ := c.send(get).answer("GET"); resp.StatusCode != 200 {
		t.Errorf("after: status %d, %s", resp.StatusCode, resp.Header.Get("x-meshgw-error"))
	}
}

// All local ports may lead to one endpoint, and be free for another.
func TestWhereNoPortLeadsToOneEndpointAnotherIsAsked(t *testing.T) {
	full, up := startRecorder(t, nil), startRecorder(t, nil)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == full.addr {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	g := startGateway(t, dataplane.Config{Dial: dial}, toUpstream(full.addr, up.addr))
	c := g.dial(t)
	for range 100 {
		if resp, _, _ := c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").answer("POST"); resp.StatusCode != 200 {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.Header.Get("x-meshgw-error"))
		}
	}
	g = startGateway(t, dataplane.Config{Dial: dial}, toUpstream(full.addr))
	for range 20 {
		if resp, _, _ := g.dial(t).send(get).answer("GET"); resp.Header.Get("x-meshgw-error") != "overloaded" {
			t.Fatalf("nowhere else: status %d, %s", resp.StatusCode, resp.Header.Get("x-meshgw-error"))
		}
	}
}

func TestOnlyIdempotentRequestsAreSentAgain(t *testing.T) {
	var hits atomic.Int64
	hangUp := func(string, net.Conn, *bufio.Reader) bool { hits.Add(1); return false }
	for _, test := range []struct {
		method, field string
		want          int64
	}{{"GET", "", 2}, {"PUT", "", 2}, {"POST", "", 1}, {"PATCH", "", 1}, {"POST", "Idempotency-Key: \"7\"\r\n", 2}} {
		hits.Store(0)
		g := startGateway(t, dataplane.Config{}, toUpstream(startRecorder(t, hangUp).addr, startRecorder(t, hangUp).addr))
		resp, _, _ := g.dial(t).send(test.method + " / HTTP/1.1\r\nHost: a\r\n" + test.field + "\r\n").answer(test.method)
		if resp.StatusCode != 502 || hits.Load() != test.want {
			t.Errorf("%s %s: status %d after %d tries, want %d", test.method, test.field, resp.StatusCode, hits.Load(), test.want)
		}
	}
}

func TestUnavailableAnswersAreTriedElsewhere(t *testing.T) {
	bad := startRecorder(t, always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"))
	good := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(bad.addr, good.addr))
	c := g.dial(t)
	for range 20 {
		if resp, _, _ := c.send(get).answer("GET"); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if first, second := bad.seen()[0], good.seen(); strings.Contains(first, "x-meshgw-attempt") || !slices.ContainsFunc(second, func(head string) bool {
		return strings.Contains(head, "\r\nx-meshgw-attempt: 2\r\n")
	}) {
		t.Errorf("the tries do not tell their number:\n%s\n%s", first, second)
	}
	alone := startGateway(t, dataplane.Config{}, toUpstream(bad.addr))
	resp, body, _ := alone.dial(t).send(get).answer("GET")
	if resp.StatusCode != 503 || body != "busy" || resp.Header.Get("X-Meshgw-Error") != "" {
		t.Errorf("got %d %q: the upstream's own answer is final without another endpoint", resp.StatusCode, body)
	}
}

// A connection that the upstream closed while it was idle harms nobody.
func TestStaleConnectionsAreNotUsed(t *testing.T) {
	closed, answer := make(chan struct{}, 20), once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		answer(head, c, r)
		c.Close()
		closed <- struct{}{}
		return false
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t)
	for i := range 20 {
		resp, _, _ := c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").answer("POST")
		if resp.StatusCode != 200 {
			t.Fatalf("request %d: status %d", i, resp.StatusCode)
		}
		<-closed
	}
	if n := len(up.seen()); n != 20 {
		t.Errorf("the upstream saw %d requests, want 20", n)
	}
}

// It says less of the endpoint than of the request, so nobody gets it unasked.
func TestA500IsTriedAgainOnlyWhereThatIsAskedFor(t *testing.T) {
	for _, tt := range []struct {
		on     []string
		method string
		want   int // clients that get it
	}{
		{nil, "GET", 5},
		{[]string{"500"}, "GET", 0},
		{[]string{"500"}, "POST", 5}, // it may have been done
	} {
		broken := startRecorder(t, always("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"))
		spec := toUpstream(broken.addr, startRecorder(t, okay).addr)
		spec.Upstreams[0].Balance = &routetable.Balance{Policy: "round_robin"}
		spec.Upstreams[0].Retries = &routetable.Retries{On: tt.on}
		c := startGateway(t, dataplane.Config{}, spec).dial(t)
		failed := 0
		for range 10 {
			resp, _, err := c.send(tt.method + " / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").answer(tt.method)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode == 500 {
				failed++
			}
		}
		if failed != tt.want {
			t.Errorf("%s, tried again on %v: %d of 10 failed, want %d", tt.method, tt.on, failed, tt.want)
		}
	}
}

func TestRetriesStayWithinTheBudget(t *testing.T) {
	var hits atomic.Int64
	busy := func(head string, c net.Conn, r *bufio.Reader) bool {
		hits.Add(1)
		return always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")(head, c, r)
	}
	spec := toUpstream(startRecorder(t, busy).addr, startRecorder(t, busy).addr)
	spec.Upstreams[0].CircuitBreaker = &routetable.CircuitBreaker{Enabled: new(false)}
	g := startGateway(t, dataplane.Config{}, spec)
	c := g.dial(t)
	const requests = 300
	for range requests {
		c.send(get).answer("GET")
	}
	if limit := int64(requests*12/10 + 1); hits.Load() > limit {
		t.Errorf("%d tries for %d requests, want at most %d", hits.Load(), requests, limit)
	}
}

func TestSlowUpstreamIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	up := startRecorder(t, func(string, net.Conn, *bufio.Reader) bool { <-release; return false })
	defer close(release)
	spec := toUpstream(up.addr)
	spec.Upstreams[0].Timeouts = &routetable.Timeouts{Response: new(routetable.Duration(50 * time.Millisecond))}
	g := startGateway(t, dataplane.Config{}, spec)
	resp, _, _ := g.dial(t).send(get).answer("GET")
	if resp.StatusCode != 504 || resp.Header.Get("X-Meshgw-Error") != "upstream_timeout" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
}

func TestBreakerOpensAndSaysSo(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, toUpstream(closed(t)))
	c := g.dial(t)
	codes := map[string]int{}
	for range 10 {
		resp, _, _ := c.send(get).answer("GET")
		codes[resp.Header.Get("X-Meshgw-Error")]++
	}
	if codes["connect_failure"] != 5 || codes["circuit_open"] != 5 {
		t.Errorf("got %v", codes)
	}
	if s := g.Upstreams(); len(s) != 1 || s[0].State != "open" {
		t.Errorf("status %+v", s)
	}
}

func TestPendingQueueIsBounded(t *testing.T) {
	release := make(chan struct{})
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		<-release
		return okay(head, c, r)
	})
	spec := toUpstream(up.addr)
	spec.Upstreams[0].MaxConnections, spec.Upstreams[0].MaxPending = 1, new(1)
	g := startGateway(t, dataplane.Config{}, spec)
	first, second := g.dial(t).send(get), g.dial(t)
	waitFor(t, func() bool { return len(up.seen()) == 1 })
	second.send(get)
	waitFor(t, func() bool { return g.Upstreams()[0].Pending == 1 })
	resp, _, _ := g.dial(t).send(get).answer("GET")
	if resp.StatusCode != 503 || resp.Header.Get("X-Meshgw-Error") != "pending_full" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	close(release)
	for _, c := range []*client{first, second} {
		if resp, _, _ := c.answer("GET"); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("waited in vain")
		}
	}
}

func TestControlAddressesAreNeverDialled(t *testing.T) {
	up := startRecorder(t, nil)
	own := netip.MustParseAddrPort(up.addr)
	cfg := dataplane.Config{
		Control: func(a netip.AddrPort) bool { return a == own },
		Resolve: func(_ context.Context, name string) ([]netip.Addr, error) {
			if name == "metadata.test" {
				return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
			}
			return []netip.Addr{own.Addr()}, nil
		},
	}
	for _, to := range []string{up.addr, fmt.Sprintf("control.test:%d", own.Port()), "metadata.test:80", "169.254.169.254:80", "0.0.0.0:80"} {
		g := startGateway(t, cfg, toUpstream(to))
		if resp, _, _ := g.dial(t).send(get).answer("GET"); resp.StatusCode != 502 {
			t.Errorf("%s: status %d", to, resp.StatusCode)
		}
	}
	if len(up.seen()) > 0 {
		t.Error("the control address was reached")
	}
}

// The first look-up takes longer than a request waits for a connection. It must not
// begin anew with each.
func TestASlowNameServerIsAskedOnce(t *testing.T) {
	t.Parallel()
	up := startRecorder(t, nil)
	at := netip.MustParseAddrPort(up.addr)
	var asked atomic.Int64
	cfg := dataplane.Config{Resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		asked.Add(1)
		select {
		case <-time.After(400 * time.Millisecond):
			return []netip.Addr{at.Addr()}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	spec := toUpstream(fmt.Sprintf("name.test:%d", at.Port()))
	spec.Upstreams[0].Timeouts = &routetable.Timeouts{Connect: new(routetable.Duration(50 * time.Millisecond))}
	g := startGateway(t, cfg, spec)
	for began := time.Now(); ; {
		resp, _, _ := g.dial(t).send(get).answer("GET")
		if resp.StatusCode == 200 {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("still status %d, %s after %d look-ups", resp.StatusCode, resp.Header.Get("x-meshgw-error"), asked.Load())
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAllAddressesOfANameAreUsed(t *testing.T) {
	dead, up := netip.MustParseAddr("127.0.0.9"), startRecorder(t, nil)
	at := netip.MustParseAddrPort(up.addr)
	cfg := dataplane.Config{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{dead, at.Addr()}, nil
	}}
	g := startGateway(t, cfg, toUpstream(fmt.Sprintf("name.test:%d", at.Port())))
	for range 4 {
		if resp, _, _ := g.dial(t).send(get).answer("GET"); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
}

// load sends GETs over keep-alive connections that are opened again when the
// gateway says so, until stop, and returns how many were answered and failed.
func load(t *testing.T, addr string, clients int, stop <-chan struct{}) (answered, failed int64) {
	t.Helper()
	var ok, bad atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			var c net.Conn
			var r *bufio.Reader
			defer func() {
				if c != nil {
					c.Close()
				}
			}()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c == nil {
					var err error
					if c, err = net.Dial("tcp", addr); err != nil {
						return // the listener is closed: the drain is over
					}
					r = bufio.NewReader(c)
				}
				io.WriteString(c, get)
				head, err := readHead(r)
				if err != nil || !strings.HasPrefix(head, "HTTP/1.1 200") {
					bad.Add(1)
					c.Close()
					c = nil
					continue
				}
				io.CopyN(io.Discard, r, 2)
				ok.Add(1)
				if strings.Contains(head, "connection: close") {
					c.Close()
					c = nil
				}
			}
		})
	}
	wg.Wait()
	return ok.Load(), bad.Load()
}

func TestTablesAreSwappedUnderLoadWithoutLoss(t *testing.T) {
	a, b := startRecorder(t, nil), startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(a.addr))
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for i := range 100 {
			spec := toUpstream(a.addr, b.addr)
			if i%2 == 1 {
				spec = toUpstream(b.addr)
			}
			g.publish(t, spec)
			time.Sleep(3 * time.Millisecond)
		}
	}()
	if ok, bad := load(t, g.addr, 8, stop); bad > 0 || ok == 0 {
		t.Errorf("%d answered, %d failed", ok, bad)
	}
}

func TestKilledEndpointFailsNoGet(t *testing.T) {
	ups := []*recorder{startRecorder(t, nil), startRecorder(t, nil)}
	var killed atomic.Bool
	victim := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		return !killed.Load() && okay(head, c, r)
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(ups[0].addr, ups[1].addr, victim.addr))
	stop := make(chan struct{})
	go func() {
		time.Sleep(200 * time.Millisecond)
		killed.Store(true)
		time.Sleep(300 * time.Millisecond)
		close(stop)
	}()
	if ok, bad := load(t, g.addr, 8, stop); bad > 0 || ok == 0 {
		t.Errorf("%d answered, %d failed", ok, bad)
	}
}

func TestDrainLosesNoRequest(t *testing.T) {
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		time.Sleep(time.Millisecond)
		return okay(head, c, r)
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		time.Sleep(200 * time.Millisecond)
		g.SetDraining(true)
		time.Sleep(200 * time.Millisecond)
		g.stop()
	}()
	ok, bad := load(t, g.addr, 8, stop)
	// A connection that is opened in the very moment the listener closes is
	// reset by the kernel; one per client at most.
	if bad > 8 || ok == 0 {
		t.Errorf("%d answered, %d failed", ok, bad)
	}
	if strings.Contains(g.log.String(), `"level":"error"`) {
		t.Errorf("log %s", g.log)
	}
}

func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	release := make(chan struct{})
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool { <-release; return okay(head, c, r) })
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c, idle := g.dial(t).send(get), g.dial(t)
	waitFor(t, func() bool { return g.Load().Inflight == 1 })
	done := make(chan struct{})
	go func() { g.stop(); close(done) }()
	if rest := idle.rest(); rest != "" {
		t.Errorf("idle connection got %q", rest)
	}
	close(release)
	if resp, body, err := c.answer("GET"); err != nil || body != "ok" || !resp.Close {
		t.Errorf("got %v %q %v", resp, body, err)
	}
	<-done
}

func TestDrainEndsInTime(t *testing.T) {
	release := make(chan struct{})
	up := startRecorder(t, func(string, net.Conn, *bufio.Reader) bool { <-release; return false })
	defer close(release)
	g := startGateway(t, dataplane.Config{DrainFinish: 50 * time.Millisecond}, toUpstream(up.addr))
	g.dial(t).send(get)
	waitFor(t, func() bool { return len(up.seen()) == 1 })
	begun := time.Now()
	g.stop()
	if took := time.Since(begun); took > 10*time.Second { // half a minute without a bound
		t.Errorf("took %v", took)
	}
}

// Endpoints of other regions are used only where the upstream says so, and only
// when this region has none left.
func TestOtherRegionsServeWhenThisOneCannot(t *testing.T) {
	far := startRecorder(t, nil)
	for via, status := range map[string]int{"direct": 200, "mesh": 503} {
		spec := toUpstream()
		spec.Upstreams[0].Endpoints = []routetable.Endpoint{{URL: "http://" + closed(t), Region: "eu"}, {URL: "http://" + far.addr, Region: "us"}}
		spec.Upstreams[0].Failover = &routetable.Failover{Via: via}
		g := startGateway(t, dataplane.Config{}, spec)
		c := g.dial(t)
		waitFor(t, func() bool {
			resp, _, _ := c.send(get).answer("GET")
			return resp.StatusCode == status
		})
		g.stop() // counted after the answer
		families, err := g.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := false
		for _, f := range families {
			counted = counted || f.GetName() == "meshgw_failover_requests_total" && len(f.GetMetric()) > 0
		}
		if counted != (status == 200) {
			t.Errorf("via %s: failover counted %v", via, counted)
		}
	}
}

// The last try of a request does not go to an endpoint that is as silent as the one
// that it has given up.
func TestWhereAllOfARegionIsSilentAnotherAnswers(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var frozen atomic.Bool
			near := func() *recorder {
				return startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
					if frozen.Load() {
						_, _ = r.ReadByte() // until the connection is closed
						return false
					}
					return okay(head, c, r)
				})
			}
			one, two := near(), near()
			spec := toUpstream(one.addr, two.addr, startRecorder(t, okay).addr)
			spec.Upstreams[0].Failover = &routetable.Failover{Via: "direct"}
			spec.Upstreams[0].Timeouts = &routetable.Timeouts{Response: new(routetable.Duration(time.Minute)), Request: new(routetable.Duration(2 * time.Minute))}
			for i, region := range []string{"eu", "eu", "us"} {
				spec.Upstreams[0].Endpoints[i].Region = region
			}
			g := startGateway(t, dataplane.Config{Region: "eu"}, spec)
			client := clientOf(t, protocol)
			ask := func() int {
				a, _ := client.ask(http.MethodGet, "http://"+g.addr+"/", nil)
				return a.StatusCode
			}
			waitFor(t, func() bool { ask(); return len(one.seen()) > 0 && len(two.seen()) > 0 })
			frozen.Store(true)
			if status := ask(); status != 200 {
				t.Errorf("status %d", status)
			}
		})
	}
}
