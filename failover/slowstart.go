package failover

import "time"

// Slow start: an endpoint that is new beside older ones, or has recovered, is
// given a share that grows linearly to its full one, so that cold caches and
// pools are not hit by everything at once.
const (
	defaultSlowStart = 30 * time.Second
	minShare         = 0.1
)

// startSlowly begins slow start at now.
func (e *Endpoint) startSlowly(now time.Time) {
	e.slowAt.Store(e.offset(now))
	e.gate.Or(gateSlow)
}

// share returns the part of its weight that e gets at now, in [minShare, 1].
func (e *Endpoint) share(now time.Time, gate uint32) float64 {
	if gate&gateSlow == 0 {
		return 1
	}
	window := e.settings.Load().SlowStart
	if window == 0 {
		window = defaultSlowStart
	}
	elapsed := e.offset(now) - e.slowAt.Load()
	if elapsed >= int64(window) {
		e.gate.And(^gateSlow)
		return 1
	}
	return max(minShare, float64(elapsed)/float64(window))
}

// warm ends the slow start of all endpoints where all are new: there is nobody
// who could take what they are spared.
func warm(candidates []candidate) {
	for i := range candidates {
		e := candidates[i].endpoint
		if e.gate.Load()&gateSlow == 0 || e.slowAt.Load() != 0 {
			return
		}
	}
	for i := range candidates {
		candidates[i].endpoint.gate.And(^gateSlow)
	}
}
