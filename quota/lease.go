package quota

import (
	"math"
	"sync"
	"time"
)

// entry is a key as a node uses it: its lease, and what there is to report.
type entry struct {
	mu    sync.Mutex // guards the rest, but for key
	key   Key
	limit *Limit
	slots *slotLease // for limits of requests in flight, which use no tokens

	count  int64 // admitted since born
	acked  int64 // up to where a home has charged it
	credit int64 // charged, but given back by requests that another limit refused
	demand demand

	leased  bucket        // tokens of the lease
	rate    float64       // that the lease adds, tokens/s
	size    float64       // that the lease may hold
	leaseAt time.Duration // when the report was sent that the lease answers
	spare   bucket        // what may be admitted without a lease
	level   float32       // of the home's pool, 0..1, when last told

	seen      time.Duration // the last request
	lastAsk   time.Duration // the last urgent report
	sentAt    time.Duration // the last report
	denyUntil time.Duration // the home has said that there is nothing before then
	releaseBy time.Duration // a release is repeated until answered, at most so long

	born, seq, ackSeq int64 // in ticks: an entry's creation, its last report, the last one answered
	home              *peer // that gave the last lease
	waiters           []*waiter
	asked             int64 // cost of held requests that the last report asked for
	unit              int64 // the largest cost of a request since the key woke

	gone, queued                  bool // evicted; in the outbox
	isLeased, saturated, starving bool
	single                        bool // tokens come one by one, without a rate
	asking, releasing             bool // a report is due at once; it gives back
	listed, woken                 bool // on the wheel; in the list of those to be put there
}

// newEntry makes the entry of a key that was not in use.
func newEntry(now time.Duration, k Key, l *Limit, v *view) *entry {
	e := &entry{key: k, limit: l, seen: now, lastAsk: now - time.Second, sentAt: now - time.Second, born: sequence(now)}
	e.leased.at, e.spare.at, e.demand.since = now, now, now
	switch {
	case l.Slots > 0:
		e.slots = &slotLease{}
	case l.Local:
		e.leased.tokens = l.Burst
	default:
		e.spare.tokens = unasked(l, v.known)
		e.level = 1
	}
	return e
}

// unasked is what a node may admit of a key before its home has answered. A
// limit too small to be split has nothing to give away where requests can wait.
func unasked(l *Limit, nodes int) float64 {
	u := coldBurst * l.Burst / float64(nodes)
	if u >= 1 {
		return u
	}
	if l.Hold != 0 {
		return 0
	}
	return 1
}

// fill brings the buckets up to now, and ends a lease that is over.
func (e *entry) fill(now time.Duration, v *view) {
	l := e.limit
	if l.Local {
		e.leased.fill(now, l.Rate, l.Burst)
		return
	}
	end := e.leaseAt + leaseTTL
	if e.slots != nil {
		e.slots.fill(e, now > end)
		return
	}
	if e.isLeased {
		e.leased.fill(min(now, end), e.rate, e.size)
		if now > end {
			e.isLeased = false
			e.spare.tokens, e.spare.at = min(e.spare.tokens, 0), now
		}
		return
	}
	if l.Open {
		e.spare.fill(now, l.Rate, l.Burst)
		return
	}
	e.spare.fill(now, l.Isolated*l.Rate/float64(v.known), max(unasked(l, v.known), 1))
}

// available reports whether cost could be taken now. The entry is filled.
func (e *entry) available(now time.Duration, cost int64, v *view) bool {
	switch {
	case e.slots != nil:
		return e.slots.available(e, cost, v)
	case e.credit >= cost:
		return true
	case e.isLeased || e.limit.Local:
		return e.leased.has(float64(cost))
	default:
		return now >= e.denyUntil && e.spare.has(float64(cost))
	}
}

// spend takes cost, which is available.
func (e *entry) spend(cost int64) {
	if e.slots != nil {
		e.slots.take(cost)
		return
	}
	if e.credit >= cost {
		e.credit -= cost
		return
	}
	if e.isLeased || e.limit.Local {
		e.leased.tokens -= float64(cost)
	} else {
		e.spare.tokens -= float64(cost)
	}
	e.count += cost
}

// refund gives cost back for the next request here: it is charged already.
func (e *entry) refund(cost int64) {
	if e.slots != nil {
		e.slots.used = max(e.slots.used-cost, 0)
		return
	}
	e.credit = min(e.credit+cost, int64(e.limit.Burst))
}

// low reports whether so little is left that the home should hear of it.
func (e *entry) low() bool {
	switch {
	case e.limit.Local:
		return false
	case !e.isLeased:
		return true
	case e.slots != nil:
		return e.slots.low(e)
	default:
		return e.leased.tokens < e.size/4
	}
}

// holds reports whether a refused request had better wait for the home: what is
// scarce is then not the token but the question.
func (e *entry) holds(now time.Duration) bool {
	return e.limit.Hold != 0 && !e.limit.Local && now >= e.denyUntil && len(e.waiters) < keyWaiters &&
		(!e.isLeased || e.single || !e.saturated)
}

// ask asks for an urgent report, if it is not too early for another.
func (e *entry) ask(now, period time.Duration) {
	gap := minGap
	if e.saturated && e.isLeased && !e.demand.jumped(now) {
		gap = period
	}
	if now-e.lastAsk >= gap && now >= e.denyUntil {
		e.lastAsk, e.asking = now, true
	}
}

// askForWaiters asks again where the question under way does not cover those who
// came since.
func (e *entry) askForWaiters(now time.Duration) {
	if !e.saturated && now-e.lastAsk > askGap && e.waiting() > e.asked {
		e.lastAsk, e.asking, e.starving = now, true, true
	}
}

// waiting is what held requests would take.
func (e *entry) waiting() (cost int64) {
	for _, w := range e.waiters {
		cost += w.costAt(e.key)
	}
	return cost
}

// report makes the next report to home. A release gives everything back with it.
func (e *entry) report(now time.Duration, home *peer) report {
	e.demand.estimate(now)
	e.seq = max(e.seq+1, sequence(now))
	waiting := e.waiting()
	r := report{
		Key: e.key, Limit: e.limit.id(), Seq: e.seq, Count: e.count, Base: e.acked,
		Demand: e.demand.rate, Want: max(waiting, e.unit, 1), Starving: e.starving, Release: e.releasing,
	}
	if e.ackSeq == 0 {
		r.Born = e.born
	}
	if e.slots != nil {
		e.slots.report(&r, e)
	}
	if e.isLeased && e.home != home {
		r.Claim = e.rate
	}
	if e.releasing {
		if e.isLeased {
			e.releaseBy = now + leaseTTL
		}
		e.isLeased, e.rate, e.leased.tokens, e.unit = false, 0, 0, 0
		e.demand.rate, r.Demand = 0, 0
	}
	e.asked = waiting
	e.sentAt, e.starving, e.asking, e.releasing = now, false, false, false
	return r
}

// grant takes in the home's answer to a report, and reports whether it was news.
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
	e.ackSeq, e.releaseBy = g.Seq, 0
	sent := sentAt(g.Seq)
	if g.Released || now > sent+leaseTTL {
		return true
	}
	e.isLeased, e.home = true, home
	if e.slots != nil {
		e.slots.grant(&g, e, sent)
		return true
	}
	e.leased = bucket{g.Tokens + g.Rate*max(0, now-sent).Seconds() - float64(e.count-g.Count), now}
	e.rate, e.single, e.leaseAt = g.Rate, g.Rate == 0, sent
	e.size = max(g.Tokens, float64(e.unit)) + g.Rate*2*v.period.Seconds()
	e.spare = bucket{math.Floor(unasked(e.limit, v.known)*g.Level + epsilon), now}
	e.saturated, e.level = g.Saturated, float32(g.Level)
	e.denyUntil = 0
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
			if len(e.waiters) == 0 {
				return 0
			}
		}
		return period
	}
	age := now - e.leaseAt
	old := age > leaseTTL*6/10
	t := period.Seconds()
	rich := e.level > 0.5
	little := e.rate*t < 1 && e.leased.tokens < 2 || rich && e.demand.rate*t <= 1
	if e.slots != nil {
		little = e.slots.peak == e.slots.used && e.slots.refused == 0
	}
	switch {
	case idle && len(e.waiters) == 0:
		e.asking, e.releasing = true, true
	case quiet && !old && little:
		// Nothing happened and little is held: wait for the release.
	case old:
		e.asking = true
	case e.slots == nil && e.demand.rate*2 < e.rate && e.leased.tokens > e.size/2 && age < slowAfter:
		// It has plenty. Should that change, a request will say so.
	default:
		e.asking = now >= e.denyUntil
	}
	return period
}

// rescale follows a change of the limit: what was taken is scaled, not forgotten.
func (e *entry) rescale(to *Limit) {
	from := e.limit
	e.limit = to
	e.asking = !to.Local
	if from.Rate == to.Rate && from.Burst == to.Burst || to.Slots > 0 {
		return
	}
	tokens, rate := to.Burst/from.Burst, 1.0
	if from.Rate > 0 {
		rate = to.Rate / from.Rate
	}
	e.leased.tokens *= tokens
	e.spare.tokens *= tokens
	e.size *= tokens
	e.rate *= rate
	e.denyUntil = 0
}

// weight says how much would be lost with the entry, and whether it may go at
// all: one that is in use, holds a lease or requests, or has something to report
// that a home may still hear, stays.
func (e *entry) weight(now time.Duration, v *view) (float64, bool) {
	if e.gone || now-e.seen < idleTicks*v.period || len(e.waiters) > 0 || e.queued || e.woken ||
		e.slots != nil && e.slots.used > 0 {
		return 0, false
	}
	e.fill(now, v)
	if e.limit.Local {
		if e.slots != nil {
			return 0, true
		}
		return 1 - e.leased.tokens/e.limit.Burst, true
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
	return !e.isLeased && e.seq > e.ackSeq && now > sentAt(max(e.ackSeq, e.born))+leaseTTL
}
