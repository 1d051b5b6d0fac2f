package dataplane

import (
	"math/rand/v2"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// tarpitTime is how long a refusal is delayed on a node without CPU if all
// requests of its priority are refused; proportionally less if fewer are.
// Without a delay, clients that retry at once make refusals take the CPU that
// is missing: 512 of them left 2 % of what a node can serve (see HAProxy's
// tarpit).
const tarpitTime = 500 * time.Millisecond

// SetShedding sets the share of requests of each priority, in [0,1], that is
// refused from now on for want of CPU.
func (s *Server) SetShedding(share failover.Mix) { s.shed.Store(&share) }

// hasCapacity refuses requests for which this node has no capacity.
func (s *Server) hasCapacity(x *Exchange) bool {
	switch shed := s.shed.Load(); {
	case s.cfg.MaxInflight > 0 && s.inflight.Load()-s.tarpitted.Load() > int64(s.cfg.MaxInflight):
		return s.shedRequest(x, "inflight", "The gateway has too many requests in flight.")
	case shed != nil && shed[x.priority] > 0 && rand.Float64() < shed[x.priority]:
		return s.shedRequest(x, "cpu", "The gateway is out of CPU.")
	}
	return true
}

// shedRequest refuses x as overloaded and counts it under reason.
func (s *Server) shedRequest(x *Exchange, reason, detail string) bool {
	s.metrics.shed.WithLabelValues(x.priority.String(), reason).Inc()
	return x.fail(refusal{code: Overloaded, detail: detail})
}

// tarpit delays a refusal that has cost no try, while the node sheds load.
// Other gateways are refused at once, since they can try elsewhere.
func (s *Server) tarpit(x *Exchange) {
	shed := s.shed.Load()
	if shed == nil || shed[x.priority] == 0 || x.Link || x.target != nil {
		return
	}
	s.tarpitted.Add(1)
	defer s.tarpitted.Add(-1)
	x.presence.start(s.coarseNow())
	defer x.presence.stop()
	timer := time.NewTimer(time.Duration(shed[x.priority] * float64(tarpitTime)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.presence.left:
	}
}
