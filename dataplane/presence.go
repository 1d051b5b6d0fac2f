package dataplane

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/meshgw/meshgw/dataplane/socket"
)

const (
	presenceEvery = 500 * time.Millisecond // between two looks at clients that wait
	halfCloseWait = 3 * time.Second        // for an answer to begin, once the client's side has ended

	statusClientLeft = 499 // as nginx logs it; it is never sent
)

var errClientLeft = errors.New("client left before its answer")

// presence watches whether a client still waits for its answer while an
// endpoint is silent. A reset ends the exchange as soon as it is noticed. The
// end of the client's side alone may be a half-close (RFC 9112, section 9.6,
// leaves it to the server): the answer then has halfCloseWait to begin.
type presence struct {
	left chan struct{} // closed when the client has left

	mu     sync.Mutex // guards the rest
	since  time.Time  // since when the client waits; zero = it does not
	conn   io.Closer  // the connection to the endpoint
	upload *upload    // in progress: it will notice by itself
	ended  time.Time  // when the client's side was found to have ended
	gone   bool
}

// start is called when the client begins to wait.
func (p *presence) start(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.conn, p.upload = now, nil, nil
}

// closeOnLeave sets the connection that is closed if the client leaves.
func (p *presence) closeOnLeave(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = c
	if p.gone {
		_ = c.Close()
	}
}

// afterUpload lets the client be watched only when u has ended.
func (p *presence) afterUpload(u *upload) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upload = u
}

// stop is called when the wait has ended. A client that leaves later is noticed by
// the writing of the answer.
func (p *presence) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.upload = time.Time{}, nil
}

func (p *presence) active() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.since.IsZero()
}

func (p *presence) hasLeft() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// check ends the exchange if state shows that its client has left.
func (p *presence) check(now time.Time, state func() (ended, broken bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || p.since.IsZero() || now.Sub(p.since) < presenceEvery {
		return
	}
	if p.upload != nil {
		select {
		case <-p.upload.done:
		default:
			return
		}
	}
	ended, broken := state()
	if ended && p.ended.IsZero() {
		p.ended = now
	}
	if !broken && (!ended || now.Sub(p.ended) < halfCloseWait || now.Sub(p.since) < halfCloseWait) {
		return
	}
	p.leaveLocked()
}

// leave ends the exchange: its client has left.
func (p *presence) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked()
}

// leaveLocked is leave, p.mu held.
func (p *presence) leaveLocked() {
	p.gone = true
	if p.conn != nil {
		_ = p.conn.Close()
	}
	close(p.left)
}

// watchPresence checks the clients that wait, until stop is closed.
func (c *clients) watchPresence(stop <-chan struct{}) {
	ticker := time.NewTicker(presenceEvery)
	defer ticker.Stop()
	var waiting []*clientConn
	for {
		select {
		case now := <-ticker.C:
			waiting = c.waiting(waiting[:0])
			for _, conn := range waiting {
				conn.presence.check(now, conn.peerState)
			}
			clear(waiting)
		case <-stop:
			return
		}
	}
}

// waiting appends the clients that wait for an endpoint. They are checked later,
// since c.mu is held here.
func (c *clients) waiting(conns []*clientConn) []*clientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if conn.presence.active() {
			conns = append(conns, conn)
		}
	}
	return conns
}

// peerState reports whether the client's side of the connection has ended, and
// whether the connection is broken.
func (c *clientConn) peerState() (ended, broken bool) {
	raw := socket.Raw(socket.Unwrap(c.Conn))
	if raw == nil {
		return false, false
	}
	err := raw.Control(func(fd uintptr) { ended, broken = socket.HungUp(fd) })
	return ended, broken || err != nil
}

const (
	longStandstill = 5 * time.Second  // that clients may have given up in
	catchUp        = 10 * time.Second // after it, for what came meanwhile
)

// leftInStandstill reports whether the client of a request that is read now has left
// while this process stood still for long. Else it would do, for some seconds, what
// nobody waits for, before what somebody does. A client that has half-closed is taken
// for one that has left: so few do.
func (c *clientConn) leftInStandstill(now time.Time) bool {
	s := c.server
	if now.Sub(s.coarseNow()) < longStandstill && now.UnixNano()-s.stoodUntil.Load() >= int64(catchUp) {
		return false
	}
	ended, broken := c.peerState()
	return ended || broken
}

// clientLeft is the refusal of a request whose client has left: it is only logged.
func clientLeft() refusal { return refusal{status: statusClientLeft, close: true} }
