package failover_test

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// interval sends n requests to each endpoint, of which failed fail, never two
// in a row.
func interval(now time.Time, e *failover.Endpoint, n, failed int, latency time.Duration) {
	for i := range n {
		kind := failover.OK
		if i%2 == 1 && i/2 < failed {
			kind = failover.Unavailable
		}
		try(now, e, kind, latency)
	}
}

func TestOutliersAreEjectedWithinTheFloor(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name       string
		endpoints  int
		maxPercent int
		set        func(now time.Time, all []*failover.Endpoint)
		want       int
	}{
		{"all alike", 6, 50, func(time.Time, []*failover.Endpoint) {}, 0},
		{"one fails half", 6, 50, func(now time.Time, all []*failover.Endpoint) { interval(now, all[0], 200, 100, 0) }, 1},
		{"one fails little more", 6, 50, func(now time.Time, all []*failover.Endpoint) { interval(now, all[0], 200, 3, 0) }, 0},
		{"one is slow", 6, 50, func(now time.Time, all []*failover.Endpoint) { interval(now, all[0], 800, 0, 100*ms) }, 1},
		{"one is little slower", 6, 50, func(now time.Time, all []*failover.Endpoint) { interval(now, all[0], 800, 0, 12*ms) }, 0},
		{"too few siblings", 4, 50, func(now time.Time, all []*failover.Endpoint) { interval(now, all[0], 200, 100, 0) }, 0},
		{"off", 6, 0, func(now time.Time, all []*failover.Endpoint) { interval(now, all[0], 200, 100, 0) }, 0},
		{"two of twelve, floor one", 12, 10, func(now time.Time, all []*failover.Endpoint) {
			interval(now, all[0], 200, 100, 0)
			interval(now, all[1], 200, 100, 0)
		}, 1},
		{"breakers use up the floor", 6, 50, func(now time.Time, all []*failover.Endpoint) {
			interval(now, all[0], 200, 100, 0)
			for _, e := range all[3:] {
				e.Heed(now, failover.Decision{Peers: true})
			}
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := old(tt.endpoints)
			b := failover.NewBalancer(failover.Random, candidates(all))
			for _, e := range all {
				interval(start, e, 200, 0, 10*ms)
			}
			tt.set(start, all)
			if got := b.EjectOutliers(start, tt.maxPercent); len(got) != tt.want || tt.want == 1 && got[0] != all[0] && tt.endpoints == 6 {
				t.Errorf("%d ejected, want %d", len(got), tt.want)
			}
		})
	}
}

func TestEjectionEndsAndGrowsWithRepetition(t *testing.T) {
	all := old(6)
	b := failover.NewBalancer(failover.Random, candidates(all))
	now := start
	for round := range 3 {
		for _, e := range all {
			interval(now, e, 200, 0, 0)
		}
		interval(now, all[0], 200, 100, 0)
		b.EjectOutliers(now, 50)
		status(t, all[0], now, failover.Ejected)
		if got := picked(t, b, now, 1000); got[all[0]] != 0 {
			t.Fatalf("an ejected endpoint got %d requests", got[all[0]])
		}
		rest := time.Duration(round+1) * 30 * time.Second
		b.EjectOutliers(now.Add(rest-time.Second), 50)
		status(t, all[0], now.Add(rest-time.Second), failover.Ejected)
		now = now.Add(rest)
		b.EjectOutliers(now, 50)
		status(t, all[0], now, failover.Closed)
	}
	now = now.Add(91 * time.Second) // longer than the last ejection: forgiven
	for _, e := range all {
		interval(now, e, 200, 0, 0)
	}
	interval(now, all[0], 200, 100, 0)
	b.EjectOutliers(now, 50)
	status(t, all[0], now, failover.Ejected)
	now = now.Add(30 * time.Second)
	b.EjectOutliers(now, 50)
	status(t, all[0], now, failover.Closed)
}
