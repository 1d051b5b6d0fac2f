package failover_test

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// tries counts how often e is tried within d, each time with the given outcome.
func tries(now time.Time, d time.Duration, e *failover.Endpoint, need failover.Need, kind failover.Kind) int {
	n := 0
	for end := now.Add(d); now.Before(end); now = now.Add(10 * time.Millisecond) {
		if e.TryDue(now, need) {
			e.Tried(now, kind)
			n++
		}
	}
	return n
}

func TestBackgroundTriesFollowTheNeed(t *testing.T) {
	tests := []struct {
		name     string
		need     failover.Need
		open     bool
		kind     failover.Kind
		for_     time.Duration
		from, to int
	}{
		{"well and in use", failover.NeedNone, false, failover.OK, 10 * time.Second, 0, 0},
		{"open and resting", failover.NeedNone, true, failover.OK, 26 * time.Second, 0, 0},
		{"half-open", failover.NeedNone, true, failover.OK, 40 * time.Second, 1, 1},
		{"half-open and failing", failover.NeedNone, true, failover.Reset, 80 * time.Second, 1, 1},
		{"held", failover.NeedHeld, false, failover.OK, 10 * time.Second, 8, 12},
		{"held and failing: rests", failover.NeedHeld, false, failover.Reset, 10 * time.Second, 1, 1},
		{"nobody serves", failover.NeedUrgent, true, failover.Reset, 10 * time.Second, 34, 46},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := old(1)[0]
			if tt.open {
				breakOpen(start, e)
			}
			if got := tries(start, tt.for_, e, tt.need, tt.kind); got < tt.from || got > tt.to {
				t.Errorf("%d tries in %v, want %d to %d", got, tt.for_, tt.from, tt.to)
			}
		})
	}
}

func TestOneSuccessInTheBackgroundCloses(t *testing.T) {
	e := old(1)[0]
	breakOpen(start, e)
	e.Tried(start, failover.Canceled)
	status(t, e, start, failover.Open)
	e.Tried(start, failover.OK)
	status(t, e, start, failover.Closed)
}
