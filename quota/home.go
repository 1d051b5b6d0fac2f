package quota

import (
	"cmp"
	"slices"
	"time"
)

// home is a key at its home: the one bucket, and who holds leases on it. It
// belongs to the control loop.
type home struct {
	limit *Limit

	pool    bucket  // of tokens; limits of requests in flight have none
	rates   float64 // sum of the rates of live leases
	demands float64 // sum of the demands of live parties
	claims  float64 // rates taken over while the true home is believed alive
	bonus   float64 // rates taken over from the other side of a healing partition
	parties []party // by node

	live, silent int
	silentRates  float64

	coldUntil time.Duration // leases of a former home may still run
	sweepAt   time.Duration
	recallAt  time.Duration
	seen      time.Duration // the last report

	charged int64   // by this home, in all; grows only
	part    float64 // of the burst that is this side's; durable limits only
	aside   float64 // of the pool: for the other sides
}

// party is a node that uses a key, as the home knows it.
type party struct {
	node        NodeID
	incarnation uint32
	stable      uint8 // reports since its demand last rose by half
	live        bool  // it holds a lease
	silent      bool  // its lease ended without a word
	seq, born   int64
	count       int64 // its counter, charged up to here
	demand      float64
	tokens      float64 // leased at the last report; what it may have used when silent
	rate        float64 // leased, tokens/s or slots; of a silent party, what it was
	at          time.Duration
}

// side is what a home knows of the mesh when it judges a report.
type side struct {
	share   float64 // in force
	rising  bool    // a better share is seen but not yet in force
	known   int
	settled bool
	acting  bool // another node is first, but somebody cannot reach it
	gone    func(NodeID) bool
	period  time.Duration
}

// newHome starts a key's home. Where another node may just have been it, the pool
// starts empty, and only what its leases show is taken over for now.
func newHome(now time.Duration, l *Limit, claim float64, s *side) *home {
	h := &home{limit: l, sweepAt: now, recallAt: now - time.Second, pool: bucket{l.Burst, now}}
	if claim > 0 || !s.settled {
		h.coldUntil, h.pool.tokens = now+leaseTTL, 0
	}
	return h
}

// find gives the party of a node, making it if need be.
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
	r := whole
	if !l.Open {
		r = min(whole, whole*factor(s.share, phi)+h.bonus)
	}
	if s.acting { // keep what was granted elsewhere, never more
		r = min(r, h.claims)
		if h.live < 2 { // nobody else to be seen: perhaps this node is the lonely one
			r = min(r, phi*whole/float64(s.known))
		}
	}
	switch { // what the silent who have not vanished may still use
	case h.silent > 1: // several at once look like a partition
		r -= h.silentRates
	case h.silent == 1 && l.Slots == 0: // one looks like a crash; its slots went with it
		r -= phi * whole / float64(s.known)
	}
	return r
}

// advance brings the pool up to now. The leases take more than the budget for a
// moment when it falls.
func (h *home) advance(now time.Duration, budget float64) {
	h.pool.fill(now, budget-h.rates, h.limit.Burst-h.aside)
}

// sweep ends leases that ran out without a word, counting what they held as
// spent until their holder says otherwise, and forgets those long gone.
func (h *home) sweep(now time.Duration, s *side) {
	if now < h.sweepAt {
		return
	}
	h.sweepAt = now + s.period
	for i := range h.parties {
		p := &h.parties[i]
		if p.live && now > p.at+leaseTTL+graceTTL {
			h.advance(now, h.budget(s))
			h.rates -= p.rate
			h.demands -= p.demand
			p.tokens += p.rate * (leaseTTL + graceTTL).Seconds()
			p.demand, p.live, p.silent = 0, false, true
		}
		if p.silent && (s.gone(p.node) || now > p.at+silentMost) {
			p.silent, p.rate = false, 0 // from now on the share covers it
		}
	}
	h.parties = slices.DeleteFunc(h.parties, func(p party) bool { return !p.live && now > p.at+forgetParty })
	h.recount()
}

// recount sums up anew, so that rounding never piles up.
func (h *home) recount() {
	h.live, h.silent, h.rates, h.demands, h.silentRates = 0, 0, 0, 0, 0
	for i := range h.parties {
		switch p := &h.parties[i]; {
		case p.live:
			h.live++
			h.rates += p.rate
			h.demands += p.demand
		case p.silent:
			h.silent++
			h.silentRates += p.rate
		}
	}
}

// debtMost bounds what the pool may owe.
func (h *home) debtMost(budget float64) float64 {
	return debtSpan*max(budget, 0) + h.limit.Burst*(1+coldBurst)
}

// report takes in what a node says and answers it. answer is false for what is
// late or repeated. recall names a node that should report at once, so that
// another gets its share; 0 is nobody.
func (h *home) report(now time.Duration, from NodeID, incarnation uint32, r *report, s *side) (g grant, recall NodeID, answer bool) {
	h.seen = now
	if !s.rising {
		h.bonus = 0
	}
	h.sweep(now, s)
	p, fresh := h.find(from)
	switch {
	case fresh:
		*p = party{node: from, incarnation: incarnation, count: r.Base, born: r.Born, at: now}
	case incarnation < p.incarnation || incarnation == p.incarnation && r.Seq <= p.seq:
		return g, 0, false
	case incarnation > p.incarnation || r.Born != 0 && r.Born != p.born:
		// The node or its entry began anew: what it held is spent, and its
		// counter starts where it says.
		*p = party{node: from, incarnation: incarnation, count: r.Base, born: r.Born, at: now}
		h.recount()
	}
	if s.acting && r.Claim > 0 && !p.live {
		h.claims += r.Claim
	} else if !s.acting {
		h.claims = 0
	}
	budget := h.budget(s)
	h.advance(now, budget)
	if h.limit.durable() {
		h.divide(s)
	}
	if r.Claim > 0 { // a lease of the former home goes on here
		h.adopt(now, p, r.Claim)
		if s.rising {
			h.bonus += r.Claim
			budget = h.budget(s)
		}
	}
	if h.limit.Slots > 0 {
		return h.reportSlots(now, p, r, s)
	}
	keep := h.settle(now, p, r, budget)
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

// adopt takes over a lease that a former home gave.
func (h *home) adopt(now time.Duration, p *party, rate float64) {
	p.tokens, p.rate, p.at, p.live, p.silent = 0, rate, now, true, false
	h.recount()
}

// settle charges what the node admitted against what it held; the rest comes
// back. It returns how much that is.
func (h *home) settle(now time.Duration, p *party, r *report, budget float64) (back float64) {
	out := p.tokens
	if p.live {
		out += p.rate * (now - p.at).Seconds()
	}
	used := max(r.Count-max(p.count, r.Base), 0) // a former home charged everything up to Base
	h.charged += used
	back = out - float64(used)
	h.pool.tokens = max(min(h.pool.tokens+back, h.limit.Burst-h.aside), -h.debtMost(budget))
	if r.Demand > 1.5*p.demand {
		p.stable = 0
	} else {
		p.stable = min(p.stable+1, 100)
	}
	if p.live {
		h.rates -= p.rate
		h.demands -= p.demand
	} else {
		h.live++
	}
	if p.silent {
		h.silent--
		h.silentRates -= p.rate
	}
	h.demands += r.Demand
	p.seq, p.count, p.demand, p.at = r.Seq, r.Count, r.Demand, now
	p.tokens, p.rate, p.live, p.silent = 0, 0, true, false
	return max(0, back)
}

// overfed is the holder furthest above its share, asked at most once a minGap.
// Its lease counts until it answers.
func (h *home) overfed(now time.Duration, starving *party, budget float64) (node NodeID) {
	if now-h.recallAt <= minGap || h.demands <= 0 {
		return 0
	}
	h.recallAt = now
	over := 0.25 * starving.demand / h.demands * budget * (1 - unleased)
	for i := range h.parties {
		p := &h.parties[i]
		excess := p.rate - budget*p.demand/h.demands
		if p.live && p != starving && now-p.at > 5*time.Millisecond && excess > over {
			node, over = p.node, excess
		}
	}
	return node
}

// rescale follows a change of the limit: what was taken is scaled, not forgotten.
func (h *home) rescale(now time.Duration, to *Limit, s *side) {
	from := h.limit
	if from.Rate == to.Rate && from.Burst == to.Burst || to.Slots > 0 {
		h.limit = to
		return
	}
	h.advance(now, h.budget(s))
	h.limit = to
	h.pool.tokens *= to.Burst / from.Burst
	if from.Rate > 0 {
		for i := range h.parties {
			h.parties[i].tokens *= to.Burst / from.Burst
			h.parties[i].rate *= to.Rate / from.Rate
		}
		h.claims *= to.Rate / from.Rate
		h.bonus *= to.Rate / from.Rate
		h.recount()
	}
}
