package failover

import "time"

// Status is whether an endpoint gets requests, and if not why.
type Status uint8

// The statuses of an endpoint, the gravest last.
const (
	Closed    Status = iota // in use
	Suspect                 // stalled: silent with requests in flight while its siblings answer
	Ejected                 // by statistics: much worse than its siblings
	Unhealthy               // by checks, or by breakers of the region's nodes
	HalfOpen                // one request at a time probes it
	Open                    // by this node's breaker
)

// String returns s as in metrics and status.
func (s Status) String() string {
	switch s {
	case Closed:
		return "closed"
	case Suspect:
		return "stalled"
	case Ejected:
		return "ejected"
	case Unhealthy:
		return "unhealthy"
	case HalfOpen:
		return "half_open"
	case Open:
		return "open"
	}
	return "unknown"
}

// State is the status of an endpoint, since when and why. Since is zero for
// Closed.
type State struct {
	Status Status
	Since  time.Time
	Reason string
}

// cause is one thing that keeps requests from an endpoint.
type cause struct {
	since  time.Time
	reason string
}

const (
	causeBreaker = iota
	causePeers
	causeChecks
	causeEjected
	causeStalled
	causes
)

// gateOf returns the gate bit of a cause: they have the same order.
func gateOf(cause int) uint32 { return gateBreaker << cause }

// set notes that something keeps requests from e, e.mu held.
func (e *Endpoint) set(kind int, now time.Time, reason string) {
	if e.gate.Load()&gateOf(kind) == 0 || kind == causeBreaker {
		e.causes[kind].since = now
	}
	e.causes[kind].reason = reason
	e.setGate(gateOf(kind), true)
}

// clear takes the cause back, e.mu held.
func (e *Endpoint) clear(kind int) {
	e.causes[kind] = cause{}
	e.setGate(gateOf(kind), false)
}

// State returns the state of e at now; of several causes, the gravest.
func (e *Endpoint) State(now time.Time) State {
	e.mu.Lock()
	defer e.mu.Unlock()
	status := func(s Status, kind int) State {
		return State{Status: s, Since: e.causes[kind].since, Reason: e.causes[kind].reason}
	}
	gate := e.gate.Load()
	switch {
	case gate&gateBreaker != 0 && e.breaker.State(now) == BreakerOpen:
		return status(Open, causeBreaker)
	case gate&gateChecks != 0:
		return status(Unhealthy, causeChecks)
	case gate&gatePeers != 0:
		return status(Unhealthy, causePeers)
	case gate&gateBreaker != 0:
		return status(HalfOpen, causeBreaker)
	case gate&gateEjected != 0:
		return status(Ejected, causeEjected)
	case gate&gateStalled != 0:
		return status(Suspect, causeStalled)
	}
	return State{}
}

// Breaker returns this node's breaker for e.
func (e *Endpoint) Breaker() Breaker {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.breaker
}

// Heed applies the decision of the region's nodes to e. See Decide.
func (e *Endpoint) Heed(now time.Time, d Decision) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.gate.Load() & (gatePeers | gateChecks)
	if before == 0 && !d.Peers && !d.Checks {
		return
	}
	e.heed(causePeers, now, d.Peers, d.Reason)
	e.heed(causeChecks, now, d.Checks, d.Reason)
	if before != 0 && !d.Peers && !d.Checks {
		e.startSlowly(now)
	}
}

func (e *Endpoint) heed(kind int, now time.Time, out bool, reason string) {
	if out {
		e.set(kind, now, reason)
	} else {
		e.clear(kind)
	}
}
