package dataplane_test

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
)

// After the first request of a connection, small ones are served within the look
// at its socket. Others, and what comes in pieces, must find their way out of it
// and back.
func TestAConnectionServesSmallRequestsAndOthersInAnyOrder(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t)
	sent := 0
	for _, step := range []struct {
		name    string
		pieces  []string
		answers int
	}{
		{"first", []string{get}, 1},
		{"small", []string{get}, 1},
		{"three at once", []string{get + get + get}, 3},
		{"body behind its head", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "hello"}, 1},
		{"small", []string{get}, 1},
		{"head in pieces", []string{"GET / HTT", "P/1.1\r\nHost: a\r\n", "\r\n"}, 1},
		{"one and a half, then the rest", []string{get + get[:20], get[20:] + get}, 3},
		{"chunks", []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n", "0\r\n\r\n"}, 1},
		{"empty lines before", []string{"\r\n\r\n", get}, 1},
		{"a GET with a body", []string{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", "\r\n"}, 1},
		{"a body that looks like an end", []string{get + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n\r\n\r\n", "\r\n\r\n"}, 2},
		{"small", []string{get}, 1},
	} {
		for _, piece := range step.pieces {
			c.send(piece)
			time.Sleep(5 * time.Millisecond) // it most likely comes by itself
		}
		for range step.answers {
			if got, body, err := c.answer("GET"); got.StatusCode != 200 || body != "ok" || err != nil {
				t.Fatalf("%s: got %d %q %v", step.name, got.StatusCode, body, err)
			}
		}
		sent += step.answers
	}
	if seen := len(up.seen()); seen != sent {
		t.Errorf("the endpoint saw %d requests, want %d", seen, sent)
	}
}

// A request that asks for the end of its connection gets it, a refused one too.
func TestASmallRequestMayBeTheLast(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	for _, last := range []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"} {
		c := g.dial(t).send(get)
		c.answer("GET")
		c.send(get)
		c.answer("GET")
		if rest := c.send(last).rest(); strings.Count(rest, "HTTP/1.1 ") != 1 {
			t.Errorf("%q: got %q", last, rest)
		}
	}
}

func TestADrainEndsSmallRequestsThatTakeTooLong(t *testing.T) {
	silent := make(chan struct{})
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		if strings.HasPrefix(head, "GET /silent") {
			<-silent
			return false
		}
		return okay(head, c, r)
	})
	defer close(silent)
	g := startGateway(t, dataplane.Config{DrainFinish: 50 * time.Millisecond}, toUpstream(up.addr))
	var clients []*client
	for range 3 {
		c := g.dial(t).send(get)
		c.answer("GET")
		clients = append(clients, c.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n"))
	}
	waitFor(t, func() bool { return g.Load().Inflight == len(clients) })
	began := time.Now()
	g.stop()
	if took := time.Since(began); took > 10*time.Second { // half a minute without a bound
		t.Errorf("took %v", took)
	}
}
