package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Acquire and MayDial.
var (
	ErrPendingFull = errors.New("too many requests wait for a connection")
	errWaited      = errors.New("no connection came free in time")
	ErrCanceled    = errors.New("the request is no longer wanted")
)

// Dialer opens a connection to one endpoint.
type Dialer func(ctx context.Context) (net.Conn, error)

// Pool holds the connections to one endpoint. A slot is the right to one exchange;
// requests that find none free wait in a queue.
type Pool struct {
	Dial    Dialer
	Pending *atomic.Int64 // requests that wait, of the whole upstream
	Queued  *atomic.Int64 // requests that wait for this endpoint

	mu      sync.Mutex // guards the rest
	idle    []*Conn
	slots   int // in use
	limit   int
	waiters queue
	dialing int // connections that are being opened
	pace    dialPace
	dialers []chan dialTurn // who waits for the turn to open one, first come first
	retired bool            // the endpoint has left the table
}

// Acquire takes a slot, waiting for one until deadline (zero = without a bound) or
// until left is closed, which gives ErrCanceled. If maxPending requests wait already,
// it has to outrank one of them, which then fails with ErrPendingFull.
func (p *Pool) Acquire(maxPending int, as Ranked, deadline time.Time, left <-chan struct{}) error {
	p.mu.Lock()
	if p.slots < p.limit {
		p.slots++
		p.mu.Unlock()
		return nil
	}
	at := as.Rank()
	if p.Pending.Add(1) > int64(maxPending) && !p.displace(at) {
		p.Pending.Add(-1)
		p.mu.Unlock()
		return ErrPendingFull
	}
	w := &waiter{rank: at, turn: make(chan error, 1)}
	p.waiters.push(w)
	p.mu.Unlock()
	p.Queued.Add(1)
	defer p.Pending.Add(-1)
	defer p.Queued.Add(-1)
	return p.wait(w, deadline, left)
}

// displace makes room in the queue, p.mu held.
func (p *Pool) displace(newcomer Rank) bool {
	w := p.waiters.displace(newcomer)
	if w == nil {
		return false
	}
	w.turn <- ErrPendingFull
	return true
}

func (p *Pool) wait(w *waiter, deadline time.Time, left <-chan struct{}) error {
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
		err = ErrCanceled
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiters.remove(w) {
		return err
	}
	return <-w.turn // its turn came at the same moment
}

// Release returns a slot, and hands it to the next in the queue.
func (p *Pool) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots--
	p.admit()
}

// admit hands free slots to waiting requests, p.mu held.
func (p *Pool) admit() {
	for p.slots < p.limit && p.waiters.length > 0 {
		p.slots++
		p.waiters.pop().turn <- nil
	}
}

// Resize sets how many exchanges there may be at once.
func (p *Pool) Resize(limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.retired = limit, false
	p.admit()
}

// Get returns the most recently used idle connection that is still good, or nil.
// repeatable says whether the request may be sent again if it is not.
func (p *Pool) Get(now time.Time, repeatable bool) *Conn {
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
		if c.Fresh(now, repeatable) {
			return c
		}
		_ = c.Close()
	}
}

// Put keeps c for another exchange, or closes it if it is too old or there is no room.
func (p *Pool) Put(c *Conn, now time.Time) {
	c.idleSince = now
	p.mu.Lock()
	keep := !p.retired && len(p.idle) < p.limit && now.Before(c.expires)
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

// Sweep closes connections that have been idle too long.
func (p *Pool) Sweep(now time.Time) {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].idleSince) > MaxIdle {
		n++ // the oldest come first
	}
	old := append([]*Conn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	p.mu.Unlock()
	closeAll(old)
}

// Retire closes idle connections now, and the others when they become idle.
func (p *Pool) Retire() {
	p.mu.Lock()
	p.retired = true
	old := p.idle
	p.idle = nil
	p.mu.Unlock()
	closeAll(old)
}

func closeAll(conns []*Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}
