package dataplane

import (
	"time"

	"github.com/meshgw/meshgw/failover"
)

// Mesh is what a node knows of the others at one moment. It is immutable.
type Mesh struct {
	View      *failover.View           // its nodes are identified by name
	RoundTrip map[string]time.Duration // to the nearest node of another region
	Links     map[string]string        // host:port of a node's mesh link, where it has one
	Words     uint64                   // changes whenever nodes or verdicts do
}

// SetMesh sets what is known of the other nodes from now on. Until it is called, the
// Server is alone: it checks all endpoints and decides by itself.
func (s *Server) SetMesh(m *Mesh) { s.mesh.Store(m) }

// alone is the mesh of a node that knows nobody.
func alone(cfg Config) *Mesh {
	return &Mesh{View: failover.NewView(failover.Peer{ID: cfg.Node, Region: cfg.Region, Ready: true}, nil)}
}

// listening avoids evaluating unchanged verdicts again: they are evaluated when
// something has changed, and once a second for verdicts that expire.
type listening struct {
	words uint64
	check failover.CheckVerdict
	at    time.Time
}

// news reports whether it is time to evaluate the verdicts, and records that they
// are evaluated now.
func (l *listening) news(now time.Time, words uint64, check failover.CheckVerdict) bool {
	if l.words == words && l.check == check && now.Sub(l.at) < time.Second {
		return false
	}
	*l = listening{words: words, check: check, at: now}
	return true
}

// hear collects what the region's nodes say of e. For this node it uses its latest
// check, which the mesh may not know yet.
func (s *Server) hear(now time.Time, u *liveUpstream, e *endpoint, check failover.Check, interval time.Duration) failover.Hearing {
	h := s.mesh.Load().View.Hear(now, u.Name, e.address.URL, e.state.Region(), interval)
	for i := range h.Witnesses {
		if w := &h.Witnesses[i]; w.ID == h.Self {
			w.Check = check.Verdict
			if !w.Open {
				w.Reason = check.Failure
			}
		}
	}
	return h
}
