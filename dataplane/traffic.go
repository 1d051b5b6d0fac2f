package dataplane

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// traffic counts the requests for an upstream, and averages their rates over about
// the last second.
type traffic struct {
	own     [failover.Priorities]atomic.Uint64 // requests of this node's clients
	sent    atomic.Uint64                      // requests forwarded by nodes of other regions
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

// rates are in requests/s, except slots and pending.
type rates struct {
	own     failover.Mix
	sent    float64
	foreign float64
	slots   float64 // in use at this region's endpoints, on average
	pending float64 // requests that wait for one
}

// demand is the rate of requests of this node's clients, in requests/s.
func (r rates) demand() (sum float64) {
	for _, n := range r.own {
		sum += n
	}
	return sum
}

const (
	averagedOver = time.Second
	drained      = 2 * time.Second // the time in which a queue should drain: that much less is offered to others
	lost         = 1.04            // the ratio of forwarded requests to those that find a slot that is still normal, since arrivals are random
)

// taken is the rate of requests that this node takes for other regions, in
// requests/s. Up to a bound, requests that found no slot count as well: otherwise the
// reported room would shrink with every unlucky arrival, and slots would stay empty.
func (r rates) taken() float64 {
	return max(0, min(r.sent, lost*r.foreign)-r.pending/drained.Seconds())
}

// measure updates the rates with the present counts, and returns them.
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

// Loads returns what this node reports about its capacity for each upstream, part of
// which other regions may use. rate is what it serves in all, in requests/s, and cpu
// the share of the CPU that this takes, in [0,1].
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

// healthySlots returns how many requests the usable endpoints of this region may
// have in progress.
func (u *liveUpstream) healthySlots(now time.Time) int {
	slots := 0
	for _, e := range u.endpoints {
		if e.near && e.broken == "" && e.address.Weight > 0 && e.state.State(now).Status == failover.Closed {
			slots += u.MaxConnections
		}
	}
	return slots
}

// usedSlots returns how many requests are in progress at this region's endpoints.
func (u *liveUpstream) usedSlots() int {
	used := 0
	for _, e := range u.endpoints {
		if e.near {
			used += e.state.Inflight()
		}
	}
	return used
}
