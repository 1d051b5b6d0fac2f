package dataplane

import (
	"math/rand/v2"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// shedPause is how long a refusal takes on a node without CPU, where all requests
// of its priority are refused; it takes less as fewer are. Clients that ask again
// as soon as they are answered would else have refusals take the CPU that is
// missing: 512 of them left 2 % of what a node can serve (HAProxy's tarpit).
const shedPause = 500 * time.Millisecond

// SetShedding says which share of the requests of each priority to refuse from
// now on, for want of CPU.
func (s *Server) SetShedding(share failover.Mix) { s.shed.Store(&share) }

// hasCapacity refuses what this node has no room for.
func (s *Server) hasCapacity(x *Exchange) bool {
	switch shed := s.shed.Load(); {
	case s.cfg.MaxInflight > 0 && s.inflight.Load()-s.paused.Load() > int64(s.cfg.MaxInflight):
		return s.turnAway(x, "inflight", "The gateway has too many requests in flight.")
	case shed != nil && shed[x.priority] > 0 && rand.Float64() < shed[x.priority]:
		return s.turnAway(x, "cpu", "The gateway is out of CPU.")
	}
	return true
}

// turnAway refuses x as too much and counts it under reason.
func (s *Server) turnAway(x *Exchange, reason, detail string) bool {
	s.metrics.shed.WithLabelValues(x.priority.String(), reason).Inc()
	return x.fail(refusal{code: Overloaded, detail: detail})
}

// pause lets a client wait for a refusal that has cost no try, while the node sheds.
// A gateway is refused at once: it has others to ask.
func (s *Server) pause(x *Exchange) {
	shed := s.shed.Load()
	if shed == nil || shed[x.priority] == 0 || x.Link || x.target != nil {
		return
	}
	s.paused.Add(1)
	defer s.paused.Add(-1)
	x.presence.await(s.lately())
	defer x.presence.rest()
	timer := time.NewTimer(time.Duration(shed[x.priority] * float64(shedPause)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.presence.left:
	}
}
