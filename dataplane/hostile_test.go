package dataplane_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// hostile is an endpoint that does not do as it should.
type hostile struct {
	name     string
	protocol string // http1, h2c or h2 (over TLS)
	serve    func(c net.Conn)
	well     bool // whoever only asks is answered all the same
}

// answerTo is what a good endpoint answers.
func answerTo(path string) string { return "answer to " + path }

// Whatever an endpoint does, nobody gets the wrong answer, or half of one as if it
// were whole; nobody waits for longer than the upstream's timeouts; and nothing is
// left of it afterwards: while many ask, while tables change, while the node drains.
func TestHostileEndpoints(t *testing.T) {
	var all sync.WaitGroup
	turns := make(chan struct{}, 8) // more than there are processors: most of them wait
	if os.Getenv("MESHGW_FULL") != "" {
		turns = make(chan struct{}, 2)
	}
	for _, h := range slices.Concat(hostileHTTP1(), hostileHTTP2(), hostileTLS()) {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			t.Run(h.protocol+" "+h.name, func(t *testing.T) { h.test(t) })
		})
	}
	all.Wait()
}

func (h *hostile) test(t *testing.T) {
	t.Helper()
	bad, good := serveConns(t, h.serve), serveConns(t, serveHTTP1(wellHTTP1))
	spec, other := h.spec(bad), toUpstream(good)
	g := startGateway(t, dataplane.Config{DrainFinish: 500 * time.Millisecond, AccessLog: dataplane.AccessLog{Off: true}}, spec)
	crowd := newCrowd(t, g.addr)
	if answered := crowd.ask(h.well); h.well && answered == 0 {
		t.Error("nobody was answered")
	}
	eventually(t, "slots and counts are given back", func() bool {
		u := g.Upstreams()[0]
		return g.Load().Inflight == 0 && u.Inflight == 0 && u.Pending == 0
	})

	edits := make(chan struct{})
	var editing sync.WaitGroup
	editing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-edits:
				return
			case <-time.After(10 * time.Millisecond):
				g.publish(t, []*routetable.Spec{other, spec}[i%2])
			}
		}
	})
	crowd.ask(false)
	close(edits)
	editing.Wait()

	g.publish(t, other)
	if a, body := clientOf(t, "HTTP/1.1").ask("GET", "http://"+g.addr+"/after", nil); a.StatusCode != 200 || body != answerTo("/after") {
		t.Errorf("a good endpoint afterwards: %d %q", a.StatusCode, body)
	}
	g.publish(t, spec)
	time.AfterFunc(20*time.Millisecond, g.stop)
	crowd.leaving = true
	crowd.ask(false)
	within(t, 30*time.Second, "drain", g.stop)
	if n := g.Load(); n.Inflight != 0 || n.Clients != 0 {
		t.Errorf("after the drain: %+v", n)
	}
}

func (h *hostile) spec(addr string) *routetable.Spec {
	spec := toUpstream(addr)
	u := &spec.Upstreams[0]
	u.Protocol = h.protocol
	if h.protocol == "h2" {
		u.Endpoints[0].URL = "https://" + addr
	}
	short, long := routetable.Duration(80*time.Millisecond), routetable.Duration(120*time.Millisecond)
	u.Timeouts = &routetable.Timeouts{Connect: &short, Response: &short, Request: &long, Idle: &short}
	u.CircuitBreaker = &routetable.CircuitBreaker{Enabled: new(false)}
	if h.well {
		patient := routetable.Duration(25 * time.Second)
		u.Timeouts = &routetable.Timeouts{Connect: &patient, Response: &patient, Request: &patient}
	}
	return spec
}

// crowd is many clients.
type crowd struct {
	t       *testing.T
	addr    string
	clients []*http.Client
	leaving bool // the gateway is: that there is nobody is no failure
}

func newCrowd(t *testing.T, addr string) *crowd {
	t.Helper()
	c := &crowd{t: t, addr: addr}
	for _, protocol := range bothProtocols() {
		client := clientOf(t, protocol).Client
		client.Timeout = 0 // each request has its own
		c.clients = append(c.clients, client)
	}
	return c
}

// ask lets all of them ask at once, and then again, and returns how many were
// answered. well: those who send nothing must be.
func (c *crowd) ask(well bool) (answered int) {
	c.t.Helper()
	many, times := 8, 1
	if os.Getenv("MESHGW_FULL") != "" {
		many, times = 200, 3
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range many {
		all.Go(func() {
			for n := range times {
				path := fmt.Sprintf("/%d/%d", i, n)
				ok, err := c.one(i+n, path)
				mu.Lock()
				if ok {
					answered++
				}
				if err != nil && !c.leaving || well && (i+n)%3 == 0 && !ok {
					c.t.Errorf("%s: answered %v, %v", path, ok, err)
				}
				mu.Unlock()
			}
		})
	}
	within(c.t, time.Minute, "all of the crowd", all.Wait)
	return answered
}

// one asks by GET, by POST of a little or by POST of a stream. It reports whether
// it got the whole answer; what it must never get is an error.
func (c *crowd) one(kind int, path string) (answered bool, err error) {
	method, body := "POST", io.Reader(nil)
	switch kind % 3 {
	case 0:
		method = "GET"
	case 1:
		body = strings.NewReader("little")
	case 2:
		body = io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, body)
	resp, err := c.clients[kind/3%2].Do(req)
	if err != nil {
		return false, hung(ctx, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch code := resp.Header.Get("X-Meshgw-Error"); {
	case err != nil:
		return false, hung(ctx, err) // cut short, and told so
	case resp.StatusCode == 200 && string(got) == answerTo(path):
		return true, nil
	case code != "" && slices.Contains([]int{502, 503, 504}, resp.StatusCode):
		return false, nil
	}
	return false, fmt.Errorf("wrong answer: %d %q", resp.StatusCode, got)
}

// hung returns err if it is that the time was up: all else may be the endpoint's.
func hung(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(errors.New("no answer"), err)
	}
	return nil
}

// within fails the test if f does not return in time.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s: not within %s", what, d)
	}
}

// serveConns serves each connection by serve, to the end of the test.
func serveConns(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				defer func() {
					c.Close()
					mu.Lock()
					delete(open, c)
					mu.Unlock()
				}()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln.Addr().String()
}

// serveHTTP1 answers each request by answer, as long as that returns true.
func serveHTTP1(answer func(c net.Conn, path string) bool) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil || !answer(c, req.URL.Path) {
				return
			}
		}
	}
}

func wellHTTP1(c net.Conn, path string) bool {
	_, err := io.WriteString(c, textHTTP1(path))
	return err == nil
}

// textHTTP1 is the whole of an answer.
func textHTTP1(path string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answerTo(path)), answerTo(path))
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}
