package dataplane

import (
	"crypto/tls"
	"net"
	"time"
)

// greeting is a connection to an endpoint of which is known when net/http has
// taken in its first frame: SETTINGS, which say how many requests it takes at once.
// Before that net/http guesses; and where more have been promised a place than
// there turn out to be, none of them is ever sent.
type greeting struct {
	net.Conn
	head   [9]byte // of the frame
	seen   int     // bytes, of whatever
	over   bool
	taken  chan struct{} // closed when it was, or none will come
	failed error         // why none will; valid when taken is closed
}

func newGreeting(c net.Conn) *greeting { return &greeting{Conn: c, taken: make(chan struct{})} }

// Read reads for net/http, which asks for more when it has dealt with what it has.
func (g *greeting) Read(p []byte) (int, error) {
	if g.over {
		return g.Conn.Read(p)
	}
	length := int(g.head[0])<<16 | int(g.head[1])<<8 | int(g.head[2])
	if g.seen >= len(g.head)+length {
		g.end(nil)
		return g.Conn.Read(p)
	}
	n, err := g.Conn.Read(p)
	if g.seen == 0 && n > 0 {
		if other := misfitOf(p[:n], true); other != nil {
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

func (g *greeting) end(err error) {
	g.over, g.failed = true, err
	close(g.taken)
}

const tlsGoodbye = 250 * time.Millisecond // to take it, before the socket is closed

// Close closes the connection, also where the endpoint takes nothing: TLS would
// wait for that.
func (g *greeting) Close() error {
	if t, ok := g.Conn.(*tls.Conn); ok {
		defer time.AfterFunc(tlsGoodbye, func() { _ = t.NetConn().Close() }).Stop()
	}
	return g.Conn.Close()
}
