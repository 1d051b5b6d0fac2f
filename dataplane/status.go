package dataplane

import (
	"time"

	"github.com/meshgw/meshgw/failover"
)

// Load is the load of a Server.
type Load struct {
	Inflight int                         // requests
	Clients  int                         // connections that are open
	Requests uint64                      // received since the start
	Arrived  [failover.Priorities]uint64 // the same by priority; those that match nothing are normal
}

// Load returns the present load.
func (s *Server) Load() Load {
	l := Load{Inflight: int(s.inflight.Load()), Clients: s.clients.count()}
	for p := range s.requests {
		l.Arrived[p] = s.requests[p].Load()
		l.Requests += l.Arrived[p]
	}
	return l
}

// MaxConns is how many connections of clients may be open at once.
func (s *Server) MaxConns() int { return s.cfg.MaxConns }

// UpstreamStatus is the state of one endpoint of an upstream.
type UpstreamStatus struct {
	Upstream string
	Endpoint string // URL
	Region   string // empty = every region's own
	Weight   int
	State    string // closed, stalled, ejected, unhealthy, half_open or open
	Since    time.Time
	Reason   string // why it is not closed, or why it cannot be dialed
	Inflight int
	Pending  int // requests that wait, of the whole upstream
	Latency  time.Duration
}

// Upstreams returns the state of every endpoint of the table.
func (s *Server) Upstreams() []UpstreamStatus {
	now := time.Now()
	var all []UpstreamStatus
	for _, u := range s.plan.Load().upstreams {
		for _, e := range u.endpoints {
			state := e.state.State(now)
			status := UpstreamStatus{
				Upstream: u.Name, Endpoint: e.address.URL, Region: e.address.Region, Weight: e.address.Weight,
				State: state.Status.String(), Since: state.Since, Reason: e.reason(state),
				Inflight: e.state.Inflight(), Pending: int(u.shared.pending.Load()), Latency: e.state.Latency(now),
			}
			if e.broken != "" {
				status.State, status.Reason = "unhealthy", e.broken
			}
			all = append(all, status)
		}
	}
	return all
}
