package socket

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// Conn is a TCP connection that reads and writes with ReadNow and WriteNow. One
// Read and one Write may run at the same time.
type Conn struct {
	*net.TCPConn
	raw syscall.RawConn

	reading sync.Mutex // guards what follows
	get     func(fd uintptr) bool
	into    []byte
	n       int
	readErr error

	writing  sync.Mutex // guards the rest
	put      func(fd uintptr) bool
	parts    [3][]byte // what is left of the write in progress
	writeErr error
}

// Wrap returns c as a *Conn if it is a TCP connection, else c itself.
func Wrap(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	s := &Conn{TCPConn: tcp, raw: raw}
	// Both callbacks are made once: a closure for each call would be allocated.
	s.get = func(fd uintptr) bool {
		s.n, s.readErr = ReadNow(int(fd), s.into)
		return s.readErr != syscall.EAGAIN //nolint:errorlint // ReadNow returns it bare
	}
	s.put = s.writeRest
	return s
}

// Read waits until there is something to read, and reads it.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	c.into = p
	err := c.raw.Read(c.get)
	c.into = nil
	if err != nil {
		return 0, err
	}
	return c.n, c.readErr
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (int, error) { return c.WriteParts([3][]byte{p}) }

// WriteParts writes all of parts in order, with a single system call if the
// socket's buffer has room for them. It returns the number of bytes written.
func (c *Conn) WriteParts(parts [3][]byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.parts, c.writeErr = parts, nil
	all := c.left()
	err := c.raw.Write(c.put)
	n := all - c.left()
	c.parts = [3][]byte{}
	return n, errors.Join(err, c.writeErr)
}

// writeRest writes what is left. It reports whether the write is over, done or
// failed; if not, the caller waits until the socket is writable.
func (c *Conn) writeRest(fd uintptr) bool {
	for c.left() > 0 {
		n, err := WriteNow(int(fd), &c.parts)
		if err == syscall.EAGAIN { //nolint:errorlint // WriteNow returns it bare
			return false
		}
		if c.writeErr = err; err != nil {
			return true
		}
		c.advance(n)
	}
	return true
}

func (c *Conn) left() int { return len(c.parts[0]) + len(c.parts[1]) + len(c.parts[2]) }

// advance drops the first n bytes of what is left.
func (c *Conn) advance(n int) {
	for i, p := range c.parts {
		taken := min(n, len(p))
		c.parts[i] = p[taken:]
		n -= taken
	}
}

// Raw returns the file descriptor behind c, nil if there is none, as for a TLS
// connection or one in memory.
func Raw(c net.Conn) syscall.RawConn {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// Unwrap returns the connection beneath TLS and other layers that have a NetConn
// method.
func Unwrap(c net.Conn) net.Conn {
	for {
		layer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = layer.NetConn()
	}
}
