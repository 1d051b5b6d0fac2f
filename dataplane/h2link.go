package dataplane

import (
	"net/http"
	"sync/atomic"
	"time"
)

// h2Link is an HTTP/2 connection to an endpoint. Each exchange over it holds it,
// and so do the h2Conns for as long as it is open to new ones: who lets go last
// closes it. (What net/http counts as in flight is more: a request that was reset
// stays for as long as the endpoint answers no PING, if need be for ever.)
type h2Link struct {
	conn    *http.ClientConn
	conns   *h2Conns
	expires time.Time
	holders atomic.Int64
	used    atomic.Int64 // when last, in ns since 1970
}

// newH2Link returns one that is held by p, and by the caller.
func newH2Link(p *h2Conns, c *http.ClientConn) *h2Link {
	l := &h2Link{conn: c, conns: p, expires: lifetime(time.Now())}
	l.holders.Store(2)
	return l
}

// reserve holds and reserves the connection for an exchange, if it takes more.
func (l *h2Link) reserve() bool {
	if !l.hold() {
		return false
	}
	if l.conn.Reserve() != nil {
		l.letGo()
		return false
	}
	return true
}

// hold reports whether the connection was still held by anybody, and now is by
// the caller too.
func (l *h2Link) hold() bool {
	for {
		n := l.holders.Load()
		if n == 0 || l.holders.CompareAndSwap(n, n+1) {
			return n > 0
		}
	}
}

// letGo ends a hold. A connection over which nothing more can be sent does not
// wait for its time.
func (l *h2Link) letGo() {
	l.used.Store(time.Now().UnixNano())
	switch l.holders.Add(-1) {
	case 0:
		l.conns.close(l.conn)
	case 1:
		if takesNothing(l.conn) {
			l.conns.sweep(time.Now())
		}
	}
}

// over reports whether the connection is for no new exchanges.
func (l *h2Link) over(now time.Time) bool {
	unused := l.holders.Load() == 1
	return l.conn.Err() != nil || now.After(l.expires) ||
		unused && (now.Sub(time.Unix(0, l.used.Load())) > connIdle || takesNothing(l.conn))
}

// takesNothing reports whether the endpoint allows no exchange over c, although
// there is none: it said so, or that it will be gone.
func takesNothing(c *http.ClientConn) bool { return c.InFlight() == 0 && c.Available() == 0 }
