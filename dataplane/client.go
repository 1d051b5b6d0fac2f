package dataplane

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	readBuffer   = 16 << 10 // a piece of a streamed body; heads may take more
	maxHead      = 64 << 10 // of an answer
	connIdle     = 20 * time.Second
	connLifetime = 5 * time.Minute // plus up to a tenth, so that not all end at once
)

// upstreamConn is a connection to an endpoint. One exchange has it at a time.
type upstreamConn struct {
	net.Conn
	registry  *connRegistry
	raw       syscall.RawConn // nil where there is no socket to look at
	look      func(fd uintptr) bool
	quiet     bool // what look found: open, and nothing to read
	expires   time.Time
	idleSince time.Time
	used      bool // served an exchange before

	buf      *[]byte // while an exchange has the connection
	r, w     int     // what was read and not taken: (*buf)[r:w]
	received bool    // a byte came in this exchange
}

func newUpstreamConn(c net.Conn, expires time.Time, registry *connRegistry) (*upstreamConn, error) {
	uc := &upstreamConn{Conn: c, expires: expires, registry: registry}
	if !registry.add(uc) {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	uc.watch(c)
	return uc, nil
}

// watch readies the look at an idle connection.
func (c *upstreamConn) watch(below net.Conn) {
	sc, ok := socket(below).(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	c.raw = raw
	c.look = func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		c.quiet = err == syscall.EAGAIN
		return true
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
	open   map[*upstreamConn]struct{}
	closed bool
}

func (r *connRegistry) add(c *upstreamConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.open[c] = struct{}{}
	}
	return !r.closed
}

func (r *connRegistry) remove(c *upstreamConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
}

// abort closes all connections, and those that are opened from now on.
func (r *connRegistry) abort() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for c := range r.open {
		_ = c.Conn.Close()
	}
}

// socket returns what lies below TLS.
func socket(c net.Conn) net.Conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return c
}

// fresh reports whether an idle connection may be used: it is not too old, and
// the endpoint has neither closed it nor sent bytes that nobody asked for.
func (c *upstreamConn) fresh(now time.Time) bool {
	if now.After(c.expires) || now.Sub(c.idleSince) > connIdle {
		return false
	}
	if c.raw == nil {
		return true
	}
	c.quiet = false
	err := c.raw.Read(c.look)
	return err == nil && c.quiet
}

// begin readies c for an exchange.
func (c *upstreamConn) begin(buffers *sync.Pool) {
	c.buf = buffers.Get().(*[]byte)
	c.r, c.w, c.received = 0, 0, false
}

// end gives the buffer back.
func (c *upstreamConn) end(buffers *sync.Pool) {
	if c.buf != nil && cap(*c.buf) == readBuffer {
		buffers.Put(c.buf)
	}
	c.buf, c.used = nil, true
}

func (c *upstreamConn) buffered() int { return c.w - c.r }

func (c *upstreamConn) view() []byte { return (*c.buf)[c.r:c.w] }

// take hands out n buffered bytes, valid until the next fill.
func (c *upstreamConn) take(n int) []byte {
	b := (*c.buf)[c.r : c.r+n]
	c.r += n
	return b
}

// fill reads what is there, at least a byte, behind what is buffered.
func (c *upstreamConn) fill() error {
	buf := *c.buf
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w == len(buf):
		if c.r == 0 {
			return errHeadTooLarge
		}
		c.w = copy(buf, buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.Read(buf[c.w:])
	c.w += n
	c.received = c.received || n > 0
	if n > 0 {
		return nil
	}
	return err
}

// readHead returns an answer's head, from its status line to the empty line.
func (c *upstreamConn) readHead() ([]byte, error) {
	for seen := 0; ; {
		view := c.view()
		if i := bytes.Index(view[seen:], []byte("\r\n\r\n")); i >= 0 {
			return c.take(seen + i + 4), nil
		}
		seen = max(0, len(view)-3)
		if c.w == len(*c.buf) && c.r == 0 {
			if len(*c.buf) >= maxHead {
				return nil, errHeadTooLarge
			}
			grown := make([]byte, 4*len(*c.buf))
			copy(grown, *c.buf)
			c.buf = &grown
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}
