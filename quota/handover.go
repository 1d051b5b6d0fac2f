package quota

import (
	"math"
	"slices"
	"time"
)

// handover is HANDOVER: what is missing of a key's pool, from the node that was its
// home to the one that is now.
type handover struct {
	Key     Key
	Limit   limitID
	Seq     int64   // that of its repetitions too
	Missing float64 // tokens
}

// legacy is a handover on its way.
type legacy struct {
	to NodeID
	handover
}

// legacies are to be sent again at a time: who is to take them over may not have
// heard of this node yet, and drop them.
type legacies struct {
	at  time.Duration
	all []legacy
}

// handOver sends what this node knows of the keys whose home it was in the last view
// and is no longer, or will not be when it has left. It forgets what it sends. A key
// that is not handed over starts with a full burst.
func (e *Engine) handOver(now time.Duration, last *view) {
	v := e.view.Load()
	var all []legacy
	for k, h := range e.homes {
		to := v.best(k, func(p *peer) bool { return !e.leaving || p != e.self })
		if to == nil || to == e.self || last.first(k) != e.self || len(all) == handoversMost {
			continue
		}
		s := e.side(now, k)
		s.acting = false // until now it was the home by right, and filled the pool as such
		if missing := h.missing(now, &s); missing >= 1 {
			all = append(all, legacy{to.id, handover{k, h.limit.id(), sequence(now), missing}})
			if !e.leaving { // until it has left, some still ask it
				delete(e.homes, k)
			}
		}
	}
	if len(all) == 0 {
		return
	}
	e.outbox.handOver(all)
	for _, after := range []time.Duration{handoverAgain, handoverLast} {
		e.again = append(e.again, legacies{now + after, all})
	}
	slices.SortStableFunc(e.again, func(a, b legacies) int { return int(a.at - b.at) })
}

// repeat sends again what is due, and returns when to be called the next time, or
// next.
func (e *Engine) repeat(now, next time.Duration) time.Duration {
	for len(e.again) > 0 && e.again[0].at <= now {
		e.outbox.handOver(e.again[0].all)
		e.again = rest(e.again, 1)
	}
	if len(e.again) > 0 {
		next = min(next, e.again[0].at)
	}
	return next
}

// missing is what this home has taken of the pool and not filled up since. A pool
// that started empty, as no other home could tell, says nothing by that.
func (h *home) missing(now time.Duration, s *side) float64 {
	if !h.limit.handedOver() {
		return 0
	}
	h.advance(now, h.budget(s))
	return min(h.full()-h.pool.tokens, float64(h.charged))
}

// handedOver reports whether homes hand the limit's pools over: durable ones have
// their records, and of slots the holders tell.
func (l *Limit) handedOver() bool { return l.Slots == 0 && !l.Local && !l.durable() }

// handed is a handover that was charged.
type handed struct {
	from NodeID
	seq  int64
}

// inherit charges, once, what a former home has. This node may have given out tokens
// before it heard of that, which makes a debt.
func (e *Engine) inherit(now time.Duration, from NodeID, m *handover) {
	l := e.limits[m.Limit]
	if l == nil || !l.handedOver() {
		return
	}
	h := e.homes[m.Key]
	if h == nil {
		if !e.makeRoom(now) {
			return
		}
		h = fullHome(now, l)
		e.homes[m.Key] = h
	}
	d, this := h.disturb(), handed{from, m.Seq}
	if slices.Contains(d.handed, this) {
		return
	}
	d.handed = append(d.handed[max(0, len(d.handed)-handedMost+1):], this)
	d.handedUntil = now + 2*handoverLast
	s := e.side(now, m.Key)
	budget := h.budget(&s)
	h.advance(now, budget)
	missing := min(m.Missing, l.Burst+h.debtMost(budget))
	h.pool.tokens = max(h.pool.tokens-missing, -h.debtMost(budget))
	h.charged += int64(math.Ceil(missing))
}
