package dataplane

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errPendingFull = errors.New("too many requests wait for a connection")
	errWaited      = errors.New("no connection came free in time")
)

// pool holds the connections to one endpoint. A slot is the right to one exchange;
// requests that find none free wait in a queue.
type pool struct {
	dial    dialer
	pending *atomic.Int64 // of the upstream, over all its endpoints
	queued  *atomic.Int64 // of the endpoint

	mu       sync.Mutex // guards the rest
	idle     []*upstreamConn
	slots    int // in use
	limit    int
	waiters  queue
	dialling int // connections that are being opened
	pace     dialPace
	dialers  []chan dialTurn // who waits for the turn to open one, first come first
	retired  bool            // the endpoint has left the table
}

// acquire takes a slot, waiting for one until deadline (zero = without a bound) or
// until left is closed. If maxPending requests wait already, it has to outrank one of
// them, which then fails with errPendingFull.
func (p *pool) acquire(maxPending int, as ranked, deadline time.Time, left <-chan struct{}) error {
	p.mu.Lock()
	if p.slots < p.limit {
		p.slots++
		p.mu.Unlock()
		return nil
	}
	at := as.queueRank()
	if p.pending.Add(1) > int64(maxPending) && !p.displace(at) {
		p.pending.Add(-1)
		p.mu.Unlock()
		return errPendingFull
	}
	w := &waiter{rank: at, turn: make(chan error, 1)}
	p.waiters.push(w)
	p.mu.Unlock()
	p.queued.Add(1)
	defer p.pending.Add(-1)
	defer p.queued.Add(-1)
	return p.wait(w, deadline, left)
}

// displace makes room in the queue, p.mu held.
func (p *pool) displace(newcomer queueRank) bool {
	w := p.waiters.displace(newcomer)
	if w == nil {
		return false
	}
	w.turn <- errPendingFull
	return true
}

func (p *pool) wait(w *waiter, deadline time.Time, left <-chan struct{}) error {
	var expired <-chan time.Time // never
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	err := errWaited
	select {
	case err = <-w.turn:
		return err
	case <-expired:
	case <-left:
		err = errClientLeft
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiters.remove(w) {
		return err
	}
	return <-w.turn // its turn came at the same moment
}

// release returns a slot, and hands it to the next in the queue.
func (p *pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots--
	p.admit()
}

// admit hands free slots to waiting requests, p.mu held.
func (p *pool) admit() {
	for p.slots < p.limit && p.waiters.length > 0 {
		p.slots++
		p.waiters.pop().turn <- nil
	}
}

// resize sets how many exchanges there may be at once.
func (p *pool) resize(limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.retired = limit, false
	p.admit()
}

// get returns the most recently used idle connection that is still good, or nil.
// repeatable says whether the request may be sent again if it is not.
func (p *pool) get(now time.Time, repeatable bool) *upstreamConn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if c.fresh(now, repeatable) {
			return c
		}
		_ = c.Close()
	}
}

// put keeps c for another exchange, or closes it if there is no room.
func (p *pool) put(c *upstreamConn, now time.Time) {
	c.idleSince = now
	p.mu.Lock()
	keep := !p.retired && len(p.idle) < p.limit
	switch {
	case keep && len(p.dialers) > 0:
		p.nextDialer() <- dialTurn{conn: c}
	case keep:
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		_ = c.Close()
	}
}

// sweep closes connections that have been idle too long.
func (p *pool) sweep(now time.Time) {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].idleSince) > connIdle {
		n++ // the oldest come first
	}
	old := append([]*upstreamConn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	p.mu.Unlock()
	closeAll(old)
}

// retire closes idle connections now, and the others when they become idle.
func (p *pool) retire() {
	p.mu.Lock()
	p.retired = true
	old := p.idle
	p.idle = nil
	p.mu.Unlock()
	closeAll(old)
}

func closeAll(conns []*upstreamConn) {
	for _, c := range conns {
		_ = c.Close()
	}
}
