package failover

import "sync/atomic"

// Evenly selects a share of requests, spread as evenly as possible by a Weyl
// sequence: random selection makes bursts, which find no slot when slots are
// scarce, and leaves slots empty in between. The zero value is ready to use,
// and it is safe for concurrent use.
type Evenly struct{ word atomic.Uint64 }

// Says reports whether the next request belongs to the share, in [0,1].
func (e *Evenly) Says(share float64) bool {
	const golden = 0x9E3779B97F4A7C15 // the golden section of 2^64
	return float64(e.word.Add(golden)>>11)/(1<<53) < share
}
