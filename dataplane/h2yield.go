package dataplane

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
)

// yieldingConn is a socket that, once HTTP/2 is spoken over it, yields the processor
// before each read and write.
//
// net/http passes frames from one goroutine to the next in such a way that a client
// that sends as fast as it can has a core to itself until the scheduler preempts it,
// after 10 ms; until then it is not noticed either that its requests were reset. And
// before a write, yielding lets answers that are almost ready join it.
type yieldingConn struct {
	net.Conn
	yields bool
	again  func(err error) bool // whether a read that has failed is tried again; nil = it is not
}

// Read yields, then reads.
func (t *yieldingConn) Read(p []byte) (int, error) {
	if t.yields {
		runtime.Gosched()
	}
	n, err := t.Conn.Read(p)
	if err != nil && t.again != nil && t.again(err) {
		n, err = t.Conn.Read(p)
	}
	return n, err
}

// Write yields, then writes.
func (t *yieldingConn) Write(p []byte) (int, error) {
	if t.yields {
		runtime.Gosched()
	}
	return t.Conn.Write(p)
}

// NetConn returns the socket itself.
func (t *yieldingConn) NetConn() net.Conn { return t.Conn }

// bufferedYieldingConn is a yieldingConn in cleartext with a read buffer: net/http
// reads each frame with two reads. (TLS has a buffer of its own, for a record.)
type bufferedYieldingConn struct {
	*yieldingConn
	in *bufio.Reader
}

// connForHTTP2 returns the connection for net/http, which has to get a *tls.Conn as it
// is. already is what was read from it.
func (c *clientConn) connForHTTP2(already []byte) net.Conn {
	if t, ok := c.Conn.(*tls.Conn); ok {
		t.NetConn().(*yieldingConn).yields = true //nolint:forcetypeassert // accept made it so
		return t
	}
	t := &yieldingConn{Conn: c.Conn, yields: true}
	return &bufferedYieldingConn{yieldingConn: t, in: bufio.NewReader(io.MultiReader(bytes.NewReader(already), t))}
}

// Read reads through the buffer.
func (t *bufferedYieldingConn) Read(p []byte) (int, error) { return t.in.Read(p) }
