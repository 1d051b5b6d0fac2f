package failover

import "sync/atomic"

// Evenly says yes to a share of those who ask, spread as evenly as can be, by a
// Weyl sequence: chance would make bursts, which find no slot where slots are
// scarce, and leave slots empty between them. The zero Evenly is ready; it may be
// asked by many at once.
type Evenly struct{ word atomic.Uint64 }

// Says reports whether the next one who asks belongs to a share, in [0,1].
func (e *Evenly) Says(share float64) bool {
	const golden = 0x9E3779B97F4A7C15 // the golden section of 2^64
	return float64(e.word.Add(golden)>>11)/(1<<53) < share
}
