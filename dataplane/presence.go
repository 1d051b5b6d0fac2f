package dataplane

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/meshgw/meshgw/dataplane/socket"
)

const (
	lookEvery = 500 * time.Millisecond // at clients whose endpoint is silent
	halfOpen  = 3 * time.Second        // for an answer, once the client's side has ended

	statusClientLeft = 499 // what nginx logs; nobody is there to be sent it
)

var errClientLeft = errors.New("client left before its answer")

// presence is whether a client still waits for its answer while an endpoint is
// silent. A reset ends the exchange when it is seen. An end of the client's side
// alone may be a half-close (RFC 9112, section 9.6, leaves it to the server):
// the answer then has halfOpen to begin.
type presence struct {
	left chan struct{} // closed when the client has left

	mu     sync.Mutex // guards the rest
	since  time.Time  // waiting from then; zero = not waiting
	conn   io.Closer  // what leads to the endpoint
	upload *upload    // not at its end: it will see for itself
	ended  time.Time  // when the client's side was found to have ended
	gone   bool
}

// await begins a wait.
func (p *presence) await(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.conn, p.upload = now, nil, nil
}

// over says over what the answer comes: it is closed should the client leave.
func (p *presence) over(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = c
	if p.gone {
		_ = c.Close()
	}
}

// behind says that the wait begins in earnest when u has ended.
func (p *presence) behind(u *upload) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upload = u
}

// rest ends the wait. Who leaves from now on cuts off the answer.
func (p *presence) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.upload = time.Time{}, nil
}

func (p *presence) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.since.IsZero()
}

func (p *presence) hasLeft() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// look ends the exchange if its client has left.
func (p *presence) look(now time.Time, state func() (ended, broken bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || p.since.IsZero() || now.Sub(p.since) < lookEvery {
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
	if !broken && (!ended || now.Sub(p.ended) < halfOpen || now.Sub(p.since) < halfOpen) {
		return
	}
	p.depart()
}

// leave ends the exchange: its client has left.
func (p *presence) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.depart()
}

// depart does so, p.mu held.
func (p *presence) depart() {
	p.gone = true
	if p.conn != nil {
		_ = p.conn.Close()
	}
	close(p.left)
}

// follow looks at the clients that wait, until stop is closed.
func (c *clients) follow(stop <-chan struct{}) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var waiting []*clientConn
	for {
		select {
		case now := <-ticker.C:
			waiting = c.waiting(waiting[:0])
			for _, conn := range waiting {
				conn.presence.look(now, conn.side)
			}
			clear(waiting)
		case <-stop:
			return
		}
	}
}

// waiting appends the clients that wait for an endpoint. It does not look at
// them yet: nobody else gets at the connections meanwhile.
func (c *clients) waiting(conns []*clientConn) []*clientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if conn.presence.waits() {
			conns = append(conns, conn)
		}
	}
	return conns
}

// side reports whether the client's side of the connection has ended, and
// whether the connection is broken.
func (c *clientConn) side() (ended, broken bool) {
	raw := socket.Raw(socket.Unwrap(c.Conn))
	if raw == nil {
		return false, false
	}
	err := raw.Control(func(fd uintptr) { ended, broken = socket.HungUp(fd) })
	return ended, broken || err != nil
}

// clientLeft is the refusal that only the log will see.
func clientLeft() refusal { return refusal{status: statusClientLeft, close: true} }
