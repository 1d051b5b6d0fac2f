package gossip

import (
	"sync"
	"time"
)

// bucket lets rate pushes a second pass, and a second's worth at once, so that a
// storm of news cannot crowd out the probes of the failure detector.
type bucket struct {
	rate float64

	mu     sync.Mutex // guards the rest
	tokens float64
	last   time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.rate, b.tokens+b.rate*now.Sub(b.last).Seconds())
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
