package node

import (
	"context"
	"net/http"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/roster"
)

// drain takes the node out of rotation before it stops: the mesh and load balancers
// learn of it first, and what still arrives meanwhile is served.
func (n *Node) drain(ctx context.Context) {
	n.Drain()
	if err := notify("STOPPING=1"); err != nil {
		n.log.Warn().Err(err).Msg("stops all the same")
	}
	n.log.Info().Dur("accept_for_ms", n.cfg.Drain.AcceptFor).Dur("finish_in_ms", n.cfg.Drain.FinishIn).Msg("draining")
	select {
	case <-time.After(n.cfg.Drain.AcceptFor):
	case <-ctx.Done():
	}
}

// Drain takes this node out of rotation: not ready, told to the mesh,
// connections closed after their next answer. It serves on.
func (n *Node) Drain() {
	n.setPhase(roster.Draining)
	n.plane.SetDraining(true)
}

// Undrain puts this node into rotation again.
func (n *Node) Undrain() {
	n.plane.SetDraining(false)
	n.setPhase(roster.Serving)
}

// SetWeight changes this node's capacity relative to others, 1 to 65535, until it
// restarts, and tells the mesh. It refuses another number with an *api.Problem.
func (n *Node) SetWeight(weight int) error {
	if weight < 1 || weight > config.MaxWeight {
		return api.NewProblem(http.StatusUnprocessableEntity, "weight %d: want 1 to %d", weight, config.MaxWeight)
	}
	if was := n.weight.Swap(int64(weight)); was != int64(weight) {
		n.log.Info().Int64("from", was).Int("to", weight).Msg("weight changed")
		n.tell()
	}
	return nil
}

func (n *Node) setPhase(p roster.Phase) {
	n.phase.Store(&p)
	n.tell()
}

// Ready reports whether this node should get requests, and why not.
func (n *Node) Ready() (ok bool, why string) {
	switch phase := *n.phase.Load(); phase {
	case roster.Serving, roster.Shedding:
		return true, ""
	default:
		return false, string(phase)
	}
}
