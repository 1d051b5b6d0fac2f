package failover

import "time"

// Need says why an endpoint should be probed in the background, when it gets
// too few requests to judge it by.
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

// TryDue reports whether e should be probed in the background at now, and if so
// counts it as being probed: Tried has to follow.
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

// Tried reports the outcome of a background probe, which has to be a whole
// exchange, since a frozen process still accepts connections. A success closes
// the breaker at once. A failure opens it, whatever went before, and requests
// in flight are given up as at a stalled endpoint.
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
