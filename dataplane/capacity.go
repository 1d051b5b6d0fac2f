package dataplane

import (
	"math/rand/v2"

	"github.com/meshgw/meshgw/failover"
)

// SetShedding says which share of the requests of each priority to refuse from
// now on, for want of CPU.
func (s *Server) SetShedding(share failover.Mix) { s.shed.Store(&share) }

// hasCapacity refuses what this node has no room for.
func (s *Server) hasCapacity(x *Exchange) bool {
	switch shed := s.shed.Load(); {
	case s.cfg.MaxInflight > 0 && s.inflight.Load() > int64(s.cfg.MaxInflight):
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
