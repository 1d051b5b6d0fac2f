package quota

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// NodeID names a node permanently, over restarts and changes of address.
type NodeID uint64

// MemberState is what membership says of a node.
type MemberState uint8

// The states of a member. Only Alive and Suspect members are homes.
const (
	Alive MemberState = iota
	Suspect
	Vanished // gone without leaving
	Left     // announced that it leaves
)

// A Member is a node that can be a home, as membership knows it.
type Member struct {
	ID          NodeID
	Incarnation uint32
	State       MemberState
	Refused     bool          // vanished, and its address answers that nobody is there
	RTT         time.Duration // estimated round trip, 0 = unknown; measurements replace it
}

// peer is what the engine knows of a node. All but roundTrip belongs to the
// control loop.
type peer struct {
	id          NodeID
	incarnation uint32
	state       MemberState
	refused     bool
	vanishedAt  time.Duration
	crashed     bool // it has vanished since it last came as a newcomer

	missed      int           // reports sent since its last answer
	missedSince time.Duration // when the first of these was sent
	avoidUntil  time.Duration // it does not answer: others are home meanwhile

	roundTrip
}

// live reports whether the peer is alive by the membership.
func (p *peer) live() bool { return p.state == Alive || p.state == Suspect }

// counts reports whether the peer is part of the mesh, if only as a hole in it.
func (p *peer) counts(now time.Duration) bool {
	switch p.state {
	case Left:
		return false
	case Vanished:
		if p.refused {
			return now < p.vanishedAt+forgetRefused
		}
		return now < p.vanishedAt+forgetVanished
	default:
		return true
	}
}

// asked notes a report sent to the peer; too many without an answer, and others
// are home for a while.
func (p *peer) asked(now time.Duration) {
	if p.missed++; p.missed == 1 {
		p.missedSince = now
	}
	if p.missed >= missedMost && now-p.missedSince > leaseTTL*6/10 && now > p.avoidUntil {
		p.avoidUntil, p.missed = now+leaseTTL, 0
	}
}

// roundTrip keeps the mean and the peak of round trips. Any goroutine may read.
type roundTrip struct{ mean, peak atomic.Int64 } // ns, 0 = never measured

// sample processes one measurement. The peak follows upwards at once and comes
// down over some hundred samples, which keeps it about the 99th percentile.
func (r *roundTrip) sample(d time.Duration) {
	s := max(int64(d), 1)
	if mean := r.mean.Load(); mean == 0 {
		r.mean.Store(s)
	} else {
		r.mean.Store(mean + (s-mean)/8)
	}
	if peak := r.peak.Load(); s >= peak {
		r.peak.Store(s)
	} else {
		r.peak.Store(peak - (peak-s)/128)
	}
}

// patience is how long an answer is worth waiting for.
func (r *roundTrip) patience() time.Duration {
	peak := time.Duration(r.peak.Load())
	if peak == 0 {
		return maxHold // nothing is known: the first answer will tell
	}
	return min(max(peak*5/2, minHold), maxHold)
}

// view is the membership at one time, and what else a request must know. It is
// immutable but for the peers.
type view struct {
	period time.Duration // Config.SyncEvery

	homes     []*peer  // live, by id
	salts     []uint64 // of homes, for the rendezvous order
	known     int      // live and vanished, at least 1
	share     float64  // live / known
	before    float64  // the lower share that holds until risesAt
	risesAt   time.Duration
	changedAt time.Duration // when homes last changed
	brokenAt  time.Duration // when they last did without a word: a node vanished or came back
}

// newView looks at peers. A share that falls counts at once; one that rises,
// only when the leases of the other side have surely ended.
func newView(now time.Duration, peers map[NodeID]*peer, last *view) *view {
	v := &view{period: last.period}
	for _, p := range peers {
		if p.live() {
			v.homes = append(v.homes, p)
		}
		if p.counts(now) {
			v.known++
		}
	}
	slices.SortFunc(v.homes, func(a, b *peer) int { return cmp.Compare(a.id, b.id) })
	for _, p := range v.homes {
		v.salts = append(v.salts, mix(uint64(p.id)))
	}
	v.known = max(v.known, 1)
	v.share = float64(len(v.homes)) / float64(v.known)
	v.before, v.risesAt, v.changedAt, v.brokenAt = v.share, now, last.changedAt, last.brokenAt
	for _, p := range differences(v.homes, last.homes) {
		v.changedAt = now
		if p.crashed {
			v.brokenAt = now
		}
	}
	if held := last.held(now); v.share > held {
		v.before, v.risesAt = held, now+2*leaseTTL
		if last.rising(now) {
			v.risesAt = last.risesAt
		}
	}
	return v
}

// tick is the unit of sequence numbers.
const tick = 100 * time.Microsecond

// sequence is the sequence number of a report sent now: the time, rounded up, so that
// the answer tells how old it is without anybody remembering. Only the node that
// made it reads it as a time. It is never 0.
func sequence(now time.Duration) int64 { return int64(now/tick) + 1 }

// sentAt is the time that a sequence number stands for.
func sentAt(seq int64) time.Duration { return time.Duration(seq) * tick }

// rising reports whether a better share is already seen but not yet in force.
func (v *view) rising(now time.Duration) bool { return v.share > v.before && now < v.risesAt }

// held is the share in force.
func (v *view) held(now time.Duration) float64 {
	if now < v.risesAt {
		return v.before
	}
	return v.share
}

// differences are the nodes that are in one of a and b only.
func differences(a, b []*peer) (those []*peer) {
	for _, pair := range [][2][]*peer{{a, b}, {b, a}} {
		for _, p := range pair[0] {
			if !slices.Contains(pair[1], p) {
				those = append(those, p)
			}
		}
	}
	return those
}

// steady reports whether the homes have been the same for so long that every lease
// of a former home has ended.
func (v *view) steady(now time.Duration) bool {
	return v.known == 1 || now-v.changedAt >= 2*leaseTTL
}

// settled is steady, where changes in good order do not count: a home that ends by
// one hands over what it knows.
func (v *view) settled(now time.Duration) bool {
	return v.known == 1 || now-v.brokenAt >= 2*leaseTTL
}

// doubtful reports whether nodes have vanished so lately that the rest of a side
// may be about to.
func (v *view) doubtful(now time.Duration) bool { return v.share < 1 && now-v.changedAt < doubtFor }

// home is the first of k's order that is not avoided, or nil.
func (v *view) home(k Key, now time.Duration) *peer {
	return v.best(k, func(p *peer) bool { return now >= p.avoidUntil })
}

// first is the first of k's order, whether or not it answers.
func (v *view) first(k Key) *peer { return v.best(k, func(*peer) bool { return true }) }

// best is the node of the highest random weight (Thaler and Ravishankar, 1998)
// among those that suit.
func (v *view) best(k Key, suits func(*peer) bool) (best *peer) {
	var top uint64
	for i, p := range v.homes {
		if w := mix(uint64(k) ^ v.salts[i]); (best == nil || w > top) && suits(p) {
			best, top = p, w
		}
	}
	return best
}

// mix is the finalizer of SplitMix64: every bit of x stirs every bit out.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// factor is the part of a limit that a side of the mesh with the given share of
// its nodes may use. Over all sides of any split the factors add up to at most 1.
func factor(share, phi float64) float64 {
	switch {
	case share >= 1:
		return 1
	case share > 0.5:
		return 1 - phi*(1-share)
	case share == 0.5: // exact: a quotient of two integers
		return 0.5
	default:
		return phi * share
	}
}
