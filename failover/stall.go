package failover

import (
	"slices"
	"time"
)

const (
	stallFloor  = 500 * time.Millisecond // no silence shorter than this is suspected
	stallFactor = 3                      // nor one shorter than this many times what answers take
)

// Suspect looks for stalls: endpoints that wait with requests in flight and
// without any answer for much longer than answers take here, while a sibling
// answers. They get nothing new as long as a request waits at them, then one
// request at a time, until they answer. Suspect returns those it found anew; it
// is to be called every 100 ms or so.
//
// Where all are silent nobody is suspected: then it need not be the endpoint. See
// Silent.
func (b *Balancer) Suspect(now time.Time) []*Endpoint {
	patience := b.patience(now)
	var found []*Endpoint
	for i := range b.candidates {
		e := b.candidates[i].endpoint
		if e.Stalled() || e.silence(now) < patience {
			continue
		}
		answersSince := func(c candidate) bool {
			s := c.endpoint
			return s != e && s.sinceAnswer(now) < e.silence(now) && s.silence(now) < patience/2
		}
		if slices.ContainsFunc(b.candidates, answersSince) {
			e.suspect(now)
			found = append(found, e)
		}
	}
	if b.reserve != nil {
		found = append(found, b.reserve.Suspect(now)...)
	}
	return found
}

// Silent reports whether requests wait and no endpoint answers any, for as long as
// Suspect asks for where others answer. Whether that is the endpoints or what they
// were asked is for a try in the background to find out: NeedSilent.
func (b *Balancer) Silent(now time.Time) bool {
	patience, waited := b.patience(now), false
	for i := range b.candidates {
		switch e := b.candidates[i].endpoint; {
		case e.gate.Load()&gateOut != 0:
		case e.silence(now) >= patience:
			waited = true
		case e.waiting.Load() > 0, e.sinceAnswer(now) < patience:
			return false
		}
	}
	return waited
}

// patience is how long an endpoint may be silent.
func (b *Balancer) patience(now time.Time) time.Duration {
	slowest := time.Duration(stallFloor)
	for i := range b.candidates {
		slowest = max(slowest, b.candidates[i].endpoint.Patience(now))
	}
	return slowest
}

// Patience is how long an answer of e may take, as it has been, before it is late.
func (e *Endpoint) Patience(now time.Time) time.Duration {
	return max(stallFloor, stallFactor*e.Latency(now))
}

// silence is for how long requests have waited at e without an answer to any.
func (e *Endpoint) silence(now time.Time) time.Duration {
	if e.waiting.Load() == 0 {
		return 0
	}
	return time.Duration(e.offset(now) - max(e.busyAt.Load(), e.answeredAt.Load()))
}

// sinceAnswer is the age of e's last sign of life.
func (e *Endpoint) sinceAnswer(now time.Time) time.Duration {
	return time.Duration(e.offset(now) - e.answeredAt.Load())
}

func (e *Endpoint) suspect(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gate.Load()&gateBreaker == 0 { // else the breaker says when to probe
		e.probeAt.Store(e.offset(now))
	}
	e.set(causeStalled, now, "silent while others answer")
}
