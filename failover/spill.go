package failover

import (
	"cmp"
	"math"
	"slices"
	"time"
)

const (
	overprovision = 1.4 // how much a region's healthy endpoints can take in place of the others: Envoy's factor
	holdDown      = 30 * time.Second
	rampUp        = 30 * time.Second
)

// Access says how the endpoints of a region can be reached.
type Access uint8

// The accesses.
const (
	NoAccess   Access = iota // no live gateway node there
	LastResort               // its nodes are draining, overloaded or isolated: only where nothing better is left
	FullAccess               // this node's own region, direct, or through a gateway in good order
)

// Region is what is known of an upstream in one region.
type Region struct {
	Name   string
	Access Access
	// Health is the weight of the healthy endpoints over that of all, in [0,1],
	// 0 without endpoints. Unchecked is the same with checks ignored.
	Health, Unchecked float64
	// Room is what the region's nodes can take of other regions, in requests/s:
	// the sum of Headroom and Foreign of their Loads. It does not count for the
	// node's own region.
	Room float64
	// Wanted is what nodes of third regions, neither this one nor the node's
	// own, want to send away, in requests/s: the sum of Wanted of their Loads.
	Wanted float64
}

// Demand is the demand of clients for an upstream in a node's region, in
// requests/s.
type Demand struct {
	Own      float64 // of this node
	Siblings float64 // of the region's other nodes: the sum of Demand of their Loads
}

// Hold is the state of a region that lets traffic return to it gradually. The
// zero Hold is that of a region not seen before.
type Hold struct {
	Seen  bool
	Level float64   // what the region is trusted to take, in [0,1]
	From  float64   // Level when its recovery began
	Since time.Time // when its recovery began; zero without one
}

// Split is the division of the requests for an upstream.
type Split struct {
	Shares  []float64 // for each region, in the order given; their sum is 1 - Refused
	Refused float64   // the share that nobody can take
	Wanted  float64   // what this node wants other regions to take, in requests/s, refused ones included
	Dark    bool      // no region can serve: try all endpoints in the background, NeedUrgent
	Held    []bool    // regions that are well but held down: try their endpoints, NeedHeld
}

// Divide divides the node's demand among regions: the node's own first, then the
// others in failover order. It returns the division, and the holds to pass to the
// next call, at most a second later; nil at first.
//
// The algorithm is Envoy's priority load: a region takes min(1, 1.4 x health) of the
// requests, the rest goes to the next, and if all together cannot take everything,
// each takes a proportional part. Unlike in Envoy, a node sends no more to a region
// than its share of the room there, in proportion to what all nodes want to send; the
// rest is refused. It assumes that the other nodes decide as it does, before they
// report. A region loses traffic at once and regains it slowly: it is held down for
// 30 s, then ramped up over 30 s, provided that another region serves meanwhile, and
// never at the price of refusing requests that the region could take.
func Divide(now time.Time, demand Demand, regions []Region, holds map[string]Hold) (Split, map[string]Hold) {
	raw := levels(regions)
	next := make(map[string]Hold, len(regions))
	trusted := make([]float64, len(regions))
	s := Split{Shares: make([]float64, len(regions)), Held: make([]bool, len(regions)), Dark: true}
	for i, r := range regions {
		h := holds[r.Name].next(now, raw[i], othersServe(regions, raw, holds, i))
		next[r.Name], trusted[i] = h, h.Level
		s.Held[i] = h.Level < raw[i]
		s.Dark = s.Dark && raw[i] == 0
	}
	left := s.spread(regions, trusted, demand)
	left = s.fill(regions, raw, demand, left)
	s.Refused = max(0, left)
	return s, next
}

// levels returns what each region could take, in [0,1], by the best that any of
// them offers: access in good order, else any access; checks heeded, else not.
func levels(regions []Region) []float64 {
	for _, heed := range []bool{true, false} {
		for _, access := range []Access{FullAccess, LastResort} {
			levels, some := make([]float64, len(regions)), false
			for i, r := range regions {
				health := r.Health
				if !heed {
					health = r.Unchecked
				}
				if r.Access >= access {
					levels[i] = min(1, overprovision*max(0, health))
				}
				some = some || levels[i] > 0
			}
			if some {
				return levels
			}
		}
	}
	return make([]float64, len(regions))
}

// othersServe reports whether a region other than the i-th is sure to serve.
func othersServe(regions []Region, raw []float64, holds map[string]Hold, i int) bool {
	for j, r := range regions {
		if h, level := holds[r.Name], raw[j]; j != i && level > 0 && (!h.Seen || h.Level > 0) {
			return true
		}
	}
	return false
}

// next is the record at now of a region that could take raw.
func (h Hold) next(now time.Time, raw float64, othersServe bool) Hold {
	if !h.Seen || !othersServe || raw <= h.Level {
		return Hold{Seen: true, Level: raw}
	}
	if h.Since.IsZero() {
		h.Since, h.From = now, h.Level
	}
	if elapsed := now.Sub(h.Since) - holdDown; elapsed > 0 {
		h.Level = h.From + (raw-h.From)*min(1, elapsed.Seconds()/rampUp.Seconds())
		h.Level = min(raw, h.Level)
	}
	if h.Level == raw {
		h.Since = time.Time{}
	}
	return h
}

// spread gives each region its part by Envoy's formula, within its room, and
// returns what is left.
func (s *Split) spread(regions []Region, levels []float64, demand Demand) (left float64) {
	norm := 0.0
	for _, level := range levels {
		norm += level
	}
	left = 1
	for i, r := range regions {
		if norm > 0 {
			share := min(left, levels[i]/min(1, norm))
			if i > 0 {
				share = min(share, s.part(r, demand))
			}
			s.Shares[i], left = share, left-share
		}
		if i == 0 {
			s.Wanted = left * demand.Own
		}
	}
	return left
}

// fill offers what is left to regions that could take more than they are
// trusted to, and returns what is left then.
func (s *Split) fill(regions []Region, raw []float64, demand Demand, left float64) float64 {
	for i, r := range regions {
		limit := raw[i]
		if i > 0 {
			limit = min(limit, s.part(r, demand))
		}
		more := min(left, max(0, limit-s.Shares[i]))
		s.Shares[i], left = s.Shares[i]+more, left-more
	}
	return left
}

// part is the share of the node's demand that fits its part of a region's room.
func (s *Split) part(r Region, demand Demand) float64 {
	if demand.Own <= 0 || s.Wanted <= 0 {
		return 1
	}
	siblings := max(0, demand.Siblings) * s.Wanted / demand.Own
	return max(0, r.Room) * s.Wanted / (s.Wanted + siblings + max(0, r.Wanted)) / demand.Own
}

// Choose returns the index of the region for an admitted request, by a random
// number; -1 if no region can take any.
func (s Split) Choose(word uint64) int {
	sum, chosen := 0.0, -1
	for i, share := range s.Shares {
		if share <= 0 {
			continue
		}
		sum += share
		if word = mix(word); unit(word)*sum < share {
			chosen = i
		}
	}
	return chosen
}

// Order returns the regions in failover order, home first: as in list or,
// without a list, all of regions by round-trip time, unmeasured ones last.
func Order(home string, list, regions []string, roundTrip map[string]time.Duration) []string {
	rest := list
	if len(list) == 0 {
		rest = slices.Clone(regions)
		slices.SortFunc(rest, nearer(roundTrip))
	}
	order := []string{home}
	for _, r := range rest {
		if !slices.Contains(order, r) {
			order = append(order, r)
		}
	}
	return order
}

// nearer compares regions by measured round trip, then by name.
func nearer(roundTrip map[string]time.Duration) func(a, b string) int {
	far := func(region string) time.Duration {
		if rtt, ok := roundTrip[region]; ok {
			return rtt
		}
		return math.MaxInt64
	}
	return func(a, b string) int { return cmp.Or(cmp.Compare(far(a), far(b)), cmp.Compare(a, b)) }
}
