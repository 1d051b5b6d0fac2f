package dataplane

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/routetable"
)

// A client that is gone gets no answer after a long standstill, which would be worked
// out before those of clients that wait; at other times one that has half-closed does.
func TestWhoLeftInALongStandstillIsNotServed(t *testing.T) {
	for name, test := range map[string]struct{ stood, leaves, served bool }{
		"half-closed": {false, true, true}, "waits": {true, false, true}, "left": {true, true, false},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if test.leaves {
			_ = c.(*net.TCPConn).CloseWrite()
		}
		s := New(Config{}, zerolog.Nop(), prometheus.NewRegistry())
		if test.stood {
			s.stoodUntil.Store(time.Now().Add(time.Minute).UnixNano()) // lest it be long ago before the client is looked at
		}
		got, err := servedBy(t, s, ln, c, &routetable.Spec{Routes: []routetable.Route{{Name: "all", Respond: &routetable.Respond{Status: 200}}}})
		if err != nil || (len(got) > 0) != test.served {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// Whose connection to the endpoint was being opened as this node froze is served when
// it goes on, though the time for an answer has passed.
func TestWhoWaitsForAConnectionInAStandstillGetsOne(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer up.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var s *Server
	var dials atomic.Int32
	s = New(Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			time.Sleep(1100 * time.Millisecond)
			s.frozenAt.Store(time.Now().UnixNano())
			return nil, ctx.Err()
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}, zerolog.Nop(), prometheus.NewRegistry())
	got, err := servedBy(t, s, ln, c, &routetable.Spec{
		Upstreams: []routetable.Upstream{{
			Name: "up", Endpoints: []routetable.Endpoint{{URL: up.URL}},
			Timeouts: &routetable.Timeouts{Connect: new(routetable.Duration(time.Second)), Response: new(routetable.Duration(time.Second))},
			Retries:  &routetable.Retries{Attempts: 1},
		}},
		Routes: []routetable.Route{{Name: "all", Upstream: "up"}},
	})
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") || dials.Load() < 2 {
		t.Errorf("%q after %d dials, %v", got, dials.Load(), err)
	}
}

// servedBy has s serve what has come to ln, and returns what c is answered.
func servedBy(t *testing.T, s *Server, ln net.Listener, c net.Conn, spec *routetable.Spec) ([]byte, error) {
	t.Helper()
	table, problems := routetable.Compile(spec)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	s.Publish(table)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, Listener{Name: "http", Listener: ln}) }()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(c)
	_ = c.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return got, err
}
