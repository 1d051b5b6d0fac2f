package dataplane

import (
	"slices"

	"github.com/meshgw/meshgw/failover"
)

// place is by what a waiting request is ranked.
type place struct {
	priority failover.Priority
	tenant   string // empty: nobody's that is known
}

// placed is what can stand in line; its place is asked for only where there is
// one.
type placed interface{ place() place }

func (p place) place() place { return p }

// waiter is one request in line.
type waiter struct {
	at   place
	turn chan error // gets one: nil with a slot, or why there is none
}

// flow is the requests of one tenant, the oldest first.
type flow struct {
	tenant  string
	waiters []*waiter
}

// queue is the line for the slots of an endpoint. Higher classes come first; the
// tenants of a class take turns, so that whoever sends much waits for itself.
type queue struct {
	classes [failover.Low + 1][]*flow // whose turn it is first
	length  int
}

func (q *queue) push(w *waiter) {
	q.length++
	class := &q.classes[w.at.priority]
	for _, f := range *class {
		if f.tenant == w.at.tenant {
			f.waiters = append(f.waiters, w)
			return
		}
	}
	*class = append(*class, &flow{tenant: w.at.tenant, waiters: []*waiter{w}})
}

// pop takes the next in turn out of the line, nil when nobody waits.
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

// remove takes w out of the line and reports whether it was in it.
func (q *queue) remove(w *waiter) bool {
	class := &q.classes[w.at.priority]
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

// displace takes out of a full line who has less right to wait than a newcomer at
// p: the newest of the longest flow of the lowest class, if that class is lower
// than p's, or it is the same and the flow is more than one longer than that of
// p's tenant. It returns nil where nobody has.
func (q *queue) displace(p place) *waiter {
	for i := len(q.classes) - 1; i >= int(p.priority); i-- {
		var longest *flow
		own := 0
		for _, f := range q.classes[i] {
			if longest == nil || len(f.waiters) > len(longest.waiters) {
				longest = f
			}
			if f.tenant == p.tenant {
				own = len(f.waiters)
			}
		}
		if longest == nil {
			continue
		}
		if i == int(p.priority) && len(longest.waiters) <= own+1 {
			return nil
		}
		w := longest.waiters[len(longest.waiters)-1]
		q.remove(w)
		return w
	}
	return nil
}
