package node

import (
	"cmp"
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
	held    int    // how much of it the node cannot serve
	why     string // what the node says is in its way; empty = nothing
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

// holds reports whether h serves the table of top.
func (h holder) holds(top holder) bool { return h.version == top.version && h.digest == top.digest }

// fewestHeld is how much of the table of top cannot be served by anybody: what
// is held back everywhere is no drift.
func fewestHeld(holders []holder, top holder) int {
	fewest := top.held
	for _, h := range holders {
		if h.alive && h.holds(top) {
			fewest = min(fewest, h.held)
		}
	}
	return fewest
}

// driftWatch records since when each node lags.
type driftWatch struct {
	mu    sync.Mutex // guards the rest
	drift api.Drift
	since time.Time            // when the first of those in sight that lag now began to; zero = none does
	lost  map[string]time.Time // nodes out of reach, since when
}

// look compares what nodes hold and keeps since when they differ.
func (d *driftWatch) look(now time.Time, holders []holder) {
	top := newest(holders)
	fewest := fewestHeld(holders, top)
	next := api.Drift{Nodes: []api.DriftNode{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reach(now, holders)
	var first time.Time
	for _, h := range holders {
		if h.holds(top) && (h.held <= fewest || !h.alive) {
			continue
		}
		lag := api.DriftNode{
			Name: h.name, RoutesVersion: h.version, RoutesDigest: h.digest, VersionsBehind: top.version - h.version,
			Reason: d.reason(h), Since: now,
		}
		if i := slices.IndexFunc(d.drift.Nodes, func(o api.DriftNode) bool { return o.Name == h.name }); i >= 0 {
			lag.Since = d.drift.Nodes[i].Since
		}
		if h.alive && (first.IsZero() || lag.Since.Before(first)) {
			first = lag.Since
		}
		next.Nodes = append(next.Nodes, lag)
		next.MaxVersionsBehind = max(next.MaxVersionsBehind, lag.VersionsBehind)
	}
	d.drift, d.since = next, first
}

// lasts is for how long a node in sight has lagged; 0 if none does.
func (d *driftWatch) lasts(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.IsZero() {
		return 0
	}
	return now.Sub(d.since)
}

// reach keeps since when nodes are out of reach. The caller holds mu.
func (d *driftWatch) reach(now time.Time, holders []holder) {
	lost := map[string]time.Time{}
	for _, h := range holders {
		if h.alive {
			continue
		}
		lost[h.name] = now
		if since, ok := d.lost[h.name]; ok {
			lost[h.name] = since
		}
	}
	d.lost = lost
}

// reason says why h lags. The caller holds mu.
func (d *driftWatch) reason(h holder) string {
	if !h.alive {
		return "unreachable since " + d.lost[h.name].UTC().Format(time.RFC3339)
	}
	return cmp.Or(h.why, "not received yet")
}

func (d *driftWatch) now() api.Drift {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drift.Nodes == nil { // nobody has looked yet
		return api.Drift{Nodes: []api.DriftNode{}}
	}
	return d.drift
}
