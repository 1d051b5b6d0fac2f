package failover

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
)

const (
	pointsPerEndpoint = 160 // of the heaviest; the others in proportion. Loads then differ by some 8 %
	maxPoints         = 1 << 16
	loadBound         = 1.25 // how much more than its part an endpoint may have in flight
)

// ring is a consistent-hash ring: sorted points, each of one candidate. It
// depends on the candidates' URLs and weights alone, so every node that holds
// the same table walks it in the same order.
type ring struct {
	points []uint64 // hash << 32 | candidate, ascending
	index  []uint32 // of the first point at or after each 1/len(index) of the circle
	shift  int      // from a hash to its place in index
}

// newRing places candidates, which are sorted by URL, on a ring.
func newRing(candidates []candidate) ring {
	heaviest := 0.0
	for _, c := range candidates {
		heaviest = max(heaviest, c.weight)
	}
	each := min(pointsPerEndpoint, max(1, maxPoints/max(1, len(candidates))))
	var r ring
	for i, c := range candidates {
		for n := range max(1, int(math.Round(float64(each)*c.weight/heaviest))) {
			r.points = append(r.points, mix(c.endpoint.hash+uint64(n))&^(1<<32-1)|uint64(i))
		}
	}
	slices.Sort(r.points)
	r.shift = 32 - bits.Len(uint(len(r.points)))
	r.index = make([]uint32, 1<<(32-r.shift))
	next := 0
	for i := range r.index {
		for next < len(r.points) && r.hash(next) < uint32(i)<<r.shift {
			next++
		}
		r.index[i] = uint32(next)
	}
	return r
}

// hash returns where on the circle the i-th point is.
func (r *ring) hash(i int) uint32 { return uint32(r.points[i] >> 32) }

// start returns the index of the first point at or after the hash of key.
func (r *ring) start(key uint64) int {
	hash := uint32(mix(key) >> 32)
	i := int(r.index[hash>>r.shift])
	for i < len(r.points) && r.hash(i) < hash {
		i++
	}
	return i
}

// byHash takes the first candidate from the key's place on the ring that is
// usable and under its bound. It gives up after so many points that hardly a
// candidate can have been missed.
func (b *Balancer) byHash(now time.Time, key uint64, tried []*Endpoint) *Endpoint {
	i := b.ring.start(key)
	for range min(len(b.ring.points), 8*len(b.candidates)) {
		if i >= len(b.ring.points) {
			i = 0
		}
		c := &b.candidates[uint32(b.ring.points[i])]
		i++
		ok, probe := c.endpoint.ready(now, c.endpoint.gate.Load())
		if !ok || slices.Contains(tried, c.endpoint) || !b.underBound(now, c) || probe && !c.endpoint.claim(now) {
			continue
		}
		b.busy.inflight.Add(1)
		return c.endpoint
	}
	return nil
}

// underBound reports whether c may have one request more in flight: no more
// than loadBound times its part of all, rounded up, so that one is always
// allowed.
func (b *Balancer) underBound(now time.Time, c *candidate) bool {
	inflight := c.endpoint.inflight.Load()
	if inflight == 0 {
		return true
	}
	all, weights := b.busy.at(b.candidates, b.candidates[0].endpoint.offset(now))
	return float64(inflight) < math.Ceil(loadBound*c.weight/weights*float64(all+1))
}

// estimate is what a Balancer's usable endpoints have in flight, and their
// weight. It is counted once a millisecond; between two counts it only grows, by
// what Pick chose, so that it is never too low and nobody is passed over for
// nothing.
type estimate struct {
	_        [64]byte
	inflight atomic.Int64
	weights  atomic.Uint64 // sum, as float64
	due      atomic.Int64  // when to count again
	_        [64]byte
}

func (e *estimate) at(candidates []candidate, now int64) (inflight int64, weights float64) {
	due := e.due.Load()
	if now < due || !e.due.CompareAndSwap(due, now+int64(time.Millisecond)) {
		return e.inflight.Load(), math.Float64frombits(e.weights.Load())
	}
	for i := range candidates {
		c := &candidates[i]
		if c.endpoint.gate.Load()&gateOut == 0 {
			inflight += c.endpoint.inflight.Load()
			weights += c.weight
		}
	}
	e.inflight.Store(inflight)
	e.weights.Store(math.Float64bits(weights))
	return inflight, weights
}
