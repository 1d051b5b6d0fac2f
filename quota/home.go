package quota

import (
	"cmp"
	"slices"
	"time"
)

// home is a key at its home: the one bucket, and who holds leases on it. It
// belongs to the control loop. There may be many, so it is kept small.
type home struct {
	limit     *Limit
	pool      bucket  // of tokens; limits of requests in flight have none
	ideal     bucket  // for the audit
	rates     float64 // sum of the rates of live leases
	demands   float64 // sum of the demands of live parties
	live      int32   // parties
	silent    int32
	parties   []party      // by node
	disturbed *disturbance // nil in normal operation
	one       [1]party     // where parties begins: most keys are used at one node at a time

	seen    time.Duration // the last report
	charged int64         // by this home, in all; grows only
}

// disturbance is the state that a home keeps only when a key has just come to it, or
// while nodes are silent, cut off or coming back.
type disturbance struct {
	coldUntil   time.Duration // leases of a former home may still run
	silentRates float64       // of leases that ended without a last report
	claims      float64       // rates taken over while the true home is believed alive, or may be behind a split
	bonus       float64       // rates taken over from the other side of a healing partition
	aside       float64       // of a durable pool: what is for the other sides
	part        float64       // of a durable pool: this side's, 0..1
	blank       bool          // a durable pool that has not seen the records yet
	handed      []handed      // what was taken over lately,
	handedUntil time.Duration // until it comes no more
}

// disturb returns the disturbance for writing; with none, one begins.
func (h *home) disturb() *disturbance {
	if h.disturbed == nil {
		h.disturbed = &disturbance{part: 1}
	}
	return h.disturbed
}

// disturbance returns it for reading; with none, what holds in normal operation.
func (h *home) disturbance() disturbance {
	if h.disturbed == nil {
		return disturbance{part: 1}
	}
	return *h.disturbed
}

// party is a node that uses a key, as the home knows it.
type party struct {
	node        NodeID
	incarnation uint32
	stable      uint8   // reports since its demand last rose by half
	live        bool    // it holds a lease
	silent      bool    // its lease ended without a last report
	recalled    bool    // asked to report in this period
	born        uint32  // of report.Born, enough to tell one from another
	demand      float32 // tokens/s, or slots
	seq         int64
	count       int64         // its counter, charged up to here
	tokens      float64       // leased at the last report; what it may have used when silent
	rate        float64       // leased, tokens/s or slots; of a silent party, what it was
	at          time.Duration // of the last report
}

// side is what a home knows of the mesh when it judges a report.
type side struct {
	share   float64 // in force
	rising  bool    // a better share is seen but not yet in force
	known   int
	settled bool // no home has ended lately without handing over,
	steady  bool // nor otherwise
	doubt   bool // nodes have vanished just now, and more may be about to: a crash and a split begin alike
	acting  bool // another node is first, but somebody cannot reach it
	period  time.Duration
	peers   map[NodeID]*peer
	audit   *audit
}

// gone reports whether a node has left or vanished.
func (s *side) gone(id NodeID) bool {
	p := s.peers[id]
	return p == nil || !p.live()
}

// newHome starts a key's home. Where another node may just have been it and cannot
// tell, the pool starts empty, and only what its leases show is taken over for now.
// Slots in use are not handed over: their holders tell.
func newHome(now time.Duration, l *Limit, claim float64, s *side) *home {
	h := fullHome(now, l)
	if claim > 0 || s.acting || !s.settled || l.Slots > 0 && !s.steady {
		h.disturb().coldUntil, h.pool.tokens = now+leaseTTL, 0
	}
	if l.durable() {
		h.disturb().blank, h.pool.tokens = true, 0
	}
	return h
}

// fullHome returns a home of which nobody has taken anything.
func fullHome(now time.Duration, l *Limit) *home {
	h := &home{limit: l, seen: now, pool: bucket{l.Burst, now}, ideal: bucket{l.Burst, now}}
	h.parties = h.one[:0]
	return h
}

// find returns the party of a node, making it if need be.
func (h *home) find(node NodeID) (p *party, fresh bool) {
	i, ok := slices.BinarySearchFunc(h.parties, node, func(p party, n NodeID) int { return cmp.Compare(p.node, n) })
	if !ok {
		h.parties = slices.Insert(h.parties, i, party{node: node})
	}
	return &h.parties[i], !ok
}

// budget is the rate that this home may hand out now.
func (h *home) budget(s *side) float64 {
	l := h.limit
	whole, phi := l.Rate, l.Isolated
	if l.Slots > 0 {
		whole = float64(l.Slots)
	}
	d := h.disturbance()
	r := whole
	if !l.Open {
		r = min(whole, whole*factor(s.share, phi)+d.bonus)
	}
	if s.acting || s.doubt && d.claims > 0 && !l.Open {
		r = min(r, h.kept(whole, s))
	}
	switch { // what the silent who have not vanished may still use
	case h.silent > 1: // several at once look like a partition, whichever of them has vanished so far
		r = min(r, whole-d.silentRates)
	case h.silent == 1 && l.Slots == 0: // one looks like a crash; its slots went with it
		r -= phi * whole / float64(s.known)
	}
	return r
}

// kept is what a home may hand out that has come to a key while another may still
// hold it: what was granted elsewhere, never more.
func (h *home) kept(whole float64, s *side) float64 {
	phi, here := h.limit.Isolated, float64(h.live)/float64(s.known)
	switch {
	case here > 0.5: // most nodes have come here: the true home, if there is one, has the rest
		return whole * factor(here, phi)
	case h.live < 2 && s.acting: // no other node is live: perhaps this one is cut off
		return phi * whole / float64(s.known)
	default:
		return h.disturbance().claims
	}
}

// advance brings the pool up to now. The leases take more than the budget for a
// moment when it falls.
func (h *home) advance(now time.Duration, budget float64) {
	h.pool.fill(now, budget-h.rates, h.full())
}

// full is the pool's size.
func (h *home) full() float64 { return h.limit.Burst - h.disturbance().aside }

// sweep ends leases that ran out without a last report, counting what they held as
// spent until their holder says otherwise, and forgets those long gone.
func (h *home) sweep(now time.Duration, s *side) {
	for i := range h.parties {
		p := &h.parties[i]
		p.recalled = false
		if p.live && now > p.at+leaseTTL+graceTTL {
			h.advance(now, h.budget(s))
			h.rates -= p.rate
			h.demands -= float64(p.demand)
			p.tokens += p.rate * (leaseTTL + graceTTL).Seconds()
			p.demand, p.live, p.silent = 0, false, true
		}
	}
	h.endSilence(now, s)
	h.parties = slices.DeleteFunc(h.parties, func(p party) bool { return !p.live && now > p.at+forgetParty })
	h.recount()
	if d := h.disturbance(); !d.blank && now >= d.coldUntil && now >= d.handedUntil && h.silent == 0 && d.claims == 0 && d.bonus == 0 && d.aside == 0 && d.part == 1 {
		h.disturbed = nil
	}
}

// endSilence ends the silence of parties that have vanished, for which the share
// stands from then on; but not before it stands for all of them, since a side of a
// split is seen to vanish node by node.
func (h *home) endSilence(now time.Duration, s *side) {
	open := func(p party) bool { return p.silent && !s.gone(p.node) && now <= p.at+silentMost }
	if slices.ContainsFunc(h.parties, open) {
		return
	}
	for i := range h.parties {
		if p := &h.parties[i]; p.silent {
			p.silent, p.rate = false, 0
		}
	}
}

// recount sums up anew, so that rounding never piles up.
func (h *home) recount() {
	h.live, h.silent, h.rates, h.demands = 0, 0, 0, 0
	silentRates := 0.0
	for i := range h.parties {
		switch p := &h.parties[i]; {
		case p.live:
			h.live++
			h.rates += p.rate
			h.demands += float64(p.demand)
		case p.silent:
			h.silent++
			silentRates += p.rate
		}
	}
	if silentRates != h.disturbance().silentRates {
		h.disturb().silentRates = silentRates
	}
}

// debtMost bounds what the pool may owe.
func (h *home) debtMost(budget float64) float64 {
	return debtSpan*max(budget, 0) + h.limit.Burst*(1+coldBurst)
}

// report processes what a node says and answers it. answer is false for what is
// late or repeated. recall names a node that should report at once, so that
// another gets its share; 0 is nobody.
func (h *home) report(now time.Duration, from NodeID, incarnation uint32, r *report, s *side) (g grant, recall NodeID, answer bool) {
	if now/s.period != h.seen/s.period {
		h.sweep(now, s)
	}
	h.seen = now
	if h.disturbed != nil && !s.rising {
		h.disturbed.bonus = 0
	}
	p, fresh := h.find(from)
	born := uint32(r.Born)
	switch {
	case !fresh && (incarnation < p.incarnation || incarnation == p.incarnation && r.Seq <= p.seq):
		return g, 0, false
	case fresh || incarnation > p.incarnation || r.Born != 0 && born != p.born:
		// The node or its entry is new: what one before it held is spent, and
		// the counter starts where it says.
		*p = party{node: from, incarnation: incarnation, count: r.Base, born: born, at: now}
		h.recount()
	}
	if (s.acting || s.doubt) && r.Claim > 0 && !p.live {
		h.disturb().claims += r.Claim
	} else if !s.acting && !s.doubt && h.disturbed != nil {
		h.disturbed.claims = 0
	}
	budget := h.budget(s)
	h.advance(now, budget)
	if h.limit.durable() {
		h.divide(s)
	}
	if r.Claim > 0 { // a lease of the former home goes on here
		h.adopt(now, p, r)
		if s.rising {
			h.disturb().bonus += r.Claim
			budget = h.budget(s)
		}
	}
	if h.limit.Slots > 0 {
		return h.reportSlots(now, p, r, s)
	}
	keep := h.settle(now, p, r, s.audit, budget)
	if r.Release {
		p.live, p.demand, p.rate, p.tokens = false, 0, 0, 0
		h.recount()
		return grant{Key: r.Key, Seq: r.Seq, Count: r.Count, Released: true}, 0, true
	}
	g, short := h.lease(now, p, r, s, budget, keep)
	if short {
		recall = h.overfed(now, p, budget)
	}
	return g, recall, true
}

// adopt takes over a lease that a former home gave. That home, or its time, has
// paid for what was admitted under it.
func (h *home) adopt(now time.Duration, p *party, r *report) {
	p.count = max(p.count, r.Count)
	p.tokens, p.rate, p.at, p.live, p.silent = 0, r.Claim, now, true, false
	h.recount()
}

// settle charges what the node admitted against what it held; the rest comes
// back. It returns how much that is.
func (h *home) settle(now time.Duration, p *party, r *report, a *audit, budget float64) (back float64) {
	out := p.tokens
	if p.live {
		out += p.rate * (now - p.at).Seconds()
	}
	used := max(r.Count-max(p.count, r.Base), 0) // a former home charged everything up to Base
	a.heard(now, h, p, used)
	h.charged += used
	back = out - float64(used)
	h.pool.tokens = max(min(h.pool.tokens+back, h.full()), -h.debtMost(budget))
	if r.Demand > 1.5*float64(p.demand) {
		p.stable = 0
	} else {
		p.stable = min(p.stable+1, 100)
	}
	p.seq, p.count, p.demand, p.at = r.Seq, r.Count, float32(r.Demand), now
	p.tokens, p.rate, p.live, p.silent, p.recalled = 0, 0, true, false, false
	h.recount()
	return max(0, back)
}

// overfed is the holder furthest above its share, asked once in a period. Its
// lease counts until it answers.
func (h *home) overfed(now time.Duration, starving *party, budget float64) NodeID {
	if h.demands <= 0 {
		return 0
	}
	var most *party
	over := 0.25 * float64(starving.demand) / h.demands * budget * (1 - unleased)
	for i := range h.parties {
		p := &h.parties[i]
		excess := p.rate - budget*float64(p.demand)/h.demands
		if p.live && p != starving && !p.recalled && now-p.at > 5*time.Millisecond && excess > over {
			most, over = p, excess
		}
	}
	if most == nil {
		return 0
	}
	most.recalled = true
	return most.node
}

// rescale follows a change of the limit: what was taken is not forgotten. The
// difference to a larger burst is there at once, a smaller one is left in
// proportion. Leases grow with the next reports.
func (h *home) rescale(now time.Duration, to *Limit, s *side) {
	from := h.limit
	if from.Rate == to.Rate && from.Burst == to.Burst || to.Slots > 0 {
		h.limit = to
		return
	}
	h.advance(now, h.budget(s))
	h.limit = to
	tokens, rate := from.shrink(to)
	grown := max(0, to.Burst-from.Burst)
	h.pool.tokens = h.pool.tokens*tokens + grown*h.disturbance().part
	h.ideal.tokens = h.ideal.tokens*tokens + grown
	for i := range h.parties {
		h.parties[i].tokens *= tokens
		h.parties[i].rate *= rate
	}
	if h.disturbed != nil {
		h.disturbed.claims *= rate
		h.disturbed.bonus *= rate
		h.disturbed.aside = h.disturbed.aside*tokens + grown*(1-h.disturbed.part)
	}
	h.recount()
}
