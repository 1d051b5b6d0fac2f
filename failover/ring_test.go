package failover_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

func TestEveryNodeWalksTheSameOrder(t *testing.T) {
	a, b := old(10), old(10)
	slices.Reverse(b)
	here := failover.NewBalancer(failover.ConsistentHash, candidates(a))
	there := failover.NewBalancer(failover.ConsistentHash, candidates(b))
	for key := range uint64(300) {
		var triedHere, triedThere []*failover.Endpoint
		for range 10 {
			x, err := here.Pick(start, key, triedHere)
			if err != nil {
				t.Fatal(err)
			}
			y, err := there.Pick(start, key, triedThere)
			if err != nil || x.URL() != y.URL() {
				t.Fatalf("key %d after %d tries: %s here, %v (%v) there", key, len(triedHere), x.URL(), y, err)
			}
			triedHere, triedThere = append(triedHere, x), append(triedThere, y)
		}
	}
}

func TestOneEndpointMoreMovesItsPartOfTheKeys(t *testing.T) {
	all := old(11)
	before := failover.NewBalancer(failover.ConsistentHash, candidates(all[:10]))
	after := failover.NewBalancer(failover.ConsistentHash, candidates(all))
	moved := 0
	for key := range uint64(10000) {
		x, _ := before.Pick(start, key, nil)
		y, _ := after.Pick(start, key, nil)
		if x != y {
			if moved++; y != all[10] {
				t.Fatalf("key %d moved from %s to %s, which is not the new one", key, x.URL(), y.URL())
			}
		}
	}
	if moved < 600 || moved > 1300 {
		t.Errorf("%d of 10000 keys moved to the eleventh endpoint, want about 909", moved)
	}
}

func TestHashedLoadIsBounded(t *testing.T) {
	all := old(5)
	b := failover.NewBalancer(failover.ConsistentHash, candidates(all, 100, 100, 100, 100, 200))
	now := start
	for n := range 1000 {
		now = now.Add(100 * time.Microsecond)
		e, err := b.Pick(now, 42, nil) // the same hot key
		if err != nil {
			t.Fatal(err)
		}
		e.Begin(now)
		weight := 100.0
		if e == all[4] {
			weight = 200
		}
		if bound := int(math.Ceil(1.25 * weight / 600 * float64(n+1))); e.Inflight() > bound {
			t.Fatalf("%d of %d in flight at one endpoint, bound %d", e.Inflight(), n+1, bound)
		}
	}
}

func TestHashedLoadIsBoundedAmongTheLiving(t *testing.T) {
	all := old(10)
	b := failover.NewBalancer(failover.ConsistentHash, candidates(all))
	for _, e := range all[:6] {
		breakOpen(start, e)
	}
	now := start.Add(time.Second)
	for n := range 1000 {
		now = now.Add(100 * time.Microsecond)
		e, err := b.Pick(now, 42, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.Begin(now)
		if bound := int(math.Ceil(1.25 / 4 * float64(n+1))); e.Inflight() > bound {
			t.Fatalf("%d of %d in flight at one of four, bound %d", e.Inflight(), n+1, bound)
		}
	}
}

func TestHashKeepsItsKeysWhenMostEndpointsAreDead(t *testing.T) {
	all := old(10)
	b := failover.NewBalancer(failover.ConsistentHash, candidates(all))
	before := map[uint64]*failover.Endpoint{}
	for key := range uint64(1000) {
		before[key], _ = b.Pick(start, key, nil)
	}
	for _, e := range all[:6] {
		breakOpen(start, e)
	}
	for key, was := range before {
		e, err := b.Pick(start, key, nil)
		if err != nil || e != was && was.State(start).Status == failover.Closed {
			t.Fatalf("key %d moved from %s, which lives, to %v (%v)", key, was.URL(), e, err)
		}
	}
}

func TestRoundRobinInterleaves(t *testing.T) {
	all := old(3)
	b := failover.NewBalancer(failover.RoundRobin, candidates(all, 100, 200, 300))
	var last *failover.Endpoint
	counts, repeats := map[*failover.Endpoint]int{}, 0
	for range 600 {
		e, err := b.Pick(start, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if counts[e]++; e == last {
			repeats++
		}
		last = e
	}
	if counts[all[0]] != 100 || counts[all[1]] != 200 || counts[all[2]] != 300 {
		t.Errorf("counts %v, want exactly 100, 200, 300", counts)
	}
	if repeats > 100 {
		t.Errorf("%d of 600 turns repeat the one before, want them spread", repeats)
	}
}

func TestRoundRobinRoundsOddWeights(t *testing.T) {
	all := old(3)
	b := failover.NewBalancer(failover.RoundRobin, candidates(all, 65535, 32749, 1))
	got := picked(t, b, start, 40000)
	if share := float64(got[all[0]]) / 40000; math.Abs(share-2.0/3) > 0.01 || got[all[2]] == 0 {
		t.Errorf("counts %d, %d, %d", got[all[0]], got[all[1]], got[all[2]])
	}
}
