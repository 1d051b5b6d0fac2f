package dataplane_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
)

// silentUpstream answers only when let go, and counts the exchanges that the
// gateway ended before.
func silentUpstream(t *testing.T) (rec *recorder, release chan struct{}, left *atomic.Int32) {
	t.Helper()
	release, left = make(chan struct{}), &atomic.Int32{}
	rec = startRecorder(t, func(_ string, c net.Conn, r *bufio.Reader) bool {
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = r.Peek(1)
		}()
		select {
		case <-gone:
			left.Add(1)
			return false
		case <-release:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate")
			c.Close()
			<-gone
			return false
		}
	})
	return rec, release, left
}

func TestAClientThatLeavesReleasesWhatItHeld(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(c net.Conn){
		"reset": func(c net.Conn) {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		},
		"close":                   func(c net.Conn) { c.Close() },
		"close behind a pipeline": func(c net.Conn) { io.WriteString(c, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up, _, left := silentUpstream(t)
			spec := toUpstream(up.addr)
			spec.Upstreams[0].MaxConnections = 1
			g := startGateway(t, dataplane.Config{}, spec)
			holds, waits := g.dial(t), g.dial(t)
			holds.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			until(t, "the first is with the endpoint", func() bool { return len(up.seen()) == 1 })
			waits.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			until(t, "the second waits", func() bool { return g.Upstreams()[0].Pending == 1 })
			leave(waits.Conn)
			until(t, "the place in the queue is free", func() bool { return g.Upstreams()[0].Pending == 0 })
			leave(holds.Conn)
			until(t, "the exchange has ended", func() bool { return left.Load() == 1 && g.Load().Inflight == 0 })
			if n := strings.Count(g.log.String(), `"error":"client_gone"`); n < 2 {
				t.Errorf("%d of 2 in the log: %s", n, g.log.String())
			}
			if state := g.Upstreams()[0].State; state != "closed" {
				t.Errorf("the endpoint is %s, for no fault of its own", state)
			}
		})
	}
}

func TestAHalfClosedClientGetsAnAnswerThatComesSoon(t *testing.T) {
	t.Parallel()
	up, release, _ := silentUpstream(t)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.Conn.(*net.TCPConn).CloseWrite()
	time.AfterFunc(1500*time.Millisecond, func() { close(release) })
	if got, body, err := c.answer("GET"); err != nil || got.StatusCode != 200 || body != "late" {
		t.Errorf("%v %d %q", err, got.StatusCode, body)
	}
}

func TestAClientThatStaysIsWaitedFor(t *testing.T) {
	t.Parallel()
	up, release, left := silentUpstream(t)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	time.AfterFunc(4500*time.Millisecond, func() { close(release) })
	if got, body, err := c.answer("GET"); err != nil || got.StatusCode != 200 || body != "late" || left.Load() != 0 {
		t.Errorf("%v %d %q, %d ended", err, got.StatusCode, body, left.Load())
	}
}
