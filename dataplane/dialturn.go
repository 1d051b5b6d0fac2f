package dataplane

import (
	"context"
	"slices"
	"time"
)

// dialsAtOnce is how many connections to an endpoint are dialled at once at first.
// As in TCP's slow start (RFC 5681) their number doubles with each round trip, for
// as long as that takes no longer, as in TCP Vegas. The handshakes of a crowd that
// comes in one moment, as when another region has failed, would else share the CPU
// at both ends until none is done in time.
const dialsAtOnce = 8

// dialPace is how many connections are dialled at once, of those that follow each
// other without a pause.
type dialPace struct {
	more int           // than dialsAtOnce
	took time.Duration // a dial, at best
}

func (p *dialPace) most() int { return dialsAtOnce + p.more }

// observe takes in how long a dial took.
func (p *dialPace) observe(took time.Duration, failed bool) {
	const slack = 10 * time.Millisecond
	switch {
	case failed:
		p.more /= 2
	case p.took == 0 || took < p.took:
		p.took = took
		p.more++
	case took <= p.took+p.took/2+slack:
		p.more++
	}
}

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
	if p.dialling < p.pace.most() {
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
			p.mu.Lock()
			p.dialling--
			p.passTurns()
			p.mu.Unlock()
		}
	}
	return nil, err
}

// dialled ends a dial that took so long. Where it has failed with no connection
// open, or the endpoint is out, the others who wait fail with it.
func (p *pool) dialled(took time.Duration, err error, out bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialling--
	p.pace.observe(took, err != nil)
	open := len(p.idle) + p.slots - p.dialling - len(p.dialers)
	if err != nil {
		open-- // this one's slot
	}
	if err != nil && (out || open <= 0) {
		for _, turn := range p.dialers {
			turn <- dialTurn{err: err}
		}
		p.dialers = nil
	}
	if p.passTurns(); p.dialling == 0 {
		p.pace = dialPace{}
	}
}

// passTurns gives the turn to as many as may have it, p.mu held.
func (p *pool) passTurns() {
	for len(p.dialers) > 0 && p.dialling < p.pace.most() {
		p.dialling++
		p.nextDialer() <- dialTurn{}
	}
}

// nextDialer takes out who has waited longest for a turn, p.mu held.
func (p *pool) nextDialer() chan<- dialTurn {
	turn := p.dialers[0]
	p.dialers = p.dialers[1:]
	return turn
}
