package dataplane

import (
	"bytes"
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
	writeIdle   = 60 * time.Second // for a client to read some bytes
	lingerTime  = 2 * time.Second
	lingerBytes = 64 << 20 // most clients send all of a body before they look at the answer
	worthVector = 4 << 10  // bytes from which a vectored write is cheaper than a copy
)

// clientConn is a client's connection, above TLS if there is any. It keeps the
// deadlines, reports truthfully how a body ended, and waits for requests
// without holding a buffer.
type clientConn struct {
	net.Conn
	server     *Server
	listener   string
	peer       netip.Addr
	secure     bool
	counted    bool              // among those of its client
	link       bool              // to another gateway
	linkCert   *x509.Certificate // of that gateway; nil on a plain link
	clientCert *auth.Certificate // of the client; nil = none
	name       string            // server name that the client asked for (SNI); empty = none

	presence     presence
	state        atomic.Int64 // connActive, connClosed, or since when it is idle, in Unix ns
	waitingSince atomic.Int64 // since when the client owes a first request, the rest of a head or more of a body, in Unix ns; 0 = it does not
	progress     sendProgress
	h2           atomic.Pointer[h2Conn] // nil for HTTP/1.1
	inBody       atomic.Bool            // an EOF now would cut a message off
	unread       bool                   // the client may still be sending when the answer has been written
	inHead       bool                   // a head is being read, with no deadline yet
	readBy       time.Time              // read deadline that await has set; zero = it has set none, or another was set since
	writeBy      time.Time              // write deadline that is set
	close        sync.Once

	raw       syscall.RawConn // of a plain socket; else nil
	tryRead   func(fd uintptr) bool
	fd        int       // file descriptor while tryRead runs, else -1
	front     *h1       // the result of tryRead: holds what was read
	readErr   error     // the result of tryRead if it read nothing
	waitUntil time.Time // until when a request is awaited
	isHTTP1   bool      // the first request has shown so
	peeked    []byte

	mu      sync.Mutex // guards the rest
	stopped bool       // no more of the body is to be read
}

const (
	connActive int64 = -iota // a request is under way
	connClosed
)

// serve runs the connection to its end.
func (c *clientConn) serve() {
	defer func() { _ = c.closeGracefully() }() // it is over, however it ends
	if c.secure && !c.handshake() {
		return
	}
	if c.secure && c.speaksHTTP2() {
		c.serveHTTP2(nil)
		return
	}
	c.prepareRead()
	f := c.await(headTimeout)
	if f != nil && !c.secure && f.hasPreface() {
		already, _ := f.in.Peek(f.in.Buffered())
		already = bytes.Clone(already)
		c.server.fronts.Put(f)
		c.serveHTTP2(already)
		return
	}
	c.isHTTP1 = true
	for ; f != nil; f = c.await(keepAlive) {
		again := f.serve()
		c.server.fronts.Put(f)
		if !again || !c.markIdle() {
			return
		}
	}
}

func (c *clientConn) handshake() bool {
	conn := c.Conn.(*tls.Conn)              //nolint:forcetypeassert // accept made it so
	below := conn.NetConn().(*yieldingConn) //nolint:forcetypeassert // the same
	below.again = c.again                   // to crypto/tls a handshake that has failed once is over
	defer func() { below.again = nil }()
	now := time.Now()
	if errors.Join(conn.SetReadDeadline(now.Add(handshakeTimeout)), conn.SetWriteDeadline(now.Add(writeIdle)), conn.Handshake(), conn.SetDeadline(time.Time{})) != nil {
		return false
	}
	if c.link {
		c.linkCert = linkCertificate(conn)
	} else {
		state := conn.ConnectionState()
		c.clientCert, c.name = clientCertificate(state), state.ServerName
	}
	return true
}

// prepareRead makes tryRead, the callback that reads from a plain socket.
func (c *clientConn) prepareRead() {
	c.raw, c.fd = socket.Raw(c.Conn), -1
	c.tryRead = func(fd uintptr) bool {
		c.fd = int(fd)
		c.front, c.readErr = c.open()
		done := c.readErr != syscall.EAGAIN && !c.serveInPlace() //nolint:errorlint // ReadNow returns it bare
		c.fd = -1
		return done
	}
}

// serveInPlace serves small requests inside the read callback that found them,
// and reports whether the callback is to wait for more: leaving it and entering
// it again would cost a read that finds nothing. What is left to serve is in
// front. Close waits until the callback has returned.
func (c *clientConn) serveInPlace() bool {
	f := c.front
	if f == nil || !c.isHTTP1 || !c.markActive() {
		return false
	}
	done := f.serveBuffered()
	goesOn := c.markIdle()
	if done && goesOn {
		c.server.fronts.Put(f)
		c.front, c.waitUntil = nil, c.server.coarseNow().Add(keepAlive)
		return true
	}
	f.last = f.last || done
	return false
}

// await waits for a request without holding a buffer. It returns the front that
// holds its first bytes, nil if none arrives in time.
func (c *clientConn) await(within time.Duration) *h1 {
	c.waitUntil = c.server.coarseNow().Add(within)
	for {
		// An earlier deadline will do: it is moved when it passes, which is
		// rare.
		if c.readBy.IsZero() || c.waitUntil.Before(c.readBy) {
			if c.SetReadDeadline(c.waitUntil) != nil {
				return nil
			}
			c.readBy = c.waitUntil
		}
		f, err := c.firstBytes()
		switch {
		case err == nil:
			if c.markActive() {
				return f
			}
			c.server.fronts.Put(f)
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		}
		if now := time.Now(); !now.Before(c.waitUntil) {
			if !c.server.wasFrozen(c.waitUntil.Add(-within)) {
				return nil
			}
			c.waitUntil = now.Add(within) // it may have come meanwhile
		}
		c.readBy = time.Time{}
	}
}

// firstBytes waits until there is something to read, and returns the front that has
// read it.
func (c *clientConn) firstBytes() (*h1, error) {
	if c.raw != nil {
		if err := c.raw.Read(c.tryRead); err != nil {
			return nil, err
		}
		f := c.front
		c.front = nil
		return f, c.readErr
	}
	// TLS may have decrypted bytes when the socket has none.
	if c.peeked == nil {
		c.peeked = make([]byte, 1)
	}
	if _, err := io.ReadFull(c.Conn, c.peeked[:1]); err != nil {
		return nil, err
	}
	c.peeked = c.peeked[:1]
	return c.open()
}

// open takes a front from the pool and lets it read what is there.
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

// markActive marks the connection as busy. It reports whether a request may begin.
func (c *clientConn) markActive() bool {
	since := c.state.Load()
	return since > 0 && c.state.CompareAndSwap(since, connActive)
}

// markIdle marks the connection as idle. It reports whether another request may
// follow.
func (c *clientConn) markIdle() bool {
	c.inBody.Store(false)
	return c.state.CompareAndSwap(connActive, c.server.coarseNow().UnixNano()) && !c.server.clients.closing.Load()
}

// beginHead and endHead enclose the reading of a head.
func (c *clientConn) beginHead() {
	c.inBody.Store(false)
	c.inHead = true
}

func (c *clientConn) endHead() {
	c.inHead = false
	c.endWait()
}

// endWait notes that the client owes nothing more.
func (c *clientConn) endWait() {
	if c.waitingSince.Load() != 0 {
		c.waitingSince.Store(0)
	}
}

// Read reads for the front. A body that is cut off between two chunks must not
// look as if it had ended there.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.fd >= 0 && c.raw != nil {
		return socket.ReadNow(c.fd, p)
	}
	if len(c.peeked) > 0 {
		n := copy(p, c.peeked)
		c.peeked = c.peeked[:0]
		return n, nil
	}
	if c.inHead { // it did not arrive all at once
		c.inHead, c.readBy = false, time.Time{}
		now := time.Now()
		c.waitingSince.Store(now.UnixNano())
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
	since := c.waitingSince.Load()
	if since == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.server.wasFrozen(time.Unix(0, since)) {
		return false
	}
	now := time.Now()
	goesOn := c.extendRead(now.Add(headTimeout))
	c.waitingSince.Store(now.UnixNano()) // from here on: once is enough
	return goesOn
}

// extendRead sets the deadline for reading from the body, unless stopReading
// was called. endWait has to follow.
func (c *clientConn) extendRead(deadline time.Time) bool {
	c.waitingSince.Store(c.server.coarseNow().UnixNano())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy = time.Time{}
	return !c.stopped && c.SetReadDeadline(deadline) == nil
}

// stopReading makes reads of the body fail, including one in progress.
func (c *clientConn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	_ = c.SetReadDeadline(time.Unix(1, 0)) // in the past
}

// send writes p, which the client has to take within writeIdle.
func (c *clientConn) send(p []byte) error {
	if err := c.extendWrite(); err != nil {
		return err
	}
	_, err := c.Write(p)
	return err
}

// extendWrite makes sure that the next write has at least half of writeIdle.
func (c *clientConn) extendWrite() error {
	now := c.server.coarseNow()
	if c.writeBy.Sub(now) >= writeIdle/2 {
		return nil
	}
	c.writeBy = now.Add(writeIdle)
	return c.SetWriteDeadline(c.writeBy)
}

// sendAll writes head, piece and tail, with one vectored write if that is
// cheaper than copying. It returns head's memory for reuse.
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

// CloseWrite closes the writing side if the connection can be half-closed, else
// all of it.
func (c *clientConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// closeGracefully closes the connection. If the client may still be sending, it
// first gets time to read the answer, which a reset would discard.
func (c *clientConn) closeGracefully() error {
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

// closeIfIdle closes the connection if no request is in progress, and reports
// whether it did.
func (c *clientConn) closeIfIdle() bool {
	since := c.state.Load()
	idle := since > 0 && c.state.CompareAndSwap(since, connClosed)
	switch {
	case idle && c.secure:
		c.server.spawn(func() { _ = c.Close() }) // sends close_notify, which may block
	case idle:
		_ = c.Close()
	}
	return idle
}

// abort closes the connection, whatever is in progress.
func (c *clientConn) abort() {
	c.state.Store(connClosed)
	_ = c.Close()
}
