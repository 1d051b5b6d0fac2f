package failover_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// endpoints returns n endpoints born at start.
func endpoints(n int) []*failover.Endpoint {
	all := make([]*failover.Endpoint, n)
	for i := range all {
		all[i] = failover.NewEndpoint(start, fmt.Sprintf("http://10.0.0.%d:8080", i), "eu")
	}
	return all
}

func candidates(all []*failover.Endpoint, weights ...int) []failover.Candidate {
	cs := make([]failover.Candidate, len(all))
	for i, e := range all {
		cs[i] = failover.Candidate{Endpoint: e, Weight: 100}
		if len(weights) > 0 {
			cs[i].Weight = weights[i%len(weights)]
		}
	}
	return cs
}

func policies() map[string]failover.Policy {
	return map[string]failover.Policy{
		"least_request": failover.LeastRequest, "round_robin": failover.RoundRobin, "random": failover.Random,
		"ewma": failover.EWMA, "consistent_hash": failover.ConsistentHash,
	}
}

// breakOpen opens e's breaker at now.
func breakOpen(now time.Time, e *failover.Endpoint) {
	for range 5 {
		e.Begin(now)
		e.End(now, failover.Outcome{Kind: failover.ConnectFailed})
	}
}

// picked counts n choices at now.
func picked(t *testing.T, b *failover.Balancer, now time.Time, n int) map[*failover.Endpoint]int {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	got := map[*failover.Endpoint]int{}
	for range n {
		e, err := b.Pick(now, rng.Uint64(), nil)
		if err != nil {
			t.Fatalf("Pick: %v", err)
		}
		got[e]++
	}
	return got
}

func TestSharesFollowWeights(t *testing.T) {
	for name, policy := range policies() {
		t.Run(name, func(t *testing.T) {
			all := endpoints(3)
			b := failover.NewBalancer(policy, candidates(all, 100, 200, 700))
			got := picked(t, b, start, 20000)
			for i, want := range []float64{0.1, 0.2, 0.7} {
				share, tolerance := float64(got[all[i]])/20000, 0.02
				if policy == failover.ConsistentHash {
					tolerance = 0.08
				}
				if policy == failover.EWMA { // with nothing measured, all cost the same
					continue
				}
				if math.Abs(share-want) > tolerance {
					t.Errorf("endpoint %d got %.3f, want %.3f", i, share, want)
				}
			}
		})
	}
}

func TestPickAvoidsTriedOpenAndDrained(t *testing.T) {
	for name, policy := range policies() {
		t.Run(name, func(t *testing.T) {
			all := endpoints(4)
			b := failover.NewBalancer(policy, candidates(all, 100, 100, 100, 0))
			breakOpen(start, all[0])
			for i := range uint64(200) {
				e, err := b.Pick(start, i, all[1:2])
				if err != nil || e != all[2] {
					t.Fatalf("Pick = %v, %v; want the only one left", e, err)
				}
			}
			if e, err := b.Pick(start, 1, all[1:3]); !errors.Is(err, failover.ErrExhausted) {
				t.Fatalf("Pick = %v, %v; want ErrExhausted", e, err)
			}
		})
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	for name, policy := range policies() {
		all := endpoints(100)
		b := failover.NewBalancer(policy, candidates(all))
		breakOpen(start, all[7])
		key, tried := uint64(0), all[3:4]
		if n := testing.AllocsPerRun(1000, func() {
			key += 0x9e3779b97f4a7c15
			e, err := b.Pick(start, key, tried)
			if err != nil {
				t.Fatal(err)
			}
			e.Begin(start)
			e.End(start, failover.Outcome{Latency: time.Millisecond})
		}); n != 0 {
			t.Errorf("%s: %v allocations for a request, want none", name, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{3, 100} {
		for name, policy := range policies() {
			b.Run(fmt.Sprintf("endpoints=%d/policy=%s", n, name), func(b *testing.B) {
				all := endpoints(n)
				balancer := failover.NewBalancer(policy, candidates(all))
				for i, e := range all { // as under load
					for range i % 3 {
						e.Begin(start)
					}
				}
				key, now := uint64(0), start
				b.ReportAllocs()
				for b.Loop() {
					key += 0x9e3779b97f4a7c15
					now = now.Add(time.Microsecond)
					if _, err := balancer.Pick(now, key, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestWhoStandsInLineCountsLikeWhoIsServed(t *testing.T) {
	all := endpoints(2)
	b := failover.NewBalancer(failover.LeastRequest, candidates(all))
	for _, e := range all {
		e.Begin(start)
	}
	all[0].Queued.Add(1)
	// Now and then no second one is drawn to compare with.
	if got := picked(t, b, start, 1000); got[all[0]] > 100 {
		t.Errorf("the endpoint with a line was chosen %d times of 1000", got[all[0]])
	}
}
