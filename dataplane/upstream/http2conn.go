package upstream

import (
	"net/http"
	"sync/atomic"
	"time"
)

// HTTP2Conn is an HTTP/2 connection to an endpoint. Each exchange over it
// holds it, and so does the pool while it is open to new ones; the last holder
// closes it. (net/http counts more as in flight: a stream that was reset stays
// until the endpoint answers a PING, if need be for ever.)
type HTTP2Conn struct {
	conn    *http.ClientConn
	pool    *HTTP2Pool
	expires time.Time
	holders atomic.Int64
	used    atomic.Int64 // when last, in Unix ns
}

// newHTTP2Conn returns a connection that is held by p and by the caller.
func newHTTP2Conn(p *HTTP2Pool, c *http.ClientConn) *HTTP2Conn {
	l := &HTTP2Conn{conn: c, pool: p, expires: Lifetime(time.Now())}
	l.holders.Store(2)
	return l
}

// reserve holds the connection and reserves a place on it for an exchange.
func (l *HTTP2Conn) reserve() bool {
	if !l.hold() {
		return false
	}
	if l.conn.Reserve() != nil {
		l.Release()
		return false
	}
	return true
}

// RoundTrip does the exchange for which the connection was reserved.
func (l *HTTP2Conn) RoundTrip(req *http.Request) (*http.Response, error) {
	return l.conn.RoundTrip(req)
}

// GiveUp returns a reserved place that is not used.
func (l *HTTP2Conn) GiveUp() { l.conn.Release() }

// hold adds a holder, unless there is none left. It reports whether it did.
func (l *HTTP2Conn) hold() bool {
	for {
		n := l.holders.Load()
		if n == 0 || l.holders.CompareAndSwap(n, n+1) {
			return n > 0
		}
	}
}

// Release removes a holder. A connection that takes no more streams is closed at
// once.
func (l *HTTP2Conn) Release() {
	l.used.Store(time.Now().UnixNano())
	switch l.holders.Add(-1) {
	case 0:
		l.pool.Close(l.conn)
	case 1:
		if refusesStreams(l.conn) {
			l.pool.Sweep(time.Now())
		}
	}
}

// expired reports whether the connection is to take no new exchanges.
func (l *HTTP2Conn) expired(now time.Time) bool {
	unused := l.holders.Load() == 1
	return l.conn.Err() != nil || now.After(l.expires) ||
		unused && (now.Sub(time.Unix(0, l.used.Load())) > MaxIdle || refusesStreams(l.conn))
}

// refusesStreams reports whether the endpoint allows no exchange over c although
// there is none: by SETTINGS or GOAWAY.
func refusesStreams(c *http.ClientConn) bool { return c.InFlight() == 0 && c.Available() == 0 }
