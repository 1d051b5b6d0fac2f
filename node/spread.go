package node

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// spread measures how long edits made here take until every node in sight serves
// them.
type spread struct {
	seconds prometheus.Histogram
	more    chan struct{}

	mu    sync.Mutex // guards the rest
	edits []edit     // that some node does not serve yet, the oldest first
}

// edit is an edit made here.
type edit struct {
	version uint64
	at      time.Time
}

// mostEdits is how many are measured at once: more wait only where a node lags for
// long, and say the same.
const mostEdits = 256

func newSpread(registry prometheus.Registerer) *spread {
	s := &spread{more: make(chan struct{}, 1), seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "meshgw_routes_convergence_seconds", Help: "How long edits made at this node took until every node in sight served them.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
	})}
	registry.MustRegister(s.seconds)
	return s
}

// made notes an edit.
func (s *spread) made(version uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.edits) < mostEdits {
		s.edits = append(s.edits, edit{version, now})
		signal(s.more)
	}
}

// look observes the edits that all who live serve now, and returns since when the
// oldest other one is on its way; zero if there is none.
func (s *spread) look(now time.Time, holders []holder) (oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	served := func(version uint64) bool {
		for _, h := range holders {
			if h.alive && h.version < version {
				return false
			}
		}
		return true
	}
	for len(s.edits) > 0 && served(s.edits[0].version) {
		s.seconds.Observe(now.Sub(s.edits[0].at).Seconds())
		s.edits = s.edits[1:]
	}
	if len(s.edits) == 0 {
		return time.Time{}
	}
	return s.edits[0].at
}

// followSpread measures until ctx ends: to a tenth of the time that it takes.
func (n *Node) followSpread(ctx context.Context) {
	const soonest, latest = 5 * time.Millisecond, time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.spread.more:
		}
		for {
			now := time.Now()
			oldest := n.spread.look(now, n.holders())
			if oldest.IsZero() {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(max(now.Sub(oldest)/10, soonest), latest)):
			}
		}
	}
}
