package failover

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// ErrExhausted says that no endpoint can take the request.
var ErrExhausted = errors.New("no endpoint left")

// Policy is how a Balancer chooses.
type Policy uint8

// The policies. All are weighted; all but ConsistentHash start new and
// recovered endpoints slowly.
const (
	LeastRequest   Policy = iota // the better of two random ones by requests in flight for their weight (Mitzenmacher 2001)
	RoundRobin                   // in turn, interleaved by weight
	Random                       // at random
	EWMA                         // the better of two random ones by latency times requests in flight (Finagle's PeakEwma)
	ConsistentHash               // the same for the same key, with bounded load (Mirrokni, Thorup, Zadimoghaddam 2016)
)

// ParsePolicy returns the policy with the name that a route file uses; the
// empty name is the default, LeastRequest.
func ParsePolicy(name string) (Policy, error) {
	switch name {
	case "", "least_request":
		return LeastRequest, nil
	case "round_robin":
		return RoundRobin, nil
	case "random":
		return Random, nil
	case "ewma":
		return EWMA, nil
	case "consistent_hash":
		return ConsistentHash, nil
	}
	return 0, fmt.Errorf("%q is no balance policy", name)
}

// Candidate is an endpoint that a Balancer may choose, and its weight relative
// to the others. Candidates of weight 0 are drained: they get nothing.
type Candidate struct {
	Endpoint *Endpoint
	Weight   int
	Priority int // those of a higher one are chosen only where no other can be
}

// Balancer chooses among the endpoints of one upstream in one region. Its
// candidates never change: a new table makes a new Balancer over the same
// Endpoints, as far as they stay. It is safe for concurrent use, and takes no
// lock except that of an endpoint being probed.
type Balancer struct {
	policy     Policy
	candidates []candidate // by URL, so that all nodes have them in the same order
	weights    float64     // sum
	reserve    *Balancer   // over those of higher priority; nil = there are none

	turns []int32 // RoundRobin: candidates in turn
	_     [64]byte
	turn  atomic.Uint64
	_     [64]byte
	ring  ring // ConsistentHash
	busy  estimate
}

type candidate struct {
	endpoint *Endpoint
	weight   float64
	keep     uint32 // Walker's alias method: below it the candidate itself, else alias
	alias    uint32
}

// draws is how often two different usable candidates are looked for by chance
// before all are looked at.
const draws = 6

// NewBalancer returns a Balancer over candidates. If all of them are new, there
// is no slow start.
func NewBalancer(policy Policy, candidates []Candidate) *Balancer {
	b := &Balancer{policy: policy}
	candidates, reserve := byPriority(candidates)
	if len(reserve) > 0 {
		b.reserve = NewBalancer(policy, reserve)
	}
	for _, c := range candidates {
		if c.Weight > 0 {
			b.candidates = append(b.candidates, candidate{endpoint: c.Endpoint, weight: float64(c.Weight)})
			b.weights += float64(c.Weight)
		}
	}
	slices.SortFunc(b.candidates, func(a, b candidate) int { return cmp.Compare(a.endpoint.url, b.endpoint.url) })
	warm(b.candidates)
	alias(b.candidates, b.weights)
	switch policy {
	case RoundRobin:
		b.turns = interleave(b.candidates)
	case ConsistentHash:
		b.ring = newRing(b.candidates)
	}
	return b
}

// byPriority splits candidates into those of the lowest priority value with a
// weight above 0, and the rest.
func byPriority(candidates []Candidate) (first, behind []Candidate) {
	lowest := math.MaxInt
	for _, c := range candidates {
		if c.Weight > 0 {
			lowest = min(lowest, c.Priority)
		}
	}
	for _, c := range candidates {
		if c.Priority <= lowest {
			first = append(first, c)
		} else {
			behind = append(behind, c)
		}
	}
	return first, behind
}

// Pick chooses an endpoint for a request, none of tried; the caller then calls
// its Begin and End. key is the hash of what ConsistentHash keeps together, and
// a random number for the other policies. The error is ErrExhausted. Pick does
// not allocate.
//
// An endpoint whose breaker is half-open is chosen for one request at a time.
// If health checks alone exclude all endpoints, Pick ignores the checks (Envoy's
// panic mode).
func (b *Balancer) Pick(now time.Time, key uint64, tried []*Endpoint) (*Endpoint, error) {
	if e := b.pick(now, key, tried); e != nil {
		return e, nil
	}
	// With other random numbers than those by which pick found none. Another
	// request may claim a probe between scan and claim: then scan again.
	for range 3 {
		i := b.scan(now, ^key, tried)
		if i < 0 {
			break
		}
		if e := b.candidates[i].endpoint; e.claim(now) {
			return e, nil
		}
	}
	if b.reserve != nil {
		if e, err := b.reserve.Pick(now, key, tried); err == nil {
			return e, nil
		}
	}
	if e := b.despiteChecks(key, tried); e != nil {
		return e, nil
	}
	return nil, ErrExhausted
}

// pick chooses by the policy; nil if a few draws found no usable candidate.
func (b *Balancer) pick(now time.Time, key uint64, tried []*Endpoint) *Endpoint {
	switch {
	case len(b.candidates) < 2:
		return nil
	case b.policy == RoundRobin:
		return b.inTurn(now, key, tried)
	case b.policy == ConsistentHash:
		return b.byHash(now, key, tried)
	default:
		return b.byChance(now, key, tried)
	}
}

// byChance draws one usable candidate or, for policies that compare, the better
// of two different ones.
func (b *Balancer) byChance(now time.Time, key uint64, tried []*Endpoint) *Endpoint {
	var first *candidate
	for range draws {
		key = mix(key)
		c := b.draw(key)
		if c == first || slices.Contains(tried, c.endpoint) {
			continue
		}
		gate := c.endpoint.gate.Load()
		if ok, probe := c.endpoint.ready(now, gate); !ok || gate&gateSlow != 0 && unit(mix(key)) >= c.endpoint.share(now, gate) {
			continue
		} else if probe {
			if c.endpoint.claim(now) {
				return c.endpoint
			}
			continue
		}
		if b.policy == Random {
			return c.endpoint
		}
		if first == nil {
			first = c
			continue
		}
		if b.cost(now, c) < b.cost(now, first) {
			return c.endpoint
		}
		return first.endpoint
	}
	if first == nil {
		return nil
	}
	return first.endpoint
}

// cost is what LeastRequest and EWMA compare. Requests that wait for a
// connection count like those in progress.
func (b *Balancer) cost(now time.Time, c *candidate) float64 {
	inflight := float64(c.endpoint.inflight.Load() + c.endpoint.Queued.Load())
	if b.policy == LeastRequest {
		return inflight / c.weight
	}
	latency := c.endpoint.peak.at(c.endpoint.offset(now))
	if latency == 0 && inflight > 0 {
		latency = float64(time.Second) // not measured and busy: wait for the first answer
	}
	return latency * (inflight + 1) / c.weight
}

// inTurn returns the next usable candidate in turn.
func (b *Balancer) inTurn(now time.Time, key uint64, tried []*Endpoint) *Endpoint {
	for range 2 * draws {
		c := &b.candidates[b.turns[b.turn.Add(1)%uint64(len(b.turns))]]
		gate := c.endpoint.gate.Load()
		ok, probe := c.endpoint.ready(now, gate)
		if !ok || slices.Contains(tried, c.endpoint) || probe && !c.endpoint.claim(now) {
			continue
		}
		if key = mix(key); gate&gateSlow != 0 && !probe && unit(key) >= c.endpoint.share(now, gate) {
			continue
		}
		return c.endpoint
	}
	return nil
}

// draw returns a candidate with a probability proportional to its weight.
func (b *Balancer) draw(word uint64) *candidate {
	c := &b.candidates[(word>>32)*uint64(len(b.candidates))>>32]
	if uint32(word) >= c.keep {
		c = &b.candidates[c.alias]
	}
	return c
}

// scan looks at all candidates and returns the index of a usable one, with a
// probability proportional to its weight; -1 if there is none.
func (b *Balancer) scan(now time.Time, key uint64, tried []*Endpoint) int {
	found, sum := -1, 0.0
	for i := range b.candidates {
		c := &b.candidates[i]
		gate := c.endpoint.gate.Load()
		if ok, _ := c.endpoint.ready(now, gate); !ok || slices.Contains(tried, c.endpoint) {
			continue
		}
		weight := c.weight * c.endpoint.share(now, gate)
		sum += weight
		if key = mix(key); unit(key)*sum < weight {
			found = i
		}
	}
	return found
}

// despiteChecks returns an endpoint that only health checks exclude, if there is no
// endpoint that nothing excludes (panic mode).
func (b *Balancer) despiteChecks(key uint64, tried []*Endpoint) *Endpoint {
	var found *Endpoint
	sum := 0.0
	for i := range b.candidates {
		c := &b.candidates[i]
		switch gate := c.endpoint.gate.Load() & gateOut; {
		case gate == 0:
			return nil // tried already: the way is not closed
		case gate != gateChecks || slices.Contains(tried, c.endpoint):
			continue
		}
		sum += c.weight
		if key = mix(key); unit(key)*sum < c.weight {
			found = c.endpoint
		}
	}
	return found
}

// alias builds the tables for draw by Walker's alias method, as in Vose (1991):
// each of n equal slots holds at most two candidates.
func alias(candidates []candidate, sum float64) {
	var small, large []int
	rest := make([]float64, len(candidates))
	for i, c := range candidates {
		rest[i] = c.weight * float64(len(candidates)) / sum
		candidates[i].keep, candidates[i].alias = 1<<32-1, uint32(i)
		if rest[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		candidates[s].keep, candidates[s].alias = uint32(rest[s]*(1<<32-1)), uint32(l)
		if rest[l] -= 1 - rest[s]; rest[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
}
