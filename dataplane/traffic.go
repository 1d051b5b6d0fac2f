package dataplane

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// traffic is what comes for an upstream: counts, and their rates over about the
// last second.
type traffic struct {
	own     [failover.Priorities]atomic.Uint64 // requests of this node's clients
	sent    atomic.Uint64                      // requests that nodes of other regions sent on
	foreign atomic.Uint64                      // those of them that found a slot

	mu    sync.Mutex // guards the rest
	at    time.Time
	last  counts
	rates rates
}

type counts struct {
	own           [failover.Priorities]uint64
	sent, foreign uint64
}

// rates are per second, but for slots.
type rates struct {
	own     failover.Mix
	sent    float64
	foreign float64
	slots   float64 // in use at this region's endpoints, on average
	pending float64 // requests that wait for one
}

// demand is what this node's clients want, in requests/s.
func (r rates) demand() (sum float64) {
	for _, n := range r.own {
		sum += n
	}
	return sum
}

const (
	averagedOver = time.Second
	drained      = 2 * time.Second // the time in which a queue should be gone: that much less is offered to others
	lost         = 1.04            // what may be sent for what finds a slot, since some come when all are in use
)

// taken is what this node takes for other regions, in requests/s. What was sent
// and found no slot counts as well, up to a bound: if it did not, the room told
// would shrink with every unlucky arrival, and slots would stay empty.
func (r rates) taken() float64 {
	return max(0, min(r.sent, lost*r.foreign)-r.pending/drained.Seconds())
}

// measure takes in the counts of now and the slots in use, and returns the rates.
func (t *traffic) measure(now time.Time, slots int, pending int64) rates {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := counts{sent: t.sent.Load(), foreign: t.foreign.Load()}
	for p := range t.own {
		next.own[p] = t.own[p].Load()
	}
	passed := now.Sub(t.at)
	if !t.at.IsZero() && passed > 0 {
		weight := 1 - math.Exp(-passed.Seconds()/averagedOver.Seconds())
		follow := func(rate *float64, n uint64) { *rate += weight * (float64(n)/passed.Seconds() - *rate) }
		for p := range next.own {
			follow(&t.rates.own[p], next.own[p]-t.last.own[p])
		}
		follow(&t.rates.sent, next.sent-t.last.sent)
		follow(&t.rates.foreign, next.foreign-t.last.foreign)
		t.rates.slots += weight * (float64(slots) - t.rates.slots)
		t.rates.pending += weight * (float64(pending) - t.rates.pending)
	}
	t.at, t.last = now, next
	return t.rates
}

func (t *traffic) now() rates {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rates
}

// Loads returns what this node has to tell of its room for each upstream: what it
// can take more, for others too. rate is what it serves of all, in requests/s,
// and cpu (0..1) what that costs.
func (s *Server) Loads(rate, cpu float64) []failover.Load {
	var loads []failover.Load
	for _, u := range s.plan.Load().upstreams {
		r, d := u.shared.traffic.now(), u.division.Load()
		here := r.demand()*d.share(0) + r.foreign
		mean := time.Duration(0)
		if here > 0 {
			mean = time.Duration(r.slots / here * float64(time.Second)) // Little's law
		}
		load := failover.Load{
			Upstream: u.Name, Foreign: r.taken(), Demand: r.demand(), Wanted: d.split.Wanted,
			Headroom: failover.Headroom(rate, cpu, d.slots, r.slots, mean),
		}
		loads = append(loads, load)
	}
	return loads
}

// healthySlots is how many requests may be under way at once to those of this
// region's endpoints that are in use.
func (u *upstream) healthySlots(now time.Time) int {
	slots := 0
	for _, e := range u.endpoints {
		if e.near && e.broken == "" && e.address.Weight > 0 && e.state.State(now).Status == failover.Closed {
			slots += u.MaxConnections
		}
	}
	return slots
}

// usedSlots is how many requests are under way to this region's endpoints.
func (u *upstream) usedSlots() int {
	used := 0
	for _, e := range u.endpoints {
		if e.near {
			used += e.state.Inflight()
		}
	}
	return used
}
