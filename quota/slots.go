package quota

import (
	"math"
	"time"
)

// Limits of requests in flight use the same leases for slots. A lease's rate is
// then the number of slots held. What is in use stays in use, whatever becomes of
// the lease: only new requests need one.

// slotLease is the node's side.
type slotLease struct {
	held    int64 // leased
	used    int64 // in flight here
	peak    int64 // the most used since the last report
	refused int64 // since the last report

	// A report that wants little makes the home lease the rest to others. An
	// answer to an earlier one must not bring it back, so the least that was
	// wanted since is remembered: since the report turn, and in the time before.
	newer, older int64
	turn         int64
}

func newSlotLease() *slotLease { return &slotLease{newer: math.MaxInt64, older: math.MaxInt64} }

// available reports whether cost more could be in flight. Without a lease, a node
// has its part of what a lonely node may use.
func (s *slotLease) available(e *entry, now time.Duration, cost int64, v *view) bool {
	l := e.limit
	switch {
	case l.Local || l.Open && !e.isLeased:
		return s.used+cost <= l.Slots
	case e.isLeased:
		return s.used+cost <= s.held
	case l.Hold != 0 && !e.cut(now): // the home will tell
		return false
	default:
		return s.used+cost <= int64(l.Isolated*float64(l.Slots)/float64(v.known))
	}
}

func (s *slotLease) take(cost int64) {
	s.used += cost
	s.peak = max(s.peak, s.used)
}

// low reports whether the home should hear that more will be needed.
func (s *slotLease) low(e *entry) bool { return !e.saturated && s.used*4 > s.held*3 }

// report fills in what is used and wanted: what was in use, a little more while
// requests come, and what had to be refused.
func (s *slotLease) report(r *report, e *entry) {
	want := s.peak + e.waiting() + s.refused
	if e.demand.rate > 0 {
		want += max(1, s.peak/4)
	}
	want = min(want, e.limit.Slots)
	if e.releasing {
		want = 0
	}
	r.Count, r.Base, r.Want = s.used, 0, max(want, s.used)
	s.held, s.newer = min(s.held, r.Want), min(s.newer, r.Want)
	e.rate = float32(s.held)
	s.peak, s.refused = s.used, 0
}

// grant processes the home's answer.
func (s *slotLease) grant(g *grant, e *entry) {
	s.held = int64(g.Rate)
	switch {
	case g.Seq == e.seq: // nothing was said since
		s.newer, s.older, s.turn = math.MaxInt64, math.MaxInt64, e.seq+1
	case g.Seq >= s.turn:
		s.held = min(s.held, s.newer)
		s.newer, s.older, s.turn = math.MaxInt64, s.newer, e.seq+1
	default:
		s.held = min(s.held, s.newer, s.older)
	}
	e.rate = float32(s.held)
}

// reportSlots is report for a limit of requests in flight. The party's count is
// what it uses, its demand what it wants.
func (h *home) reportSlots(now time.Duration, p *party, r *report, s *side) (g grant, recall NodeID, answer bool) {
	if r.Release && r.Count == 0 {
		p.seq, p.live, p.silent, p.demand, p.rate = r.Seq, false, false, 0, 0
		h.recount()
		return grant{Key: r.Key, Seq: r.Seq, Released: true}, 0, true
	}
	kept := float64(r.Count)
	if p.live { // the node may be using all that it still wants of its lease
		kept = max(kept, min(p.rate, float64(r.Want)))
	}
	p.seq, p.count, p.demand, p.at = r.Seq, r.Count, float32(r.Want), now
	p.live, p.silent, p.recalled, p.rate = true, false, false, 0
	h.recount()
	budget := h.budget(s)
	want := float64(r.Want)
	if now < h.disturbance().coldUntil { // slots leased by a former home are still out
		want = min(want, max(r.Claim, math.Floor(budget/float64(s.known))))
	}
	if h.demands > budget { // not enough for all: nobody grows beyond its share
		want = min(want, math.Ceil(max(budget, 0)*want/h.demands))
	}
	p.rate = max(min(want, math.Floor(budget-h.rates)), kept)
	h.rates += p.rate
	g = grant{
		Key: r.Key, Seq: r.Seq, Count: r.Count, Rate: p.rate,
		Level:     min(max(0, 1-h.rates/float64(h.limit.Slots)), 1),
		Saturated: p.rate < float64(r.Want),
	}
	if g.Saturated && r.Starving {
		recall = h.overfed(now, p, budget)
	}
	return g, recall, true
}
