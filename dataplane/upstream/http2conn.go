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
func newHTTP2Conn(p *HTTP2Pool, conn *http.ClientConn) *HTTP2Conn {
	c := &HTTP2Conn{conn: conn, pool: p, expires: Lifetime(time.Now())}
	c.holders.Store(2)
	return c
}

// reserve holds the connection and reserves a place on it for an exchange.
func (c *HTTP2Conn) reserve() bool {
	if !c.hold() {
		return false
	}
	if c.conn.Reserve() != nil {
		c.Release()
		return false
	}
	return true
}

// RoundTrip does the exchange for which the connection was reserved.
func (c *HTTP2Conn) RoundTrip(req *http.Request) (*http.Response, error) {
	return c.conn.RoundTrip(req)
}

// GiveUp returns a reserved place that is not used.
func (c *HTTP2Conn) GiveUp() { c.conn.Release() }

// hold adds a holder, unless there is none left. It reports whether it did.
func (c *HTTP2Conn) hold() bool {
	for {
		n := c.holders.Load()
		if n == 0 || c.holders.CompareAndSwap(n, n+1) {
			return n > 0
		}
	}
}

// Release removes a holder. A connection that takes no more streams is closed at
// once.
func (c *HTTP2Conn) Release() {
	c.used.Store(time.Now().UnixNano())
	switch c.holders.Add(-1) {
	case 0:
		c.pool.Close(c.conn)
	case 1:
		if refusesStreams(c.conn) {
			c.pool.Sweep(time.Now())
		}
	}
}

// expired reports whether the connection is to take no new exchanges.
func (c *HTTP2Conn) expired(now time.Time) bool {
	unused := c.holders.Load() == 1
	return c.conn.Err() != nil || now.After(c.expires) ||
		unused && (now.Sub(time.Unix(0, c.used.Load())) > MaxIdle || refusesStreams(c.conn))
}

// refusesStreams reports whether the endpoint allows no exchange over c although
// there is none: by SETTINGS or GOAWAY.
func refusesStreams(c *http.ClientConn) bool { return c.InFlight() == 0 && c.Available() == 0 }
