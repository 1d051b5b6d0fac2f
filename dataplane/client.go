package dataplane

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/dataplane/socket"
)

const (
	readBuffer   = 16 << 10 // bytes of a body from a client, or of a tunnel, read at once
	answerBuffer = 68 << 10 // the same of an answer: what fast networks deliver at once, and a head
	maxHead      = 64 << 10 // of an answer
	connIdle     = 20 * time.Second
	justUsed     = 50 * time.Millisecond
	connLifetime = 5 * time.Minute // plus up to a tenth, so that not all end at once
)

// upstreamConn is an HTTP/1.1 connection to an endpoint, used by one exchange
// at a time. It holds a buffer only while there is something in it.
type upstreamConn struct {
	net.Conn
	registry  *connRegistry
	raw       syscall.RawConn // of a plain socket; else nil
	belowTLS  syscall.RawConn // the socket beneath TLS; nil if there is none
	look      func(fd uintptr)
	quiet     bool // the result of look: open, with nothing to read
	expires   time.Time
	idleSince time.Time
	used      bool // served an exchange before

	reading, writing deadline

	buffers  *sync.Pool // of *[]byte of answerBuffer
	buf      *[]byte    // nil if nothing is buffered
	r, w     int        // read but not taken yet: (*buf)[r:w]
	received bool       // a byte has arrived in this exchange

	outgoing []byte                // a request, written by the first read
	attempt  func(fd uintptr) bool // writes outgoing, then reads into a buffer from the pool
	n        int                   // how much attempt has read
	failed   error
}

func newUpstreamConn(c net.Conn, expires time.Time, registry *connRegistry) (*upstreamConn, error) {
	uc := &upstreamConn{Conn: c, expires: expires, registry: registry}
	if !registry.add(uc) {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	uc.belowTLS = socket.Raw(socket.Unwrap(c))
	uc.raw = socket.Raw(c)
	uc.look = func(fd uintptr) { uc.quiet = socket.IsQuiet(int(fd)) }
	uc.attempt = func(fd uintptr) bool {
		if len(uc.outgoing) > 0 {
			// There can be no answer yet: waiting at once saves a read that would
			// find nothing. The wait was prepared before the write, so it misses
			// nothing.
			return !uc.writeOut(int(fd))
		}
		uc.takeBuffer()
		uc.n, uc.failed = socket.ReadNow(int(fd), *uc.buf)
		if uc.n == 0 {
			uc.giveBuffer()
		}
		return uc.failed != syscall.EAGAIN //nolint:errorlint // ReadNow returns it bare
	}
	return uc, nil
}

// writeOut writes as much of outgoing as the socket takes, and reports whether
// that was all.
func (c *upstreamConn) writeOut(fd int) bool {
	c.n = 0
	n, err := socket.WriteNow(fd, &[3][]byte{c.outgoing})
	c.outgoing = c.outgoing[n:]
	c.failed = nil
	if err != nil && err != syscall.EAGAIN { //nolint:errorlint // WriteNow returns it bare
		c.failed = err
	}
	return err == nil && len(c.outgoing) == 0
}

// SetReadDeadline sets the deadline of reads, including one in progress.
func (c *upstreamConn) SetReadDeadline(by time.Time) error {
	return c.reading.move(by, c.Conn.SetReadDeadline)
}

// SetWriteDeadline sets the deadline of future writes.
func (c *upstreamConn) SetWriteDeadline(by time.Time) error {
	if c.raw == nil {
		return c.Conn.SetWriteDeadline(by) // crypto/tls breaks a connection whose deadline has passed
	}
	return c.writing.move(by, c.Conn.SetWriteDeadline)
}

// SetDeadline sets both.
func (c *upstreamConn) SetDeadline(by time.Time) error {
	return errors.Join(c.SetReadDeadline(by), c.SetWriteDeadline(by))
}

// Read reads until the deadline.
func (c *upstreamConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err == nil || n > 0 || !c.goesOn(err) {
			return n, err
		}
	}
}

// goesOn reports whether err is a deadline that has been moved since it was set.
func (c *upstreamConn) goesOn(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && c.reading.passed(time.Now(), c.Conn.SetReadDeadline)
}

// Write writes until the deadline.
func (c *upstreamConn) Write(p []byte) (int, error) {
	for written := 0; ; {
		n, err := c.Conn.Write(p[written:])
		written += n
		if err == nil || c.raw == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !c.writing.passed(time.Now(), c.Conn.SetWriteDeadline) {
			return written, err
		}
	}
}

// Close closes the connection.
func (c *upstreamConn) Close() error {
	c.registry.remove(c)
	return c.Conn.Close()
}

// connRegistry knows all open connections to endpoints, so that they can be
// closed when draining takes too long.
type connRegistry struct {
	mu     sync.Mutex // guards the rest
	open   map[io.Closer]struct{}
	closed bool
}

func (r *connRegistry) add(c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.open[c] = struct{}{}
	}
	return !r.closed
}

func (r *connRegistry) remove(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
}

// abort closes all connections, present and future.
func (r *connRegistry) abort() {
	r.mu.Lock()
	r.closed = true
	open := slices.Collect(maps.Keys(r.open))
	r.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // removes itself
	}
}

// fresh reports whether an idle connection may be used: it is not too old, and
// the endpoint has neither closed it nor sent unsolicited bytes. The latter
// costs a system call, which is saved for a connection that was just in use if
// the request could be repeated.
func (c *upstreamConn) fresh(now time.Time, repeatable bool) bool {
	idle := now.Sub(c.idleSince)
	if now.After(c.expires) || idle > connIdle {
		return false
	}
	if c.belowTLS == nil || repeatable && idle < justUsed {
		return true
	}
	c.quiet = false
	err := c.belowTLS.Control(c.look)
	return err == nil && c.quiet
}

// begin prepares c for an exchange.
func (c *upstreamConn) begin(buffers *sync.Pool) {
	c.buffers, c.outgoing = buffers, nil
	c.r, c.w, c.received = 0, 0, false
}

// end returns the buffer after an exchange.
func (c *upstreamConn) end() {
	c.giveBuffer()
	c.used = true
}

func (c *upstreamConn) takeBuffer() {
	c.buf = c.buffers.Get().(*[]byte) // the pool holds nothing else
}

func (c *upstreamConn) giveBuffer() {
	if c.buf != nil {
		c.buffers.Put(c.buf)
	}
	c.buf, c.r, c.w = nil, 0, 0
}

func (c *upstreamConn) buffered() int { return c.w - c.r }

func (c *upstreamConn) view() []byte {
	if c.buf == nil {
		return nil
	}
	return (*c.buf)[c.r:c.w]
}

// take returns the next n buffered bytes, valid until the next fill.
func (c *upstreamConn) take(n int) []byte {
	b := (*c.buf)[c.r : c.r+n]
	c.r += n
	return b
}

// fill waits for data and appends it to what is buffered.
func (c *upstreamConn) fill() error {
	if c.r == c.w {
		c.giveBuffer()
		return c.refill()
	}
	buf := *c.buf
	if c.w == len(buf) {
		if c.r == 0 {
			return errHeadTooLarge
		}
		c.w = copy(buf, buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.Read(buf[c.w:])
	return c.filled(n, err)
}

// refill waits for data without holding a buffer, and reads it into one.
func (c *upstreamConn) refill() error {
	if c.raw == nil {
		c.takeBuffer()
		n, err := c.Read(*c.buf)
		return c.filled(n, err)
	}
	for {
		err := c.raw.Read(c.attempt)
		switch {
		case err == nil && c.failed == nil && c.n == 0: // not all of the request went out at once
			if _, err := c.Write(c.outgoing); err != nil {
				return err
			}
			c.outgoing = nil
		case err == nil:
			return c.filled(c.n, c.failed)
		case !c.goesOn(err):
			return err
		}
	}
}

func (c *upstreamConn) filled(n int, err error) error {
	c.w += n
	if n == 0 {
		return err
	}
	c.received = true
	return nil
}

// readHead returns the head of an answer, up to and with the empty line.
func (c *upstreamConn) readHead() ([]byte, error) {
	for seen := 0; ; {
		view := c.view()
		if i := bytes.Index(view[seen:], []byte("\r\n\r\n")); i >= 0 {
			return c.take(seen + i + 4), nil
		}
		if len(view) > maxHead {
			return nil, errHeadTooLarge
		}
		seen = max(0, len(view)-3)
		err := c.fill()
		if other := mismatchOf(c.view(), false); other != nil {
			return nil, other
		}
		if err != nil {
			return nil, err
		}
	}
}
