package upstream

import (
	"slices"

	"github.com/meshgw/meshgw/failover"
)

// Rank is what a waiting request is ordered by.
type Rank struct {
	Priority failover.Priority
	Tenant   string // empty if none is known
}

// Ranked is what can wait in a queue. Its rank is only asked for if it has to wait.
type Ranked interface{ Rank() Rank }

// Rank implements Ranked.
func (p Rank) Rank() Rank { return p }

// waiter is one request in the queue.
type waiter struct {
	rank Rank
	turn chan error // receives once: nil with a slot, or why there is none
}

// flow is the waiting requests of one tenant, oldest first.
type flow struct {
	tenant  string
	waiters []*waiter
}

// queue is a fair queue for the slots of an endpoint: strict priority between
// classes, round robin between the tenants of a class, so that a tenant that sends
// much only delays itself.
type queue struct {
	classes [failover.Low + 1][]*flow // by priority; the flow whose turn it is first
	length  int
}

func (q *queue) push(w *waiter) {
	q.length++
	class := &q.classes[w.rank.Priority]
	for _, f := range *class {
		if f.tenant == w.rank.Tenant {
			f.waiters = append(f.waiters, w)
			return
		}
	}
	*class = append(*class, &flow{tenant: w.rank.Tenant, waiters: []*waiter{w}})
}

// pop removes and returns the next in turn, nil if the queue is empty.
func (q *queue) pop() *waiter {
	for i := range q.classes {
		class := q.classes[i]
		if len(class) == 0 {
			continue
		}
		f := class[0]
		w := f.waiters[0]
		q.length--
		f.waiters = f.waiters[1:]
		q.classes[i] = class[1:]
		if len(f.waiters) > 0 {
			q.classes[i] = append(q.classes[i], f)
		}
		return w
	}
	return nil
}

// remove removes w and reports whether it was in the queue.
func (q *queue) remove(w *waiter) bool {
	class := &q.classes[w.rank.Priority]
	for i, f := range *class {
		at := slices.Index(f.waiters, w)
		if at < 0 {
			continue
		}
		q.length--
		f.waiters = slices.Delete(f.waiters, at, at+1)
		if len(f.waiters) == 0 {
			*class = slices.Delete(*class, i, i+1)
		}
		return true
	}
	return false
}

// displace removes and returns the waiter that has to yield to a newcomer of rank p
// when the queue is full: the newest of the longest flow of the lowest class, if that
// class is lower than p's, or it is the same and the flow is longer by more than one
// than that of p's tenant. It returns nil if there is none.
func (q *queue) displace(p Rank) *waiter {
	for i := len(q.classes) - 1; i >= int(p.Priority); i-- {
		var longest *flow
		own := 0
		for _, f := range q.classes[i] {
			if longest == nil || len(f.waiters) > len(longest.waiters) {
				longest = f
			}
			if f.tenant == p.Tenant {
				own = len(f.waiters)
			}
		}
		if longest == nil {
			continue
		}
		if i == int(p.Priority) && len(longest.waiters) <= own+1 {
			return nil
		}
		w := longest.waiters[len(longest.waiters)-1]
		q.remove(w)
		return w
	}
	return nil
}
