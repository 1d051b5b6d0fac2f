package failover

import (
	"slices"
	"time"
)

const (
	stallFloor  = 500 * time.Millisecond // no silence shorter than this is suspected
	stallFactor = 3                      // nor one shorter than this many times what answers take
)

// Suspect detects stalls: endpoints that have requests in flight and have not
// answered for much longer than answers take here, while another endpoint answers.
// They get no new requests while one is in flight, then one at a time, until they
// answer. Suspect returns the newly detected ones; it is to be called every 100 ms or
// so.
//
// If all endpoints are silent, none is suspected, since the cause may be elsewhere:
// see Silent.
func (b *Balancer) Suspect(now time.Time) []*Endpoint {
	patience := b.patience(now)
	var found []*Endpoint
	for i := range b.candidates {
		e := b.candidates[i].endpoint
		if e.gate.Load()&gateStalled != 0 || e.silence(now) < patience {
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

// Silent reports whether requests are in flight and no endpoint has answered any, for
// the time after which Suspect would act if others answered. Whether that is due to
// the endpoints or to the requests is for a background probe to find out: NeedSilent.
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

// Patience returns how long an answer of e may take, judging by earlier ones, before
// it is late.
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

// AnsweredSince reports whether e has given a sign of life since then.
func (e *Endpoint) AnsweredSince(then time.Time) bool {
	return !e.Novice() && e.answeredAt.Load() >= e.offset(then)
}

func (e *Endpoint) suspect(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gate.Load()&gateBreaker == 0 { // else the breaker says when to probe
		e.probeAt.Store(e.offset(now))
	}
	e.set(causeStalled, now, "silent while others answer")
}
