package dataplane_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func TestMain(m *testing.M) {
	new(fasthttp.ResponseHeader).Header() // fasthttp starts a goroutine that never ends with the first date
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.refreshServerDate"))
}

// patience is how long is waited for what must come: so long that this process may
// have no CPU for seconds meanwhile.
const patience = 30 * time.Second

// gateway is a Server that listens on loopback.
type gateway struct {
	*dataplane.Server
	addr string
	log  *safeBuffer
	reg  *prometheus.Registry
	stop func() // ends Serve and waits
}

type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func startGateway(tb testing.TB, cfg dataplane.Config, spec *routetable.Spec) *gateway {
	tb.Helper()
	return startSecureGateway(tb, cfg, spec, nil)
}

// startSecureGateway starts one that speaks TLS; plain where secure is nil.
func startSecureGateway(tb testing.TB, cfg dataplane.Config, spec *routetable.Spec, secure *tls.Config) *gateway {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	g := &gateway{addr: ln.Addr().String(), log: &safeBuffer{}, reg: prometheus.NewRegistry()}
	cfg.Node, cfg.Region = "n1", "eu"
	g.Server = dataplane.New(cfg, zerolog.New(g.log), g.reg)
	g.publish(tb, spec)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, dataplane.Listener{Name: "http", Listener: ln, TLS: secure}) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})
	tb.Cleanup(g.stop)
	return g
}

func (g *gateway) publish(tb testing.TB, spec *routetable.Spec) {
	tb.Helper()
	table, problems := routetable.Compile(spec)
	if problems := problems.Errors(); len(problems) > 0 {
		tb.Fatal(problems)
	}
	g.Publish(table)
}

// dial opens a connection to the gateway that ends with the test.
func (g *gateway) dial(tb testing.TB) *client {
	tb.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{Conn: c, t: tb, r: bufio.NewReader(c)}
}

// client speaks raw bytes.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (c *client) send(text string) *client {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// answer reads an answer and its body.
func (c *client) answer(method string) (Answer, string, error) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Header, resp.Trailer, resp.Close, resp.ContentLength, resp.Proto}, string(body), err
}

// Answer is what is looked at of an answer.
type Answer struct {
	StatusCode      int
	Header, Trailer http.Header
	Close           bool
	ContentLength   int64
	Proto           string
}

// rest reads to the end of the connection.
func (c *client) rest() string {
	c.t.Helper()
	b, _ := io.ReadAll(c.r)
	return string(b)
}

// recorder is an upstream that records what it is sent, byte by byte.
type recorder struct {
	addr  string
	mu    sync.Mutex
	heads []string
	text  bytes.Buffer
}

// startRecorder starts an upstream. answer is called for each request with its
// head and the connection, and returns whether the connection stays open; nil
// answers 200 "ok" after the body.
func startRecorder(tb testing.TB, answer func(head string, c net.Conn, r *bufio.Reader) bool) *recorder {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	if answer == nil {
		answer = okay
	}
	rec := &recorder{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				r := bufio.NewReader(io.TeeReader(c, rec))
				for {
					head, err := readHead(r)
					if err != nil {
						return
					}
					rec.mu.Lock()
					rec.heads = append(rec.heads, head)
					rec.mu.Unlock()
					if !answer(head, c, r) {
						return
					}
				}
			})
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return rec
}

func (rec *recorder) Write(p []byte) (int, error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.text.Write(p)
}

// seen returns the heads of all requests, in lower case.
func (rec *recorder) seen() []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return append([]string(nil), rec.heads...)
}

// bytes returns everything received.
func (rec *recorder) bytes() string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.text.String()
}

func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		head.WriteString(line)
		if line == "\r\n" {
			return head.String(), nil
		}
	}
}

// okay reads the body and answers 200.
func okay(head string, c net.Conn, r *bufio.Reader) bool {
	if _, err := readBody(head, r); err != nil {
		return false
	}
	_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	return err == nil
}

// readBody reads the body that head announces.
func readBody(head string, r *bufio.Reader) (*http.Request, error) {
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return nil, err
	}
	switch {
	case len(req.TransferEncoding) > 0:
		req, err = http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), r)))
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, req.Body)
	case req.ContentLength > 0:
		_, err = io.CopyN(io.Discard, r, req.ContentLength)
	}
	return req, err
}

// always answers every request with raw bytes, then keeps the connection.
func always(raw string) func(string, net.Conn, *bufio.Reader) bool {
	return func(head string, c net.Conn, r *bufio.Reader) bool {
		if _, err := readBody(head, r); err != nil {
			return false
		}
		_, err := io.WriteString(c, raw)
		return err == nil
	}
}

// once answers a request with raw bytes and closes the connection.
func once(raw string) func(string, net.Conn, *bufio.Reader) bool {
	return func(head string, c net.Conn, r *bufio.Reader) bool {
		always(raw)(head, c, r)
		return false
	}
}

// toUpstream is a spec with one route to the endpoints.
func toUpstream(addrs ...string) *routetable.Spec {
	u := routetable.Upstream{Name: "up"}
	for _, a := range addrs {
		u.Endpoints = append(u.Endpoints, routetable.Endpoint{URL: "http://" + a})
	}
	return &routetable.Spec{
		Upstreams: []routetable.Upstream{u},
		Routes:    []routetable.Route{{Name: "all", Upstream: "up"}},
	}
}
