package doctor

import (
	"fmt"
	"slices"
	"time"

	"github.com/meshgw/meshgw/api"
)

// settled is how long a node may lack the newest table before that is drift:
// news takes well under a second, repair two.
const settled = 10 * time.Second

// routes: all nodes on the same version and digest, and all of it served.
func (r Round) routes() api.Check {
	c := api.Check{Name: api.CheckRoutes}
	version, digest, holders := r.newest()
	c.Summary = fmt.Sprintf("%s on version %d %s", of(holders, "node"), version, short(digest))
	if holders < len(r.Answers) {
		c.Summary = fmt.Sprintf("%d of %s on version %d %s", holders, of(len(r.Answers), "node"), version, short(digest))
	}
	for _, lag := range r.lags(version, digest) {
		c.Findings = append(c.Findings, api.Finding{
			What:  fmt.Sprintf("%s is on version %d %s, %s behind: %s", lag.Name, lag.RoutesVersion, short(lag.RoutesDigest), of(int(lag.VersionsBehind), "version"), lag.Reason),
			Nodes: []string{lag.Name}, Since: lag.Since, Next: "meshgw status --drift",
		})
	}
	var pending groups[api.Pending]
	var conflicts groups[int]
	for _, a := range r.Answers {
		for _, p := range a.Routes.Pending {
			pending.add(p, a.Node, time.Time{})
		}
		if a.Routes.Conflicts > 0 {
			conflicts.add(a.Routes.Conflicts, a.Node, time.Time{})
		}
	}
	for _, p := range pending.keys {
		c.Findings = append(c.Findings, api.Finding{
			What: fmt.Sprintf("%s %s is held and not served: %s", p.Kind, p.Name, p.Reason), Nodes: pending.nodes[p], Next: "meshgw routes history",
		})
	}
	for _, n := range conflicts.keys {
		c.Findings = append(c.Findings, api.Finding{
			What: of(n, "edit") + " lost against a concurrent one and " + agrees(n, "is", "are") + " not settled", Nodes: conflicts.nodes[n], Next: "meshgw routes history",
		})
	}
	return c
}

// newest is the table that all should serve, and how many do.
func (r Round) newest() (version uint64, digest string, holders int) {
	for _, a := range r.Answers {
		if a.Routes.Version > version || a.Routes.Version == version && a.Routes.Digest > digest {
			version, digest = a.Routes.Version, a.Routes.Digest
		}
	}
	for _, a := range r.Answers {
		if a.Routes.Version == version && a.Routes.Digest == digest {
			holders++
		}
	}
	return version, digest, holders
}

// lags is who does not serve all of the newest table for so long, or so far
// behind, that it will not mend itself: each once, since the earliest that
// anybody saw it. What a node says of itself overrules what others heard.
func (r Round) lags(version uint64, digest string) []api.DriftNode {
	self := map[string]api.RoutesStatus{}
	for _, a := range r.Answers {
		self[a.Node] = a.Routes
	}
	all := r.reported(self)
	for name, own := range self { // nobody has heard of it yet
		known := slices.ContainsFunc(all, func(d api.DriftNode) bool { return d.Name == name })
		if !known && (own.Version != version || own.Digest != digest) {
			all = append(all, api.DriftNode{
				Name: name, RoutesVersion: own.Version, RoutesDigest: own.Digest, VersionsBehind: version - own.Version, Reason: notReceived, Since: r.Now,
			})
		}
	}
	var lasting []api.DriftNode
	for _, lag := range all {
		if lag.VersionsBehind > 1 || lag.Reason != notReceived || r.Now.Sub(lag.Since) > settled {
			lasting = append(lasting, lag)
		}
	}
	return lasting
}

// reported is who lags by the word of any node, each once, unless what it says of
// itself is news; where this node has a word, it counts.
func (r Round) reported(self map[string]api.RoutesStatus) (all []api.DriftNode) {
	place := map[string]int{}
	for _, a := range r.Answers {
		for _, lag := range a.Drift.Nodes {
			own, answered := self[lag.Name]
			if answered && (own.Version != lag.RoutesVersion || own.Digest != lag.RoutesDigest) {
				continue // heard before it changed
			}
			i, known := place[lag.Name]
			if !known {
				place[lag.Name] = len(all)
				all = append(all, lag)
				continue
			}
			if lag.Since.Before(all[i].Since) {
				all[i].Since = lag.Since
			}
			if a.Node == r.Node {
				lag.Since, all[i] = all[i].Since, lag
			}
		}
	}
	return all
}

// notReceived is the reason of a node that is only late; see node's drift.
const notReceived = "not received yet"
