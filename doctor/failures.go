package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/meshgw/meshgw/api"
)

// failures: recent errors and timeouts, those alike together over all nodes.
func (r Round) failures() api.Check {
	c := api.Check{Name: api.CheckErrors}
	type alike struct{ route, upstream, err string }
	sums, nodes := map[alike]Failure{}, map[alike][]string{}
	total := 0
	for _, a := range r.Answers {
		for _, f := range a.Errors {
			key := alike{f.Route, f.Upstream, f.Error}
			sum := sums[key]
			if sum.Count == 0 || f.Last.After(sum.Last) {
				sum.Last, sum.RequestID = f.Last, f.RequestID
			}
			sum.Route, sum.Upstream, sum.Error = f.Route, f.Upstream, f.Error
			sum.Count += f.Count
			total += f.Count
			sums[key], nodes[key] = sum, append(nodes[key], a.Node)
		}
	}
	var keys []alike
	for key := range sums {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b alike) int {
		return cmp.Or(cmp.Compare(sums[b].Count, sums[a].Count), cmp.Compare(a.route, b.route), cmp.Compare(a.err, b.err))
	})
	for _, key := range keys {
		f := sums[key]
		what := fmt.Sprintf("%s: %s", of(f.Count, "request"), f.Error)
		if f.Route != "" {
			what += " on route " + f.Route
		}
		if f.Upstream != "" {
			what += " to " + f.Upstream
		}
		what += ", the last " + since(r.Now, f.Last) + " ago"
		c.Findings = append(c.Findings, api.Finding{What: what, Nodes: nodes[key], RequestID: f.RequestID, Next: "meshgw trace " + f.RequestID})
	}
	c.Summary = "no request failed in the last 5 minutes"
	if total > 0 {
		c.Summary = of(total, "request") + " failed in the last 5 minutes"
	}
	return c
}
