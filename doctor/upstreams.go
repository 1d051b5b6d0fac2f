package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/meshgw/meshgw/api"
)

// sick is an endpoint as nodes say alike that it is.
type sick struct{ upstream, region, url, state, reason string }

// upstreams: endpoints that get no requests, and open breakers, by region.
func (r Round) upstreams() api.Check {
	c := api.Check{Name: api.CheckUpstreams}
	var out groups[sick]
	var refused, alone groups[[2]string]
	names := map[string]bool{}
	down, total := map[[2]string]map[string]bool{}, map[[2]string]int{}
	share := map[string]float64{}
	for _, a := range r.Answers {
		for _, u := range a.Upstreams {
			names[u.Name] = true
			for region, n := range u.Total {
				total[[2]string{u.Name, region}] = max(total[[2]string{u.Name, region}], n)
			}
			for _, e := range u.Bad {
				key := [2]string{u.Name, e.Region}
				if down[key] == nil {
					down[key] = map[string]bool{}
				}
				down[key][e.URL] = true
				out.add(sick{u.Name, e.Region, e.URL, e.State, e.Reason}, a.Node, e.Since)
			}
			if u.Refused > 0.005 {
				refused.add([2]string{u.Name}, a.Node, time.Time{})
				share[u.Name] = max(share[u.Name], u.Refused)
			}
			if u.Alone != "" {
				alone.add([2]string{u.Name, u.Alone}, a.Node, time.Time{})
			}
		}
	}
	endpoints := 0
	for _, n := range total {
		endpoints += n
	}
	bad := 0
	for _, urls := range down {
		bad += len(urls)
	}
	c.Summary = fmt.Sprintf("%s, %s, all in service", of(len(names), "upstream"), of(endpoints, "endpoint"))
	if bad > 0 {
		c.Summary = fmt.Sprintf("%d of %s out of service", bad, of(endpoints, "endpoint"))
	}
	for _, key := range refused.keys {
		c.Findings = append(c.Findings, api.Finding{
			What:  fmt.Sprintf("%s: %.0f %% of the requests are refused, no region has room for them", key[0], 100*share[key[0]]),
			Nodes: refused.nodes[key], Next: "meshgw status",
		})
	}
	for _, key := range slices.SortedFunc(maps.Keys(down), byUpstream) {
		if len(down[key]) == total[key] {
			c.Findings = append(c.Findings, api.Finding{
				What:  fmt.Sprintf("%s has no endpoint in service%s", key[0], where(key[1])),
				Nodes: r.sayers(out, key), Next: "meshgw status",
			})
		}
	}
	slices.SortStableFunc(out.keys, func(a, b sick) int {
		return byUpstream([2]string{a.upstream, a.region}, [2]string{b.upstream, b.region})
	})
	for _, s := range out.keys {
		c.Findings = append(c.Findings, api.Finding{
			What:  fmt.Sprintf("%s%s: %s is %s", s.upstream, where(s.region), s.url, ill(s)),
			Nodes: out.nodes[s], Since: out.since[s], Next: "serf query meshgw-health " + s.upstream,
		})
	}
	for _, key := range alone.keys {
		c.Notes = append(c.Notes, api.Finding{
			What: fmt.Sprintf("%s cannot fail over: %s", key[0], key[1]), Nodes: alone.nodes[key], Next: "meshgw status",
		})
	}
	return c
}

// sayers is who says that endpoints of an upstream in a region are out.
func (r Round) sayers(out groups[sick], of [2]string) (nodes []string) {
	for _, s := range out.keys {
		if s.upstream == of[0] && s.region == of[1] {
			nodes = append(nodes, out.nodes[s]...)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

func byUpstream(a, b [2]string) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
}

func where(region string) string {
	if region == "" {
		return ""
	}
	return " in " + region
}

// ill says how an endpoint is, the breaker by its name.
func ill(s sick) string {
	text := s.state
	if s.state == "open" || s.state == "half_open" {
		text = "cut off by its circuit breaker"
	}
	if s.reason != "" {
		text += " (" + s.reason + ")"
	}
	return text
}
