package dataplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/auth"
)

const (
	headTimeout = 10 * time.Second       // for a request's head, from its first byte
	keepAlive   = 60 * time.Second       // between requests
	parkAfter   = 200 * time.Millisecond // idle: then the buffers are given back
	writeIdle   = 60 * time.Second       // for a client to take some bytes
	lingerTime  = 2 * time.Second
	lingerBytes = 256 << 10
)

// clientConn is a client's connection, above TLS. It keeps the deadlines of
// writing, says truthfully how a body ended, and outlives the front: a
// connection that has been idle for a while is parked without its buffers.
type clientConn struct {
	net.Conn
	server   *Server
	listener string
	peer     netip.Addr
	secure   bool
	link     bool              // to another gateway
	shown    *x509.Certificate // by that gateway; nil on a plain link
	client   *auth.Certificate // shown by a client; nil = none

	presence presence
	state    atomic.Int32 // connIdleState and so on
	first    []byte       // read while parked
	inBody   atomic.Bool  // an end now is not the end of a message
	unread   bool         // the client may still be sending when the answer is out
	muted    bool         // the answer is out
	parkable bool         // Close only parks
	writeBy  time.Time    // deadline that is set
	hijacked chan struct{}
	close    sync.Once

	mu      sync.Mutex // guards the rest
	stopped bool       // nothing of the body is read any more
}

const (
	connIdleState int32 = iota
	connActive
	connClosed
)

// serve runs the connection to its end.
func (c *clientConn) serve() {
	defer func() { _ = c.shut() }() // it is over, however it ends
	if c.secure && !c.handshake() {
		return
	}
	for wait := headTimeout; c.awaitRequest(wait); wait = keepAlive - parkAfter {
		c.hijacked, c.parkable = nil, false
		_ = c.server.front.ServeConn(c) // it has answered what was wrong
		if c.hijacked != nil {
			<-c.hijacked
			return
		}
		if !c.parkable {
			return
		}
	}
}

func (c *clientConn) handshake() bool {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	conn := c.Conn.(*tls.Conn) //nolint:forcetypeassert // accept made it so
	if conn.HandshakeContext(ctx) != nil {
		return false
	}
	if c.link {
		c.shown = shownBy(conn)
	} else {
		c.client = shownTo(conn.ConnectionState())
	}
	return true
}

// awaitRequest waits for the first byte of a request without holding a buffer.
func (c *clientConn) awaitRequest(wait time.Duration) bool {
	if c.state.Load() == connClosed || c.SetReadDeadline(time.Now().Add(wait)) != nil {
		return false
	}
	var b [1]byte
	if n, err := c.Conn.Read(b[:]); err != nil || n == 0 {
		return false
	}
	c.first = append(c.first[:0], b[0])
	return c.state.CompareAndSwap(connIdleState, connActive) || c.state.Load() == connActive
}

// Read reads what was read while parked first. A body that is cut off at the
// border of a chunk must not look like its end.
func (c *clientConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if err == io.EOF && c.inBody.Load() { //nolint:errorlint // Read returns it bare
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && c.state.Load() == connIdleState {
		c.parkable = true
	}
	return n, err
}

// extendRead gives a read of the body until deadline, unless reading was
// stopped.
func (c *clientConn) extendRead(deadline time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.stopped && c.SetReadDeadline(deadline) == nil
}

// stopReading makes a read of the body that is under way fail, and all to come.
func (c *clientConn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	_ = c.SetReadDeadline(time.Unix(1, 0)) // in the past
}

// Write is for what fasthttp writes: 100 Continue passes; the answer that it
// makes after the handler does not, for the handler has sent its own.
func (c *clientConn) Write(p []byte) (int, error) {
	if c.muted {
		return len(p), nil
	}
	return c.send(p)
}

// send writes p, for which the client has writeIdle.
func (c *clientConn) send(p []byte) (int, error) {
	now := time.Now()
	if c.writeBy.Sub(now) < writeIdle/2 {
		c.writeBy = now.Add(writeIdle)
		if err := c.SetWriteDeadline(c.writeBy); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// CloseWrite ends the writing side, if the connection has sides.
func (c *clientConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Close is called by the front when it is done with the connection.
func (c *clientConn) Close() error {
	if c.parkable && !c.server.draining.Load() {
		return nil
	}
	c.parkable = false
	return c.shut()
}

// shut closes the connection. Where the client may still be sending, it first
// lets it read the answer: a reset would take that away.
func (c *clientConn) shut() error {
	var err error
	c.close.Do(func() {
		if c.unread {
			c.linger()
		}
		c.state.Store(connClosed)
		err = c.Conn.Close()
	})
	return err
}

func (c *clientConn) linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
}

// closeIfIdle closes the connection if no request is under way.
func (c *clientConn) closeIfIdle() {
	if c.state.CompareAndSwap(connIdleState, connClosed) {
		_ = c.Conn.Close()
	}
}

// abort closes the connection whatever is under way.
func (c *clientConn) abort() {
	c.state.Store(connClosed)
	_ = c.Conn.Close()
}
