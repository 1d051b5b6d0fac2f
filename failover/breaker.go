package failover

import "time"

// The defaults and bounds of breakers.
const (
	defaultFailures = 5
	defaultOpenFor  = 30 * time.Second
	maxOpenFor      = 5 * time.Minute
	probeLease      = 30 * time.Second // longer than a default try (15 s): a probe not heard of for so long is lost
	breakerJitter   = 0.2              // of the rest: ±10 %, so that nodes do not probe in step
)

// BreakerState is what a circuit breaker lets through.
type BreakerState uint8

// The states of a Breaker.
const (
	BreakerClosed   BreakerState = iota // everything
	BreakerOpen                         // nothing, until its rest is over
	BreakerHalfOpen                     // one request at a time, as a probe
)

// String returns s as in metrics and status.
func (s BreakerState) String() string {
	switch s {
	case BreakerOpen:
		return "open"
	case BreakerHalfOpen:
		return "half_open"
	default:
		return "closed"
	}
}

// BreakerConfig holds the settings of a Breaker. The zero value gives the
// defaults.
type BreakerConfig struct {
	Off      bool          // never opens
	Failures int           // consecutive ones that open it, default 5
	OpenFor  time.Duration // its first rest, default 30 s; doubles at each opening in a row, up to 5 min
}

func (c BreakerConfig) withDefaults() BreakerConfig {
	if c.Failures <= 0 {
		c.Failures = defaultFailures
	}
	if c.OpenFor <= 0 {
		c.OpenFor = defaultOpenFor
	}
	return c
}

// A Breaker is the state of one circuit breaker, as a value: its methods return
// the next state. The zero Breaker is closed.
type Breaker struct {
	Failures int           // consecutive, while closed
	Openings int           // in a row; the rest doubles with each
	Rest     time.Duration // of the latest opening
	OpenedAt time.Time     // zero while closed
	ProbedAt time.Time     // when the probe under way began; zero without one
	ClosedAt time.Time     // when it last closed; zero if it never opened
}

// State returns the state of b at now.
func (b Breaker) State(now time.Time) BreakerState {
	switch {
	case b.OpenedAt.IsZero():
		return BreakerClosed
	case now.Before(b.OpenedAt.Add(b.Rest)):
		return BreakerOpen
	default:
		return BreakerHalfOpen
	}
}

// NextProbe returns from when on b, which must not be closed, lets a probe
// through.
func (b Breaker) NextProbe() time.Time {
	if b.ProbedAt.IsZero() {
		return b.OpenedAt.Add(b.Rest)
	}
	return b.ProbedAt.Add(probeLease)
}

// Claim asks to send a request at now. In half-open state the request becomes
// the probe, and no other is let through until its outcome is reported.
func (b Breaker) Claim(now time.Time) (Breaker, bool) {
	if b.State(now) == BreakerClosed {
		return b, true
	}
	if now.Before(b.NextProbe()) {
		return b, false
	}
	b.ProbedAt = now
	return b, true
}

// Report reports the outcome of a request that began at began. It is ignored if
// the request began before the breaker opened, or before the present probe.
// jitter, uniform in [0,1), spreads the time that the breaker stays open.
func (b Breaker) Report(now, began time.Time, kind Kind, c BreakerConfig, jitter float64) Breaker {
	if b.OpenedAt.IsZero() {
		return b.reportClosed(now, began, kind, c.withDefaults(), jitter)
	}
	if b.ProbedAt.IsZero() || began.Before(b.ProbedAt) {
		return b
	}
	switch {
	case kind == Canceled:
		b.ProbedAt = time.Time{} // the next request may probe
		return b
	case kind.Failed():
		return b.Open(now, c, jitter)
	default:
		return b.Close(now)
	}
}

func (b Breaker) reportClosed(now, began time.Time, kind Kind, c BreakerConfig, jitter float64) Breaker {
	switch {
	case kind == Canceled || c.Off || began.Before(b.ClosedAt):
		return b
	case !kind.Failed():
		b.Failures = 0
		return b
	}
	if b.Failures++; b.Failures < c.Failures {
		return b
	}
	return b.Open(now, c, jitter)
}

// Open opens b at now, for twice as long each time in a row. The row ends when
// b has been closed for longer than it was last open.
func (b Breaker) Open(now time.Time, c BreakerConfig, jitter float64) Breaker {
	c = c.withDefaults()
	if b.OpenedAt.IsZero() && now.Sub(b.ClosedAt) > b.Rest {
		b.Openings = 0
	}
	rest, limit := c.OpenFor, max(maxOpenFor, c.OpenFor)
	for range b.Openings {
		if rest = 2 * rest; rest >= limit {
			rest = limit
			break
		}
	}
	rest = min(limit, time.Duration(float64(rest)*(1+breakerJitter*(jitter-0.5))))
	return Breaker{Openings: b.Openings + 1, Rest: rest, OpenedAt: now}
}

// Close closes b at now.
func (b Breaker) Close(now time.Time) Breaker {
	if b.OpenedAt.IsZero() {
		b.Failures = 0
		return b
	}
	return Breaker{Openings: b.Openings, Rest: b.Rest, ClosedAt: now}
}
