package quota

import (
	"math"
	"sync"
	"time"
)

// entry is a key as a node uses it: its lease, and what there is to report. There
// may be a hundred thousand, so it is kept small.
type entry struct {
	// First what every request touches, to share cache lines.
	mu    sync.Mutex // guards the rest, but for key
	key   Key
	limit *Limit
	slots *slotLease // for limits of requests in flight, which use no tokens

	answered, gone, queued        bool // ackSeq is an answer's; evicted; in the outbox
	isLeased, saturated, starving bool
	single                        bool // tokens come one by one, without a rate
	asking, releasing             bool // a report is due at once; it gives back
	listed, woken                 bool // on the wheel; in the list of those to be put there

	credit int32   // charged, but given back by requests that another limit refused
	have   bucket  // tokens of the lease; without one, what may be admitted unasked
	rate   float32 // that the lease adds, tokens/s
	size   float32 // that the lease may hold
	ackSeq int64   // of the last report answered; until there is one, the entry's beginning
	count  int64   // admitted since the entry was made
	demand demand
	seen   time.Duration // the last request
	level  float32       // of the home's pool, 0..1, when last told
	unit   int32         // the largest cost of a request since the key woke

	denyUntil time.Duration // the home has said that there is nothing before then
	seq       int64         // of the last report
	home      *peer         // that gave the last lease
	line      *[]*waiter    // those who wait here; nil when nobody does
	acked     int64         // up to where a home has charged count
	releaseBy time.Duration // a release is repeated until answered, at most so long
	spare     float32       // tokens that may be admitted when the lease goes back
	asked     int32         // cost of held requests that the last report asked for
}

// newEntry makes the entry of a key that was not in use.
func newEntry(now time.Duration, k Key, l *Limit, v *view) *entry {
	e := &entry{key: k, limit: l, seen: now, have: bucket{at: now}, seq: sequence(now), ackSeq: sequence(now)}
	e.demand.since = now
	switch {
	case l.Slots > 0:
		e.slots = newSlotLease()
	case l.Local:
		e.have.tokens = l.Burst
	default:
		e.have.tokens, e.level = unasked(l, v.known), 1
	}
	return e
}

// waiters are the requests that wait here.
func (e *entry) waiters() []*waiter {
	if e.line == nil {
		return nil
	}
	return *e.line
}

// join adds w to those who wait here.
func (e *entry) join(w *waiter) {
	if e.line == nil {
		e.line = new([]*waiter)
	}
	*e.line = append(*e.line, w)
}

// sent is when the last report was.
func (e *entry) sent() time.Duration { return sentAt(e.seq) }

// leaseEnds is when the lease ends by itself: it counts from the sending of the
// report that it answers.
func (e *entry) leaseEnds() time.Duration { return sentAt(e.ackSeq) + leaseTTL }

// unasked is what a node may admit of a key before its home has answered: its
// part of a burst, in the hope that the pool is full. Where requests can wait for
// the home instead, nothing is given away of a limit too small to be split, or so
// slow that a wrong guess would not be made good for long.
func unasked(l *Limit, nodes int) float64 {
	u := coldBurst * l.Burst / float64(nodes)
	slow := l.Burst > slowRefill*l.Rate
	switch {
	case l.Hold != 0 && (u < 1 || slow):
		return 0
	case slow:
		return 1
	default:
		return max(u, 1)
	}
}

// fill brings the bucket up to now, and ends a lease that is over.
func (e *entry) fill(now time.Duration, v *view) {
	l := e.limit
	if e.isLeased && now > e.leaseEnds() {
		e.have.fill(e.leaseEnds(), float64(e.rate), float64(e.size))
		e.isLeased = false
		e.have = bucket{min(float64(e.spare), 0), now}
	}
	switch {
	case l.Slots > 0:
	case l.Local || l.Open && !e.isLeased:
		e.have.fill(now, l.Rate, l.Burst)
	case e.isLeased:
		e.have.fill(now, float64(e.rate), float64(e.size))
	default:
		size := unasked(l, v.known)
		if v.held(now) < 1 || e.cut(now) {
			size = max(size, 1) // of what trickles in, at least that much can be saved up
		}
		e.have.fill(now, l.Isolated*l.Rate/float64(v.known), size)
	}
}

// available reports whether cost could be taken now. The entry is filled.
func (e *entry) available(now time.Duration, cost int64, v *view) bool {
	switch {
	case e.slots != nil:
		return e.slots.available(e, now, cost, v)
	case int64(e.credit) >= cost:
		return true
	case e.isLeased || e.limit.Local:
		return e.have.has(float64(cost))
	default:
		return now >= e.denyUntil && e.have.has(float64(cost))
	}
}

// spend takes cost, which is available.
func (e *entry) spend(cost int64) {
	switch {
	case e.slots != nil:
		e.slots.take(cost)
	case int64(e.credit) >= cost:
		e.credit -= int32(cost)
	default:
		e.have.tokens -= float64(cost)
		e.count += cost
	}
}

// refund gives cost back for the next request here: it is charged already.
func (e *entry) refund(cost int64) {
	if e.slots != nil {
		e.slots.used = max(e.slots.used-cost, 0)
		return
	}
	e.credit = clamp32(min(int64(e.credit)+cost, int64(e.limit.Burst)))
}

// low reports whether so little is left that the home should hear of it.
func (e *entry) low(v *view) bool {
	switch {
	case e.limit.Local:
		return false
	case !e.isLeased:
		return !e.ample(v)
	case e.slots != nil:
		return e.slots.low(e)
	default:
		return e.have.tokens < float64(e.size)/4
	}
}

// rare reports whether the key, which is not leased, is used now and then, so that
// the home need only be told: of one request, some time after what it was told before.
func (e *entry) rare(now time.Duration, v *view) bool {
	untold := e.count - e.acked
	return untold > 0 && untold <= int64(e.unit) && now-e.seen >= soonAgain && (e.fresh() || now-e.sent() >= (idleTicks-1)*v.period) && e.ample(v)
}

// negligible reports whether cost is too little to tell the home of: as much has come
// back to this node's part of the limit long before the home could use the news.
func (e *entry) negligible(now time.Duration, cost int64, v *view) bool {
	back := negligible * e.limit.Rate / float64(v.known) * (now - e.seen).Seconds()
	return float64(cost) <= back && !e.limit.durable() && e.settled() && e.ample(v)
}

// settled reports whether the key holds nothing and the home has heard all there is.
func (e *entry) settled() bool {
	return !e.isLeased && e.slots == nil && e.demand.arrived == 0 && e.count == e.acked && e.seq == e.ackSeq
}

// ample reports whether there is so much without a lease that a request now and then
// needs none.
func (e *entry) ample(v *view) bool {
	part := unasked(e.limit, v.known)
	return e.slots == nil && part >= fewUnasked && e.have.tokens >= part*3/4 && e.level > 0.5
}

// holds reports whether a refused request should wait for the home, which may well
// have a token that this node has not asked for yet.
func (e *entry) holds(now time.Duration) bool {
	return e.limit.Hold != 0 && !e.limit.Local && now >= e.denyUntil && len(e.waiters()) < e.room() &&
		(!e.isLeased || e.single || !e.saturated)
}

// room is how many requests may wait: more than a few only where the home most
// likely has enough for them.
func (e *entry) room() int {
	return int(min(max(keyWaiters, e.remaining()), crowdWaiters))
}

// ask requests an urgent report, if it is not too early for another.
func (e *entry) ask(now, period time.Duration) {
	gap := minGap
	if e.saturated && e.isLeased && !e.demand.jumped(now) {
		gap = period
	}
	if (now-e.sent() >= gap || e.fresh()) && now >= e.denyUntil {
		e.asking = true
	}
}

// fresh reports whether nothing has been reported yet.
func (e *entry) fresh() bool { return !e.answered && e.seq == e.ackSeq }

// askForWaiters asks again where the question under way does not cover those who
// came since.
func (e *entry) askForWaiters(now time.Duration) {
	if !e.saturated && now >= e.denyUntil && e.waiting() > int64(e.asked) {
		e.asking, e.starving = true, true
	}
}

// waiting is what held requests would take.
func (e *entry) waiting() (cost int64) {
	for _, w := range e.waiters() {
		cost += w.costAt(e.key)
	}
	return cost
}

// report makes the next report to home. A release gives everything back with it.
func (e *entry) report(now time.Duration, home *peer) report {
	e.demand.estimate(now)
	next := max(e.seq+1, sequence(now))
	if e.answered && !e.isLeased && e.seq == e.ackSeq {
		e.ackSeq = next - 1 // nothing was asked since: the silence begins now
	}
	e.seq = next
	waiting := e.waiting()
	r := report{
		Key: e.key, Limit: e.limit.id(), Seq: e.seq, Count: e.count, Base: e.acked,
		Demand: float64(e.demand.rate), Want: max(waiting, int64(e.unit), 1), Starving: e.starving, Release: e.releasing,
	}
	if !e.answered {
		r.Born = e.ackSeq
	}
	if e.slots != nil {
		e.slots.report(&r, e)
	}
	if e.home != nil && e.home != home && now < e.leaseEnds()+doubtFor {
		r.Claim = float64(e.rate) // ended or not: that home holds it back for this node
	}
	if e.releasing {
		if e.isLeased {
			e.releaseBy = now + leaseTTL
			e.ackSeq = e.seq - 1 // an answer under way must not bring back what is given back
			e.have = bucket{float64(e.spare), now}
		}
		e.isLeased, e.rate, e.unit = false, 0, 0
		e.demand.rate, r.Demand = 0, 0
	}
	e.asked = clamp32(waiting)
	e.starving, e.asking, e.releasing = false, false, false
	return r
}

// grant processes the home's answer to a report, and reports whether it was news.
func (e *entry) grant(now time.Duration, home *peer, g grant, v *view) bool {
	if g.Seq <= e.ackSeq || g.Seq > e.seq {
		return false // late, repeated, or not an answer to anything said here
	}
	if e.slots == nil {
		if g.Count > e.count || g.Count < e.acked {
			return false
		}
		e.acked = g.Count
	}
	if g.Seq == e.seq {
		e.asked = 0 // who still waits has to ask again
	}
	e.ackSeq, e.answered, e.releaseBy = g.Seq, true, 0
	if g.Released || now > e.leaseEnds() {
		return true
	}
	e.isLeased, e.home = true, home
	e.saturated, e.level = g.Saturated, float32(g.Level)
	e.rate, e.denyUntil = float32(g.Rate), 0
	if e.slots != nil {
		e.slots.grant(&g, e)
		return true
	}
	since := max(0, now-sentAt(g.Seq)).Seconds()
	e.have = bucket{g.Tokens + g.Rate*since - float64(e.count-g.Count), now}
	e.single = g.Rate == 0
	e.size = float32(max(g.Tokens, float64(e.unit)) + g.Rate*2*v.period.Seconds())
	e.spare = float32(math.Floor(unasked(e.limit, v.known)*g.Level + epsilon))
	if g.Deny > 0 {
		e.denyUntil = now + g.Deny
	}
	return true
}

// visit decides, once in a period, whether there is anything to report, and
// returns when to look again; 0 is not before the next request.
func (e *entry) visit(now time.Duration, v *view) time.Duration {
	e.fill(now, v)
	period := v.period
	idle := now-e.seen >= idleTicks*period && (e.slots == nil || e.slots.used == 0)
	quiet := e.demand.arrived == 0
	if !e.isLeased {
		switch {
		case quiet && now < e.releaseBy:
			e.asking, e.releasing = true, true
		case e.rare(now, v):
			e.asking, e.releasing = true, true
			return 0
		case !quiet || e.count > e.acked || e.slots != nil && e.slots.used > 0:
			e.asking = now >= e.denyUntil
			if idle && now-e.seen > leaseTTL { // nobody answers and nobody asks
				if now-e.seen > forgetKey {
					return 0
				}
				return 10 * period
			}
		default:
			e.demand.rate = 0
			if e.line == nil {
				return 0
			}
		}
		return period
	}
	age := now - sentAt(e.ackSeq)
	old := age > leaseTTL*6/10
	t := float32(period.Seconds())
	rich := e.level > 0.5
	little := e.rate*t < 1 && e.have.tokens < 2 || rich && e.demand.rate*t <= 1
	if e.slots != nil {
		little = e.slots.peak == e.slots.used && e.slots.refused == 0
	}
	switch {
	case idle && e.line == nil:
		e.asking, e.releasing = true, true
	case quiet && !old && little:
		// Nothing happened and little is held: wait for the release.
	case old:
		e.asking = true
	case e.slots == nil && e.demand.rate*2 < e.rate && e.have.tokens > float64(e.size)/2 && age < slowAfter:
		// It has plenty. Should that change, a request will say so.
	default:
		e.asking = now >= e.denyUntil
		if age > 3*period && e.seq > e.ackSeq { // datagrams get lost
			return period / 2
		}
	}
	return period
}

// rescale follows a change of the limit, as its home does.
func (e *entry) rescale(to *Limit) {
	from := e.limit
	e.limit = to
	e.asking = !to.Local
	if from.Rate == to.Rate && from.Burst == to.Burst || to.Slots > 0 {
		return
	}
	tokens, rate := from.shrink(to)
	e.have.tokens *= tokens
	if to.Local {
		e.have.tokens += max(0, to.Burst-from.Burst)
	}
	e.spare *= float32(tokens)
	e.size *= float32(tokens)
	e.rate *= float32(rate)
	e.denyUntil = 0
}

// weight says how much would be lost with the entry, and whether it may go at
// all: one that is in use, holds a lease or requests, or has something to report
// that a home may still hear, stays.
func (e *entry) weight(now time.Duration, v *view) (float64, bool) {
	if e.gone || now-e.seen < idleTicks*v.period || e.line != nil || e.queued || e.woken ||
		e.slots != nil && e.slots.used > 0 {
		return 0, false
	}
	e.fill(now, v)
	if e.limit.Local {
		if e.slots != nil {
			return 0, true
		}
		return 1 - e.have.tokens/e.limit.Burst, true
	}
	w := float64(e.count - e.acked)
	if e.isLeased || now < e.releaseBy {
		w++
	}
	return w, true
}

// cut reports whether the home has not answered for so long that it looks as if
// this node were cut off.
func (e *entry) cut(now time.Duration) bool {
	return !e.isLeased && e.seq > e.ackSeq && now > e.leaseEnds()
}

// clamp32 holds an amount to what an int32 can carry.
func clamp32(n int64) int32 { return int32(min(n, math.MaxInt32)) }
