package upstream

import (
	"context"
	"slices"
	"time"
)

// dialsAtOnce is the number of concurrent dials to one endpoint at the start of a
// burst. It doubles with each round trip, as in TCP's slow start (RFC 5681), while
// dials take no longer than at first, as in TCP Vegas. Without it, when a burst of
// requests finds no connection open, as after another region's failure, all TLS
// handshakes share the CPU of both ends and none finishes within the timeout.
const dialsAtOnce = 8

// dialPace bounds the concurrent dials of a burst: until no dial is under way.
type dialPace struct {
	more int           // dials allowed beyond dialsAtOnce
	took time.Duration // shortest dial of the burst; 0 before the first
}

func (p *dialPace) most() int { return dialsAtOnce + p.more }

// observe adjusts the bound to the duration of a finished dial.
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

// dialTurn is what a try that had to wait to dial gets: a connection that became
// idle, the error of another try's dial, or, if both are nil, leave to dial.
type dialTurn struct {
	conn *Conn
	err  error
}

// MayDial waits until the caller may dial, ctx ends or left is closed. It returns
// nil if the caller may dial, who then calls Dialed, or a connection that has
// become idle meanwhile, which may be stale.
func (p *Pool) MayDial(ctx context.Context, left <-chan struct{}) (*Conn, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	if p.dialing < p.pace.most() {
		p.dialing++
		p.mu.Unlock()
		return nil, nil //nolint:nilnil // it may dial
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
		err = ErrCanceled
	}
	p.mu.Lock()
	i := slices.Index(p.dialers, turn)
	if i >= 0 {
		p.dialers = slices.Delete(p.dialers, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 { // its turn came at the same moment
		switch t := <-turn; {
		case t.conn != nil:
			p.Put(t.conn, time.Now())
		case t.err == nil:
			p.mu.Lock()
			p.dialing--
			p.passTurns()
			p.mu.Unlock()
		}
	}
	return nil, err
}

// Dialed ends a dial. If it failed and no connection is open, or the endpoint is
// out of service, it fails those who wait to dial, too.
func (p *Pool) Dialed(took time.Duration, err error, out bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	p.pace.observe(took, err != nil)
	open := len(p.idle) + p.slots - p.dialing - len(p.dialers)
	if err != nil {
		open-- // this one's slot
	}
	if err != nil && (out || open <= 0) {
		for _, turn := range p.dialers {
			turn <- dialTurn{err: err}
		}
		p.dialers = nil
	}
	if p.passTurns(); p.dialing == 0 {
		p.pace = dialPace{}
	}
}

// passTurns lets as many dial as the pace allows, p.mu held.
func (p *Pool) passTurns() {
	for len(p.dialers) > 0 && p.dialing < p.pace.most() {
		p.dialing++
		p.nextDialer() <- dialTurn{}
	}
}

// nextDialer removes and returns the one that has waited longest, p.mu held.
func (p *Pool) nextDialer() chan<- dialTurn {
	turn := p.dialers[0]
	p.dialers = p.dialers[1:]
	return turn
}
