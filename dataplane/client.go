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
	readBuffer   = 16 << 10 // a piece of a body from a client, or of a tunnel
	answerBuffer = 68 << 10 // a piece of an answer: what loopback and fast networks bring at once, and a head
	maxHead      = 64 << 10 // of an answer
	connIdle     = 20 * time.Second
	justUsed     = 50 * time.Millisecond
	connLifetime = 5 * time.Minute // plus up to a tenth, so that not all end at once
)

// upstreamConn is a connection to an endpoint. One exchange has it at a time. It
// holds a buffer only while there is something in it.
type upstreamConn struct {
	net.Conn
	registry  *connRegistry
	raw       syscall.RawConn // of a plain socket; else nil
	belowTLS  syscall.RawConn // the socket beneath TLS; nil if there is none
	look      func(fd uintptr)
	quiet     bool // what look found: open, and nothing to read
	expires   time.Time
	idleSince time.Time
	used      bool // served an exchange before

	reading, writing deadline

	buffers  *sync.Pool // of *[]byte of answerBuffer
	buf      *[]byte    // nil = nothing is buffered
	r, w     int        // what was read and not taken: (*buf)[r:w]
	received bool       // a byte came in this exchange

	outgoing []byte                // a request that is written before anything is read
	attempt  func(fd uintptr) bool // to write outgoing, then to read into a buffer that it takes
	n        int                   // what attempt has read
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
			// Nothing can have come yet, and a wait that began before the write
			// misses nothing: it saves a read that finds nothing.
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

// writeOut writes outgoing as far as goes, and reports whether it is out.
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

// SetReadDeadline sets the deadline of reads, the one under way included.
func (c *upstreamConn) SetReadDeadline(by time.Time) error {
	return c.reading.move(by, c.Conn.SetReadDeadline)
}

// SetWriteDeadline sets the deadline of writes to come.
func (c *upstreamConn) SetWriteDeadline(by time.Time) error {
	if c.raw == nil {
		return c.Conn.SetWriteDeadline(by) // a TLS connection is broken once one has struck
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

// goesOn reports whether err is a deadline that has struck too early.
func (c *upstreamConn) goesOn(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && c.reading.again(time.Now(), c.Conn.SetReadDeadline)
}

// Write writes until the deadline.
func (c *upstreamConn) Write(p []byte) (int, error) {
	for written := 0; ; {
		n, err := c.Conn.Write(p[written:])
		written += n
		if err == nil || c.raw == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !c.writing.again(time.Now(), c.Conn.SetWriteDeadline) {
			return written, err
		}
	}
}

// Close closes the connection.
func (c *upstreamConn) Close() error {
	c.registry.remove(c)
	return c.Conn.Close()
}

// connRegistry knows all open connections to endpoints, so that a drain that
// takes too long can end them.
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

// abort closes all connections, and those that are opened from now on.
func (r *connRegistry) abort() {
	r.mu.Lock()
	r.closed = true
	open := slices.Collect(maps.Keys(r.open))
	r.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // takes itself out
	}
}

// fresh reports whether an idle connection may be used: it is not too old, and
// the endpoint has neither closed it nor sent bytes that nobody asked for. The
// latter is not asked about one that was just in use, if a request that fails
// over it may be repeated.
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

// begin readies c for an exchange.
func (c *upstreamConn) begin(buffers *sync.Pool) {
	c.buffers, c.outgoing = buffers, nil
	c.r, c.w, c.received = 0, 0, false
}

// end gives the buffer back.
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

// take hands out n buffered bytes, valid until the next fill.
func (c *upstreamConn) take(n int) []byte {
	b := (*c.buf)[c.r : c.r+n]
	c.r += n
	return b
}

// fill reads what is there, at least a byte, behind what is buffered.
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

// refill reads into a buffer that is taken when there is something to read.
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

// readHead returns an answer's head, from its status line to the empty line.
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
		if other := misfitOf(c.view(), false); other != nil {
			return nil, other
		}
		if err != nil {
			return nil, err
		}
	}
}
