package failover_test

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

func TestCandidatesOfAHigherPriorityAreAReserve(t *testing.T) {
	t.Parallel()
	for _, policy := range []failover.Policy{failover.LeastRequest, failover.RoundRobin, failover.Random, failover.EWMA, failover.ConsistentHash} {
		now := time.Unix(1_000_000, 0)
		first, second, third := failover.NewEndpoint(now, "http://a", "r"), failover.NewEndpoint(now, "http://b", "r"), failover.NewEndpoint(now, "http://c", "r")
		b := failover.NewBalancer(policy, []failover.Candidate{
			{Endpoint: third, Weight: 1000, Priority: 2},
			{Endpoint: second, Weight: 1, Priority: 1},
			{Endpoint: first, Weight: 1},
			{Endpoint: failover.NewEndpoint(now, "http://drained", "r"), Priority: -1},
		})
		pick := func(tried ...*failover.Endpoint) *failover.Endpoint {
			e, err := b.Pick(now, 7, tried)
			if err != nil {
				t.Fatalf("policy %d: %v", policy, err)
			}
			return e
		}
		if got := pick(); got != first {
			t.Errorf("policy %d: got %s first", policy, got.URL())
		}
		if got := pick(first); got != second {
			t.Errorf("policy %d: got %s for another try", policy, got.URL())
		}
		if got := pick(first, second); got != third {
			t.Errorf("policy %d: got %s for a third try", policy, got.URL())
		}
		first.Heed(now, failover.Decision{Peers: true, Reason: "out"})
		if got := pick(); got != second {
			t.Errorf("policy %d: got %s with the first one out", policy, got.URL())
		}
		if health, _ := b.Health(); health != 1 {
			t.Errorf("policy %d: health %v though a reserve is whole", policy, health)
		}
		second.Heed(now, failover.Decision{Checks: true, Reason: "down"})
		third.Heed(now, failover.Decision{Checks: true, Reason: "down"})
		if got := pick(); got == first {
			t.Errorf("policy %d: checks alone have closed the last way", policy)
		}
	}
}
