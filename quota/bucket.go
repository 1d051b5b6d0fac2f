package quota

import "time"

// epsilon forgives what sums of fractions lose: a billionth of a token.
const epsilon = 1e-9

// bucket is a token bucket whose rate and size its owner knows.
type bucket struct {
	tokens float64
	at     time.Duration // up to when it is filled
}

// fill adds what rate gives up to now, to at most size.
func (b *bucket) fill(now time.Duration, rate, size float64) {
	if now > b.at {
		b.tokens = min(size, b.tokens+rate*(now-b.at).Seconds())
		b.at = now
	}
}

// has reports whether cost could be taken.
func (b *bucket) has(cost float64) bool { return b.tokens >= cost-epsilon }
