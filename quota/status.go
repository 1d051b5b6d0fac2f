package quota

import (
	"iter"
	"time"
)

// KeyStatus is a key as this node uses it.
type KeyStatus struct {
	Key      Key
	Limit    *Limit
	Home     NodeID  // that gave the last lease; 0 = none has
	Leased   bool    // else the node admits only what it may unasked
	Rate     float64 // leased, tokens/s or slots
	Demand   float64 // asked for here, tokens/s
	Admitted int64   // tokens since the key came into use; slots in flight
	Waiting  int     // requests held
	Mode     string  // normal, waiting, partitioned or isolated
}

// Keys yields the keys in use at this node. Each is a snapshot of its own. The
// engine must not be called from the loop.
func (e *Engine) Keys(now time.Duration) iter.Seq[KeyStatus] {
	now -= e.epoch
	return func(yield func(KeyStatus) bool) {
		v := e.view.Load()
		for i := range e.table.shards {
			for _, en := range e.table.shards[i].entries() {
				if !yield(en.status(now, v)) {
					return
				}
			}
		}
	}
}

func (e *entry) status(now time.Duration, v *view) KeyStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fill(now, v)
	s := KeyStatus{
		Key: e.key, Limit: e.limit, Leased: e.isLeased, Rate: float64(e.rate), Demand: float64(e.demand.rate),
		Admitted: e.count, Waiting: len(e.waiters()), Mode: "normal",
	}
	if e.home != nil {
		s.Home = e.home.id
	}
	if e.slots != nil {
		s.Admitted = e.slots.used
	}
	switch {
	case e.limit.Local:
	case v.held(now) < 0.5 || e.cut(now):
		s.Mode = "isolated"
	case v.held(now) < 1:
		s.Mode = "partitioned"
	case s.Waiting > 0:
		s.Mode = "waiting"
	}
	return s
}

// HomeStatus is a key as its home knows it.
type HomeStatus struct {
	Key     Key
	Limit   *Limit
	Pool    float64 // tokens not leased; less than 0 is debt
	Charged int64   // tokens, since this node is the home
	Users   []UserStatus
}

// UserStatus is a node that uses a key, as the key's home knows it.
type UserStatus struct {
	Node   NodeID
	Demand float64       // tokens/s, or slots wanted
	Rate   float64       // leased, tokens/s or slots
	Age    time.Duration // of its last report
	Silent bool          // its lease ended without a last report
}

// Homes yields the keys whose home this node is. The engine must not be called
// from the loop.
func (e *Engine) Homes(now time.Duration) iter.Seq[HomeStatus] {
	now -= e.epoch
	return func(yield func(HomeStatus) bool) {
		e.loop.Lock()
		defer e.loop.Unlock()
		for k, h := range e.homes {
			s := HomeStatus{Key: k, Limit: h.limit, Pool: h.pool.tokens, Charged: h.charged}
			for i := range h.parties {
				p := &h.parties[i]
				s.Users = append(s.Users, UserStatus{p.node, float64(p.demand), p.rate, now - p.at, p.silent})
			}
			if !yield(s) {
				return
			}
		}
	}
}
