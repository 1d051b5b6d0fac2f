package node

import (
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// upstreams groups the endpoints of the data plane by their upstream, each with
// what the living nodes say of it.
func (n *Node) upstreams() []api.Upstream {
	table, places := n.routes.table(), map[string]int{}
	routed := map[*routetable.Service]bool{}
	for _, rule := range table.Rules() {
		for _, target := range rule.Targets {
			routed[target.Upstream] = true
		}
	}
	verdicts, all := n.verdicts(), []api.Upstream{}
	for _, d := range n.plane.Divisions() {
		u := api.Upstream{Name: d.Upstream, Refused: d.Refused, Regions: []api.RegionShare{}, Endpoints: []api.Endpoint{}}
		for _, r := range d.Regions {
			u.Regions = append(u.Regions, api.RegionShare(r))
		}
		if service := table.Service(d.Upstream); routed[service] {
			u.Alone = service.Spec.Alone()
		}
		places[d.Upstream] = len(all)
		all = append(all, u)
	}
	for _, e := range n.plane.Upstreams() {
		i, known := places[e.Upstream]
		if !known {
			continue // of a table that came in between
		}
		endpoint := api.Endpoint{
			URL: e.Endpoint, Region: e.Region, Weight: e.Weight, Healthy: e.State == "closed",
			State: e.State, Since: e.Since, Breaker: "closed", Reason: e.Reason, Inflight: e.Inflight,
			Verdicts: verdicts[[2]string{e.Upstream, e.Endpoint}],
		}
		if e.State == "open" || e.State == "half_open" {
			endpoint.Breaker = e.State
		}
		all[i].Pending = e.Pending
		all[i].Endpoints = append(all[i].Endpoints, endpoint)
	}
	return all
}

// verdicts is what the living nodes say of endpoints, by upstream and URL, in the
// order of their names.
func (n *Node) verdicts() map[[2]string][]api.Verdict {
	all := map[[2]string][]api.Verdict{}
	for _, v := range n.view() {
		said := n.health.of(v.word.ID).verdicts
		if v.member.Status != api.MemberAlive || v.word.ID == "" || said.Incarnation != v.word.Incarnation {
			continue
		}
		for _, verdict := range said.Verdicts {
			of := [2]string{verdict.Upstream, verdict.URL}
			all[of] = append(all[of], apiVerdict(v.word.Name, verdict))
		}
	}
	return all
}

func apiVerdict(node string, v failover.Verdict) api.Verdict {
	breaker := "closed"
	if v.Open {
		breaker = "open"
	}
	return api.Verdict{Node: node, Check: v.Check.String(), Breaker: breaker, Since: time.UnixMilli(v.Since).UTC(), Reason: v.Reason}
}
