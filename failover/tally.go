package failover

import "sync/atomic"

// tally counts outcomes between two looks at the statistics.
type tally struct {
	answers  atomic.Uint64 // outcomes but canceled ones
	failures atomic.Uint64
	measured atomic.Uint64 // successes with a latency
	latency  atomic.Int64  // their sum in ns
}

func (t *tally) count(o Outcome) {
	if o.Kind == Canceled {
		return
	}
	t.answers.Add(1)
	if o.Kind.Failed() {
		t.failures.Add(1)
		return
	}
	if o.Latency > 0 {
		t.measured.Add(1)
		t.latency.Add(int64(o.Latency))
	}
}
