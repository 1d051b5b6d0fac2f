package dataplane

import (
	"net/http"
	"sync/atomic"
	"time"
)

// h2UpstreamConn is an HTTP/2 connection to an endpoint. Each exchange over it
// holds it, and so does the pool while it is open to new ones; the last holder
// closes it. (net/http counts more as in flight: a stream that was reset stays
// until the endpoint answers a PING, if need be for ever.)
type h2UpstreamConn struct {
	conn    *http.ClientConn
	pool    *h2Pool
	expires time.Time
	holders atomic.Int64
	used    atomic.Int64 // when last, in Unix ns
}

// newH2UpstreamConn returns a connection that is held by p and by the caller.
func newH2UpstreamConn(p *h2Pool, c *http.ClientConn) *h2UpstreamConn {
	l := &h2UpstreamConn{conn: c, pool: p, expires: lifetime(time.Now())}
	l.holders.Store(2)
	return l
}

// reserve holds the connection and reserves a place on it for an exchange.
func (l *h2UpstreamConn) reserve() bool {
	if !l.hold() {
		return false
	}
	if l.conn.Reserve() != nil {
		l.release()
		return false
	}
	return true
}

// hold adds a holder, unless there is none left. It reports whether it did.
func (l *h2UpstreamConn) hold() bool {
	for {
		n := l.holders.Load()
		if n == 0 || l.holders.CompareAndSwap(n, n+1) {
			return n > 0
		}
	}
}

// release removes a holder. A connection that takes no more streams is closed at
// once.
func (l *h2UpstreamConn) release() {
	l.used.Store(time.Now().UnixNano())
	switch l.holders.Add(-1) {
	case 0:
		l.pool.close(l.conn)
	case 1:
		if refusesStreams(l.conn) {
			l.pool.sweep(time.Now())
		}
	}
}

// expired reports whether the connection is to take no new exchanges.
func (l *h2UpstreamConn) expired(now time.Time) bool {
	unused := l.holders.Load() == 1
	return l.conn.Err() != nil || now.After(l.expires) ||
		unused && (now.Sub(time.Unix(0, l.used.Load())) > connIdle || refusesStreams(l.conn))
}

// refusesStreams reports whether the endpoint allows no exchange over c although
// there is none: by SETTINGS or GOAWAY.
func refusesStreams(c *http.ClientConn) bool { return c.InFlight() == 0 && c.Available() == 0 }
