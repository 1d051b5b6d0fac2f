package upstream

import (
	"crypto/tls"
	"net"
	"time"
)

// settingsConn is a connection to an endpoint that tells when net/http has
// processed its first frame: SETTINGS, which say how many requests it takes at
// once. Before that net/http guesses, and of the requests that were promised a
// place beyond the real number none is ever sent.
type settingsConn struct {
	net.Conn
	head     [9]byte // header of the first frame
	seen     int     // bytes read so far
	done     bool
	received chan struct{} // closed when SETTINGS were processed, or none will arrive
	err      error         // why none will; valid when received is closed
}

func newSettingsConn(c net.Conn) *settingsConn {
	return &settingsConn{Conn: c, received: make(chan struct{})}
}

// Read reads for net/http, which reads on when it has processed what it has.
func (g *settingsConn) Read(p []byte) (int, error) {
	if g.done {
		return g.Conn.Read(p)
	}
	length := int(g.head[0])<<16 | int(g.head[1])<<8 | int(g.head[2])
	if g.seen >= len(g.head)+length {
		g.end(nil)
		return g.Conn.Read(p)
	}
	n, err := g.Conn.Read(p)
	if g.seen == 0 && n > 0 {
		if other := mismatchOf(p[:n], true); other != nil {
			n, err = 0, other
		}
	}
	if g.seen < len(g.head) {
		copy(g.head[g.seen:], p[:n])
	}
	if g.seen += n; err != nil {
		g.end(err)
	}
	return n, err
}

func (g *settingsConn) end(err error) {
	g.done, g.err = true, err
	close(g.received)
}

const closeNotifyWait = 250 * time.Millisecond // for the peer to take it, before the socket is closed

// Close closes the connection, even if the endpoint reads nothing, for which TLS
// would wait.
func (g *settingsConn) Close() error {
	if t, ok := g.Conn.(*tls.Conn); ok {
		defer time.AfterFunc(closeNotifyWait, func() { _ = t.NetConn().Close() }).Stop()
	}
	return g.Conn.Close()
}
