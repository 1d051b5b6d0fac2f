package node

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/api"
)

// SetClock makes this node's wall clock wrong by offset, as on a machine whose time
// is not synchronized: what dates edits, judges tokens and certificates, and refills
// long quotas. It refuses with an *api.Problem unless the node may be broken.
func (n *Node) SetClock(offset time.Duration) error {
	if !n.cfg.AllowChaos {
		return api.NewProblem(http.StatusForbidden, "this node was not started with --allow-chaos")
	}
	n.log.Warn().Stringer("offset", offset).Msg("wall clock set wrong, as told")
	n.skew.Store(int64(offset))
	return nil
}

// skewed returns a world whose wall clock is ahead of w's by offset nanoseconds.
func (w World) skewed(offset *atomic.Int64) World {
	right := w.now
	w.Now = func() time.Time { return right().Add(time.Duration(offset.Load())) }
	return w
}
