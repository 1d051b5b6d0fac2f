package quota

import "time"

// waiter is a request that waits for the home of one or more of its keys. What
// its other limits allowed is taken already and goes back if it is refused. The
// line guards it.
type waiter struct {
	ticket Ticket
	until  time.Duration
	asks   []Ask
	got    uint32 // bit i: asks[i] is taken
	done   bool
	answer Decision
}

// costAt is what the waiter would take of k.
func (w *waiter) costAt(k Key) (cost int64) {
	for i := range w.asks {
		if w.asks[i].Key == k {
			cost += w.asks[i].cost()
		}
	}
	return cost
}

// take marks what the waiter wants of k as taken.
func (w *waiter) take(k Key) {
	for i := range w.asks {
		if w.asks[i].Key == k {
			w.got |= 1 << i
		}
	}
}

// whole reports whether all is taken.
func (w *waiter) whole() bool { return w.got == 1<<len(w.asks)-1 }

// line holds the waiting requests of a node.
type line struct {
	last    Ticket
	waiting map[Ticket]*waiter
	settled []*waiter
}

// full reports whether nobody more may wait.
func (q *line) full() bool { return len(q.waiting) >= allWaiters }

func (q *line) add(until time.Duration, asks []Ask) *waiter {
	q.last++
	w := &waiter{ticket: q.last, until: until, asks: append([]Ask(nil), asks...)}
	q.waiting[w.ticket] = w
	return w
}

// settle gives w its answer, for the next Poll to hand out.
func (q *line) settle(w *waiter, d Decision) {
	if w.done {
		return
	}
	w.done, w.answer = true, d
	delete(q.waiting, w.ticket)
	q.settled = append(q.settled, w)
}

// expire refuses those whose time is over and returns when the next one's is, or
// never.
func (q *line) expire(now, never time.Duration) time.Duration {
	for _, w := range q.waiting {
		if now >= w.until {
			q.settle(w, Decision{Verdict: Deny, Limit: w.asks[0].Limit, RetryAfter: time.Second})
		} else {
			never = min(never, w.until)
		}
	}
	return never
}
