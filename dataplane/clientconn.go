package dataplane

import (
	"bytes"
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
	"syscall"
	"time"

	"github.com/meshgw/meshgw/auth"
	"github.com/meshgw/meshgw/dataplane/socket"
)

const (
	headTimeout = 10 * time.Second // for a request's head, from its first byte
	keepAlive   = 60 * time.Second // between requests
	writeIdle   = 60 * time.Second // for a client to take some bytes
	lingerTime  = 2 * time.Second
	lingerBytes = 64 << 20 // most clients send all of a body before they look at the answer
	worthVector = 4 << 10  // from here on, a write of several parts costs less than to copy them
)

// clientConn is a client's connection, above TLS. It keeps the deadlines, says
// truthfully how a body ended, and waits for requests without holding a buffer.
type clientConn struct {
	net.Conn
	server   *Server
	listener string
	peer     netip.Addr
	secure   bool
	counted  bool              // among those of its client
	link     bool              // to another gateway
	shown    *x509.Certificate // by that gateway; nil on a plain link
	client   *auth.Certificate // shown by a client; nil = none
	name     string            // that the client asked for (SNI); empty = none

	presence presence
	state    atomic.Int64 // connActive, connClosed, or from when on it is idle, in ns since 1970
	awaited  atomic.Int64 // from when on a first request, the rest of a head or more of a body is waited for, likewise; 0 = nothing is
	taking   taking
	h2       atomic.Pointer[h2Conn] // nil = HTTP/1.1 is spoken
	inBody   atomic.Bool            // an end now is not the end of a message
	unread   bool                   // the client may still be sending when the answer is out
	inHead   bool                   // a head is being read, and has no deadline yet
	readBy   time.Time              // deadline that is set; zero = another than await has set
	writeBy  time.Time              // deadline that is set
	close    sync.Once

	raw    syscall.RawConn // of a plain socket; else nil
	look   func(fd uintptr) bool
	at     int       // the socket, while look reads
	came   *h1       // holds what look has found
	failed error     // what look has found instead
	by     time.Time // when the wait for a request ends
	spoken bool      // the first request has shown that HTTP/1.1 is spoken
	first  []byte

	mu      sync.Mutex // guards the rest
	stopped bool       // nothing of the body is read any more
}

const (
	connActive int64 = -iota // a request is under way
	connClosed
)

// serve runs the connection to its end.
func (c *clientConn) serve() {
	defer func() { _ = c.shut() }() // it is over, however it ends
	if c.secure && !c.handshake() {
		return
	}
	if c.secure && c.speaksHTTP2() {
		c.serveHTTP2(nil)
		return
	}
	c.watch()
	f := c.await(headTimeout)
	if f != nil && !c.secure && f.hasPreface() {
		already, _ := f.in.Peek(f.in.Buffered())
		already = bytes.Clone(already)
		c.server.fronts.Put(f)
		c.serveHTTP2(already)
		return
	}
	c.spoken = true
	for ; f != nil; f = c.await(keepAlive) {
		again := f.serve()
		c.server.fronts.Put(f)
		if !again || !c.rest() {
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
		state := conn.ConnectionState()
		c.client, c.name = shownTo(state), state.ServerName
	}
	return true
}

// watch readies the look at a plain socket.
func (c *clientConn) watch() {
	c.raw, c.at = socket.Raw(c.Conn), -1
	c.look = func(fd uintptr) bool {
		c.at = int(fd)
		c.came, c.failed = c.open()
		over := c.failed != syscall.EAGAIN && !c.serveHere() //nolint:errorlint // ReadNow returns it bare
		c.at = -1
		return over
	}
}

// serveHere serves small requests within the look at the socket that has found
// them, and reports whether the look is to wait for more: to begin another would
// cost a read that finds nothing. What is left is in came. A Close waits until
// the look is over.
func (c *clientConn) serveHere() bool {
	f := c.came
	if f == nil || !c.spoken || !c.wake() {
		return false
	}
	done := f.serveSmall()
	goesOn := c.rest()
	if done && goesOn {
		c.server.fronts.Put(f)
		c.came, c.by = nil, c.server.lately().Add(keepAlive)
		return true
	}
	f.last = f.last || done
	return false
}

// await waits for a request without holding a buffer. It returns the front that
// holds its first bytes, nil if none comes in time.
func (c *clientConn) await(within time.Duration) *h1 {
	c.by = c.server.lately().Add(within)
	for {
		// An earlier deadline that is set already does: it is looked at again
		// when it strikes, which is seldom.
		if c.readBy.IsZero() || c.by.Before(c.readBy) {
			if c.SetReadDeadline(c.by) != nil {
				return nil
			}
			c.readBy = c.by
		}
		f, err := c.firstBytes()
		switch {
		case err == nil:
			if c.wake() {
				return f
			}
			c.server.fronts.Put(f)
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		}
		if now := time.Now(); !now.Before(c.by) {
			if !c.server.stoodStill(c.by.Add(-within)) {
				return nil
			}
			c.by = now.Add(within) // it may have come meanwhile
		}
		c.readBy = time.Time{}
	}
}

// firstBytes takes a front when there is something to read.
func (c *clientConn) firstBytes() (*h1, error) {
	if c.raw != nil {
		if err := c.raw.Read(c.look); err != nil {
			return nil, err
		}
		f := c.came
		c.came = nil
		return f, c.failed
	}
	// Above TLS, bytes can come without any at the socket.
	if c.first == nil {
		c.first = make([]byte, 1)
	}
	if _, err := io.ReadFull(c.Conn, c.first[:1]); err != nil {
		return nil, err
	}
	c.first = c.first[:1]
	return c.open()
}

// open takes a front and reads what is there.
func (c *clientConn) open() (*h1, error) {
	f := c.server.fronts.Get().(*h1) // the pool holds nothing else
	f.conn, f.last, f.headRead = c, false, false
	f.in.Reset(c)
	if _, err := f.in.Peek(1); err != nil {
		c.server.fronts.Put(f)
		return nil, err
	}
	return f, nil
}

// wake says that a request is under way. It reports whether there may be one.
func (c *clientConn) wake() bool {
	since := c.state.Load()
	return since > 0 && c.state.CompareAndSwap(since, connActive)
}

// rest says that no request is under way. It reports whether there may be another.
func (c *clientConn) rest() bool {
	c.inBody.Store(false)
	return c.state.CompareAndSwap(connActive, c.server.lately().UnixNano()) && !c.server.clients.closing.Load()
}

// beginHead says that a head is read from now on, endHead that it has been.
func (c *clientConn) beginHead() {
	c.inBody.Store(false)
	c.inHead = true
}

func (c *clientConn) endHead() {
	c.inHead = false
	c.endWait()
}

// endWait says that nothing more is waited for from the client.
func (c *clientConn) endWait() {
	if c.awaited.Load() != 0 {
		c.awaited.Store(0)
	}
}

// Read reads for the front. A body that is cut off at the border of a chunk must
// not look like its end.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.at >= 0 && c.raw != nil {
		return socket.ReadNow(c.at, p)
	}
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[:0]
		return n, nil
	}
	if c.inHead { // not all of it has come at once
		c.inHead, c.readBy = false, time.Time{}
		now := time.Now()
		c.awaited.Store(now.UnixNano())
		if err := c.SetReadDeadline(now.Add(headTimeout)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if err != nil && c.again(err) {
		n, err = c.Conn.Read(p)
	}
	if err == io.EOF && c.inBody.Load() { //nolint:errorlint // Read returns it bare
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// again reports whether a read that has failed with err may be tried again: its
// deadline struck because this node stood still. What has come meanwhile is taken.
func (c *clientConn) again(err error) bool {
	since := c.awaited.Load()
	if since == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.server.stoodStill(time.Unix(0, since)) {
		return false
	}
	now := time.Now()
	goesOn := c.extendRead(now.Add(headTimeout))
	c.awaited.Store(now.UnixNano()) // from here on: once is enough
	return goesOn
}

// extendRead gives a read of the body until deadline, unless reading was
// stopped. endWait is to follow.
func (c *clientConn) extendRead(deadline time.Time) bool {
	c.awaited.Store(c.server.lately().UnixNano())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy = time.Time{}
	return !c.stopped && c.SetReadDeadline(deadline) == nil
}

// stopReading makes a read of the body that is under way fail, and all to come.
func (c *clientConn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	_ = c.SetReadDeadline(time.Unix(1, 0)) // in the past
}

// send writes p, for which the client has writeIdle.
func (c *clientConn) send(p []byte) error {
	if err := c.extendWrite(); err != nil {
		return err
	}
	_, err := c.Write(p)
	return err
}

// extendWrite gives the next write half of writeIdle at least.
func (c *clientConn) extendWrite() error {
	now := c.server.lately()
	if c.writeBy.Sub(now) >= writeIdle/2 {
		return nil
	}
	c.writeBy = now.Add(writeIdle)
	return c.SetWriteDeadline(c.writeBy)
}

// sendAll writes head, piece and tail, at once where that saves a copy. It
// returns the memory of head for another use.
func (c *clientConn) sendAll(head, piece, tail []byte) ([]byte, error) {
	plain, ok := c.Conn.(*socket.Conn)
	if !ok || len(piece) < worthVector {
		head = append(append(head, piece...), tail...)
		return head, c.send(head)
	}
	if err := c.extendWrite(); err != nil {
		return head, err
	}
	_, err := plain.WriteParts([3][]byte{head, piece, tail})
	return head, err
}

// CloseWrite ends the writing side, if the connection has sides.
func (c *clientConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
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
		err = c.Close()
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

// closeIfIdle closes the connection if no request is under way, and reports
// whether it did.
func (c *clientConn) closeIfIdle() bool {
	since := c.state.Load()
	idle := since > 0 && c.state.CompareAndSwap(since, connClosed)
	switch {
	case idle && c.secure:
		c.server.spawn(func() { _ = c.Close() }) // which says so to the client first, and may wait for it
	case idle:
		_ = c.Close()
	}
	return idle
}

// abort closes the connection whatever is under way.
func (c *clientConn) abort() {
	c.state.Store(connClosed)
	_ = c.Close()
}
