package dataplane

import (
	"context"
	"slices"
	"time"
)

// dialsAtOnce is how many connections to an endpoint are dialled at once, and as
// many as are open where that is more: their number doubles with each round trip,
// as in TCP's slow start (RFC 5681). The handshakes of a crowd that comes in one
// moment, as when another region has failed, would else share the CPU at both ends
// until none is done in time.
const dialsAtOnce = 8

// dialTurn ends the wait of who may not dial yet: with a connection that came
// free, with the failure of somebody else's dial, or with the turn to dial.
type dialTurn struct {
	conn *upstreamConn
	err  error
}

// mayDial waits for the turn to dial, until ctx ends or left is closed; dialled is
// to follow. It returns a connection instead if one comes free before.
func (p *pool) mayDial(ctx context.Context, left <-chan struct{}) (*upstreamConn, error) {
	p.mu.Lock()
	if p.dialling < p.mostDials() {
		p.dialling++
		p.mu.Unlock()
		return nil, nil //nolint:nilnil // the turn
	}
	turn := make(chan dialTurn, 1)
	p.dialers = append(p.dialers, turn)
	p.mu.Unlock()
	var err error
	select {
	case t := <-turn:
		return t.conn, t.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-left:
		err = errClientLeft
	}
	p.mu.Lock()
	i := slices.Index(p.dialers, turn)
	if i >= 0 {
		p.dialers = slices.Delete(p.dialers, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 { // it came at the same moment
		switch t := <-turn; {
		case t.conn != nil:
			p.put(t.conn, time.Now())
		case t.err == nil:
			p.dialled(nil)
		}
	}
	return nil, err
}

// dialled ends a dial. What it failed with, those who wait for theirs would find
// out one after the other.
func (p *pool) dialled(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialling--
	if err != nil {
		for _, turn := range p.dialers {
			turn <- dialTurn{err: err}
		}
		p.dialers = nil
	}
	for len(p.dialers) > 0 && p.dialling < p.mostDials() {
		p.dialling++
		p.nextDialer() <- dialTurn{}
	}
}

// mostDials is how many dials there may be at once, p.mu held.
func (p *pool) mostDials() int {
	open := len(p.idle) + p.slots - p.dialling - len(p.dialers)
	return max(dialsAtOnce, open)
}

// nextDialer takes out who has waited longest for a turn, p.mu held.
func (p *pool) nextDialer() chan<- dialTurn {
	turn := p.dialers[0]
	p.dialers = p.dialers[1:]
	return turn
}
