package dataplane

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// preface is what a client sends first on a cleartext connection when it knows that
// the server speaks HTTP/2 (prior knowledge).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// hasPreface reports whether the connection begins with the preface of HTTP/2, all
// of which is then in the front's buffer.
func (f *h1) hasPreface() bool {
	for n := f.in.Buffered(); ; n++ {
		got, err := f.in.Peek(min(n, len(preface)))
		switch {
		case err != nil || string(got) != preface[:len(got)]:
			return false // for HTTP/1.1 to make sense of
		case len(got) == len(preface):
			return true
		}
	}
}

// serveHTTP2 lets net/http serve the connection to its end. already is what was
// read from it.
func (c *clientConn) serveHTTP2(already []byte) {
	wait, ok := c.server.cooldown.wait(c.peer, time.Now())
	if !ok {
		return
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-c.server.clients.ending:
			return
		}
	}
	if !c.markActive() && c.state.Load() == connClosed {
		return
	}
	if c.SetDeadline(time.Time{}) != nil {
		return
	}
	h := &h2Conn{client: c, ended: make(chan struct{})}
	h.users.Store(1)
	h.rest()
	c.h2.Store(h)
	c.server.feed.put(c.connForHTTP2(already), h)
	<-h.ended
}

// speaksHTTP2 reports whether the TLS handshake agreed on HTTP/2.
func (c *clientConn) speaksHTTP2() bool {
	t, ok := c.Conn.(*tls.Conn)
	return ok && t.ConnectionState().NegotiatedProtocol == "h2"
}

// h2Conn is a client's connection that speaks HTTP/2.
type h2Conn struct {
	client  *clientConn
	users   atomic.Int64 // its requests, plus one while net/http has it open
	ended   chan struct{}
	resets  atomic.Int64 // requests cancelled early, minus the others
	endedAt atomic.Int64 // when the last request ended, in Unix ns
}

// enter holds the connection for a request. It reports whether it is still open.
func (h *h2Conn) enter() bool {
	for {
		n := h.users.Load()
		if n == 0 || h.users.CompareAndSwap(n, n+1) {
			h.client.endWait()
			return n > 0
		}
	}
}

func (h *h2Conn) rest() { h.endedAt.Store(h.client.server.coarseNow().UnixNano()) }

// idleSince returns since when no request has been in progress, in Unix ns; 0 if
// one is.
func (h *h2Conn) idleSince() int64 {
	if h.users.Load() != 1 {
		return 0
	}
	return h.endedAt.Load()
}

func (h *h2Conn) leave() {
	h.rest()
	if h.users.Add(-1) == 0 {
		close(h.ended)
	}
}

type h2Key struct{}

func connOf(ctx context.Context) *h2Conn {
	return ctx.Value(h2Key{}).(*h2Conn) //nolint:forcetypeassert // feed.context put it there
}

// feed is the listener of the HTTP/2 server. It yields connections that were
// accepted, and found to speak HTTP/2, elsewhere.
type feed struct {
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once

	mu   sync.Mutex // guards the rest
	open map[net.Conn]*h2Conn
}

func newFeed() *feed {
	return &feed{conns: make(chan net.Conn), closed: make(chan struct{}), open: map[net.Conn]*h2Conn{}}
}

// put hands over c, or ends h if the server has been shut down.
func (f *feed) put(c net.Conn, h *h2Conn) {
	f.mu.Lock()
	f.open[c] = h
	f.mu.Unlock()
	select {
	case f.conns <- c:
	case <-f.closed:
		f.changed(c, http.StateClosed)
	}
}

// Accept implements net.Listener.
func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (f *feed) Close() error {
	f.close.Do(func() { close(f.closed) })
	return nil
}

// Addr implements net.Listener.
func (f *feed) Addr() net.Addr { return &net.TCPAddr{} }

// context gives the requests on c their h2Conn.
func (f *feed) context(ctx context.Context, c net.Conn) context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	return context.WithValue(ctx, h2Key{}, f.open[c])
}

// changed is called by net/http with the state of c.
func (f *feed) changed(c net.Conn, state http.ConnState) {
	if state != http.StateClosed {
		return
	}
	f.mu.Lock()
	h := f.open[c]
	delete(f.open, c)
	f.mu.Unlock()
	h.leave()
}
