package node

import (
	"slices"
	"sync"
	"time"

	"github.com/meshgw/meshgw/api"
)

// A holder is a node and the table that it was last heard to serve.
type holder struct {
	name    string
	alive   bool
	version uint64
	digest  string
}

// newest is the table that all should hold: the highest version heard of, and of
// two tables of one version the greater digest, a choice that all make alike.
func newest(holders []holder) (top holder) {
	for _, h := range holders {
		if h.version > top.version || h.version == top.version && h.digest > top.digest {
			top = h
		}
	}
	return top
}

// driftWatch remembers since when which node lags.
type driftWatch struct {
	mu    sync.Mutex // guards drift
	drift api.Drift
}

// look compares what nodes hold and keeps since when they differ.
func (d *driftWatch) look(now time.Time, holders []holder) {
	top := newest(holders)
	next := api.Drift{Nodes: []api.DriftNode{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range holders {
		if h.version == top.version && h.digest == top.digest {
			continue
		}
		lag := api.DriftNode{
			Name: h.name, RoutesVersion: h.version, RoutesDigest: h.digest, VersionsBehind: top.version - h.version,
			Reason: "not received yet", Since: now,
		}
		if !h.alive {
			lag.Reason = "not reachable"
		}
		if i := slices.IndexFunc(d.drift.Nodes, func(o api.DriftNode) bool { return o.Name == h.name }); i >= 0 {
			lag.Since = d.drift.Nodes[i].Since
		}
		next.Nodes = append(next.Nodes, lag)
		next.MaxVersionsBehind = max(next.MaxVersionsBehind, lag.VersionsBehind)
	}
	d.drift = next
}

func (d *driftWatch) now() api.Drift {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drift
}
