package dataplane

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
)

// turn is a socket that, once HTTP/2 is spoken over it, lets others run each time
// before it is read or written to.
//
// net/http hands frames from one goroutine to another in such a way that a client
// which sends as fast as it can has a core to itself until the scheduler steps in,
// after 10 ms; nor are its requests found to have been reset. And it writes when it
// has nothing to add, which answers that are almost ready can change.
type turn struct {
	net.Conn
	yields bool
}

// Read reads when it is its turn.
func (t *turn) Read(p []byte) (int, error) {
	if t.yields {
		runtime.Gosched()
	}
	return t.Conn.Read(p)
}

// Write writes when it is its turn.
func (t *turn) Write(p []byte) (int, error) {
	if t.yields {
		runtime.Gosched()
	}
	return t.Conn.Write(p)
}

// NetConn returns the socket itself.
func (t *turn) NetConn() net.Conn { return t.Conn }

// turns is a connection in clear, read in pieces of many frames: net/http asks for
// each of them with two reads. (It reads TLS in whole records.)
type turns struct {
	*turn
	in *bufio.Reader
}

// inTurns returns the connection for net/http, which is to see TLS bare. Something
// of it was read already.
func (c *clientConn) inTurns(already []byte) net.Conn {
	if t, ok := c.Conn.(*tls.Conn); ok {
		t.NetConn().(*turn).yields = true //nolint:forcetypeassert // accept made it so
		return t
	}
	t := &turn{Conn: c.Conn, yields: true}
	return &turns{turn: t, in: bufio.NewReader(io.MultiReader(bytes.NewReader(already), t))}
}

// Read reads what has come.
func (t *turns) Read(p []byte) (int, error) { return t.in.Read(p) }
