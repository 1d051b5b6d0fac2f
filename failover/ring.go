package failover

import (
	"cmp"
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
	points []point
	index  []uint32 // of the first point at or after each 1/len(index) of the circle
	shift  int      // from a hash to its place in index
}

type point struct {
	hash      uint32
	candidate uint32
}

func newRing(candidates []candidate) ring {
	heaviest := 0.0
	for _, c := range candidates {
		heaviest = max(heaviest, c.weight)
	}
	each := min(pointsPerEndpoint, max(1, maxPoints/max(1, len(candidates))))
	var r ring
	for i, c := range candidates {
		for n := range max(1, int(math.Round(float64(each)*c.weight/heaviest))) {
			r.points = append(r.points, point{hash: uint32(mix(c.endpoint.hash+uint64(n)) >> 32), candidate: uint32(i)})
		}
	}
	slices.SortFunc(r.points, func(a, b point) int {
		return cmp.Or(
			cmp.Compare(a.hash, b.hash),
			cmp.Compare(candidates[a.candidate].endpoint.url, candidates[b.candidate].endpoint.url),
		)
	})
	r.shift = 32 - bits.Len(uint(len(r.points)))
	r.index = make([]uint32, 1<<(32-r.shift))
	next := 0
	for i := range r.index {
		for next < len(r.points) && r.points[next].hash < uint32(i)<<r.shift {
			next++
		}
		r.index[i] = uint32(next)
	}
	return r
}

// start returns the index of the first point at or after the hash of key.
func (r *ring) start(key uint64) int {
	hash := uint32(mix(key) >> 32)
	i := int(r.index[hash>>r.shift])
	for i < len(r.points) && r.points[i].hash < hash {
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
		c := &b.candidates[b.ring.points[i].candidate]
		i++
		ok, probe := c.endpoint.ready(now, c.endpoint.gate.Load())
		if !ok || slices.Contains(tried, c.endpoint) || !b.underBound(now, c) || probe && !c.endpoint.claim(now) {
			continue
		}
		b.inflight.sum.Add(1)
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
	all := b.inflight.at(b.candidates, b.candidates[0].endpoint.offset(now))
	return float64(inflight) < math.Ceil(loadBound*c.weight/b.weights*float64(all+1))
}

// estimate is the number of requests in flight at a Balancer's endpoints. It is
// counted once a millisecond; between two counts it only grows, by what Pick
// chose, so that it is never too low and nobody is passed over for nothing.
type estimate struct {
	_   [64]byte
	sum atomic.Int64
	due atomic.Int64 // when to count again
	_   [64]byte
}

func (e *estimate) at(candidates []candidate, now int64) int64 {
	due := e.due.Load()
	if now < due || !e.due.CompareAndSwap(due, now+int64(time.Millisecond)) {
		return e.sum.Load()
	}
	var sum int64
	for i := range candidates {
		sum += candidates[i].endpoint.inflight.Load()
	}
	e.sum.Store(sum)
	return sum
}
