package failover

import "time"

// Need says why an endpoint should be tried in the background, where it gets
// too few requests to tell how it is.
type Need uint8

// The needs, the most urgent last.
const (
	NeedNone   Need = iota // its region gets requests: only what is half-open or stalled is tried
	NeedSilent             // nobody in its region answers: what waits is tried
	NeedHeld               // its region is well again but held down: it must prove itself
	NeedUrgent             // no region can serve the upstream
)

const (
	calmTry   = time.Second
	urgentTry = 250 * time.Millisecond
)

// TryDue reports whether e should be tried in the background at now, and if so
// counts it as tried: the answer to be told by Tried.
func (e *Endpoint) TryDue(now time.Time, need Need) bool {
	gate := e.gate.Load()
	interval := calmTry
	switch {
	case need == NeedUrgent:
		interval = urgentTry
	case gate&gateBreaker != 0:
		if e.offset(now) < e.probeAt.Load() {
			return false // rests
		}
	case gate&gateStalled == 0 && (need == NeedNone || need == NeedSilent && (e.Novice() || e.waiting.Load() == 0)):
		return false
	}
	due, at := e.tryAt.Load(), e.offset(now)
	spread := time.Duration(float64(interval) * (0.9 + 0.2*e.jitter(now)))
	return at >= due && e.tryAt.CompareAndSwap(due, at+int64(spread))
}

// Tried tells how a try in the background went: an exchange, not a connection
// alone, since a frozen process still gets connections. A success closes the
// breaker at once. A failure opens it, whatever went before: who has to be tried
// has no credit. Requests that wait then are given up, as at one that stalls.
func (e *Endpoint) Tried(now time.Time, kind Kind) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if kind.Failed() && e.waiting.Load() > 0 {
		e.set(causeStalled, now, "silent, also when tried")
	}
	switch {
	case kind == Canceled:
	case !kind.Failed():
		e.clear(causeStalled)
		e.setBreaker(now, e.breaker.Close(now), "")
	case e.breaker.State(now) != BreakerOpen && !e.settings.Load().Breaker.Off:
		e.setBreaker(now, e.breaker.Open(now, e.settings.Load().Breaker, e.jitter(now)), kind.String())
	}
}
