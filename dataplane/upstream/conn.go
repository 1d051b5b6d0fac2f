package upstream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/dataplane/socket"
)

// Bounds of a connection.
const (
	BufferSize   = 68 << 10             // bytes of an answer read at once: what fast networks deliver, and a head
	maxHead      = 64 << 10             // of an answer
	MaxIdle      = 20 * time.Second     // idle connections are closed after it
	justUsed     = 5 * time.Millisecond // what an event loop, which would see what arrives, takes for a turn under load
	connLifetime = 5 * time.Minute      // plus up to a tenth, so that not all end at once
)

// Conn is an HTTP/1.1 connection to an endpoint, used by one exchange
// at a time. It holds a buffer only while there is something in it.
type Conn struct {
	net.Conn
	registry  *Registry
	raw       syscall.RawConn // of a plain socket; else nil
	belowTLS  syscall.RawConn // the socket beneath TLS; nil if there is none
	look      func(fd uintptr)
	quiet     bool // the result of look: open, with nothing to read
	expires   time.Time
	idleSince time.Time
	used      bool // served an exchange before
	doubtful  bool // see Doubt

	reading, writing deadline

	buffers  *sync.Pool // of *[]byte of BufferSize
	buf      *[]byte    // nil if nothing is buffered
	r, w     int        // read but not taken yet: (*buf)[r:w]
	received bool       // a byte has arrived in this exchange

	outgoing []byte                // a request, written by the first read
	attempt  func(fd uintptr) bool // writes outgoing, then reads into a buffer from the pool
	n        int                   // how much attempt has read
	failed   error
}

// NewConn returns a connection over c that serves exchanges until it expires, and is
// registered until it is closed. If the registry was aborted, it closes c.
func NewConn(c net.Conn, expires time.Time, registry *Registry) (*Conn, error) {
	uc := &Conn{Conn: c, expires: expires, registry: registry}
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
func (c *Conn) writeOut(fd int) bool {
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
func (c *Conn) SetReadDeadline(by time.Time) error {
	return c.reading.move(by, c.Conn.SetReadDeadline)
}

// SetWriteDeadline sets the deadline of future writes.
func (c *Conn) SetWriteDeadline(by time.Time) error {
	if c.raw == nil {
		return c.Conn.SetWriteDeadline(by) // crypto/tls breaks a connection whose deadline has passed
	}
	return c.writing.move(by, c.Conn.SetWriteDeadline)
}

// SetDeadline sets both.
func (c *Conn) SetDeadline(by time.Time) error {
	return errors.Join(c.SetReadDeadline(by), c.SetWriteDeadline(by))
}

// Read reads until the deadline.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err == nil || n > 0 || !c.goesOn(err) {
			return n, err
		}
	}
}

// goesOn reports whether err is a deadline that has been moved since it was set.
func (c *Conn) goesOn(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && c.reading.passed(time.Now(), c.Conn.SetReadDeadline)
}

// Write writes until the deadline.
func (c *Conn) Write(p []byte) (int, error) {
	for written := 0; ; {
		n, err := c.Conn.Write(p[written:])
		written += n
		if err == nil || c.raw == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !c.writing.passed(time.Now(), c.Conn.SetWriteDeadline) {
			return written, err
		}
	}
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.registry.remove(c)
	return c.Conn.Close()
}

// Fresh reports whether an idle connection may be used: it is not too old, and the
// endpoint has neither closed it nor sent bytes that nobody asked for, which would be
// taken for the next answer. Looking costs a system call, which is saved for a
// connection that was just in use if the request could be repeated.
func (c *Conn) Fresh(now time.Time, repeatable bool) bool {
	idle := now.Sub(c.idleSince)
	if now.After(c.expires) || idle > MaxIdle {
		return false
	}
	if c.belowTLS == nil || repeatable && !c.doubtful && idle < justUsed {
		return true
	}
	c.quiet = false
	err := c.belowTLS.Control(c.look)
	return err == nil && c.quiet
}

// Doubt says that the endpoint may disagree about where the exchange ends, since the
// request has a body or the answer has none: it may take the one for a request of its
// own, and send a body with the other. So the connection is looked at before it is
// used again, however soon.
func (c *Conn) Doubt() { c.doubtful = true }

// Lifetime returns until when a connection made at now may be reused.
func Lifetime(now time.Time) time.Time {
	return now.Add(connLifetime + rand.N(connLifetime/10))
}

// Stale reports whether c, over which an exchange has failed, was probably closed by
// the endpoint while it was idle: it served others, and nothing has arrived now.
func (c *Conn) Stale() bool { return c.used && !c.received }

// Begin prepares c for an exchange.
func (c *Conn) Begin(buffers *sync.Pool) {
	c.buffers, c.outgoing, c.doubtful = buffers, nil, false
	c.r, c.w, c.received = 0, 0, false
}

// End returns the buffer after an exchange.
func (c *Conn) End() {
	c.giveBuffer()
	c.used = true
}

func (c *Conn) takeBuffer() {
	c.buf = c.buffers.Get().(*[]byte) // the pool holds nothing else
}

func (c *Conn) giveBuffer() {
	if c.buf != nil {
		c.buffers.Put(c.buf)
	}
	c.buf, c.r, c.w = nil, 0, 0
}

func (c *Conn) buffered() int { return c.w - c.r }

// Buffered returns what was read and not taken yet, valid until the next read.
func (c *Conn) Buffered() []byte {
	if c.buf == nil {
		return nil
	}
	return (*c.buf)[c.r:c.w]
}

// take returns the next n buffered bytes, valid until the next fill.
func (c *Conn) take(n int) []byte {
	b := (*c.buf)[c.r : c.r+n]
	c.r += n
	return b
}

// fill waits for data and appends it to what is buffered.
func (c *Conn) fill() error {
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
func (c *Conn) refill() error {
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

func (c *Conn) filled(n int, err error) error {
	c.w += n
	if n == 0 {
		return err
	}
	c.received = true
	return nil
}

// WriteRequest writes a whole request. On a plain socket it is written along with
// the first read, so b must stay as it is until then.
func (c *Conn) WriteRequest(b []byte) error {
	if c.raw != nil {
		c.outgoing = b
		return nil
	}
	_, err := c.Write(b)
	return err
}

// ReadHead returns the head of an answer, up to and with the empty line.
func (c *Conn) readHead() ([]byte, error) {
	for seen := 0; ; {
		view := c.Buffered()
		if i := bytes.Index(view[seen:], []byte("\r\n\r\n")); i >= 0 {
			return c.take(seen + i + 4), nil
		}
		if len(view) > maxHead {
			return nil, errHeadTooLarge
		}
		seen = max(0, len(view)-3)
		err := c.fill()
		if other := mismatchOf(c.Buffered(), false); other != nil {
			return nil, other
		}
		if err != nil {
			return nil, err
		}
	}
}
