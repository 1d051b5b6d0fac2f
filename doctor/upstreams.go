package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/meshgw/meshgw/api"
)

// sick is an endpoint out of service, as one or more nodes report it.
type sick struct{ upstream, region, url, state, reason string }

// upstreams: endpoints that get no requests, and open breakers, by region.
func (r Round) upstreams() api.Check {
	u := r.collectUpstreams()
	return api.Check{
		Name: api.CheckUpstreams, Summary: u.summary(),
		Findings: slices.Concat(u.overloaded(), u.down(), u.outOfService()), Notes: u.withoutFailover(),
	}
}

// place is an upstream in a region.
type place struct{ upstream, region string }

// reports is what all nodes report of upstreams.
type reports struct {
	names   map[string]bool
	total   map[place]int             // endpoints
	bad     map[place]map[string]bool // URLs of those out of service
	out     groups[sick]
	refused groups[string]
	share   map[string]float64 // of requests refused, by upstream
	alone   groups[[2]string]  // upstream and reason
}

// collectUpstreams combines what the nodes report.
func (r Round) collectUpstreams() *reports {
	all := &reports{
		names: map[string]bool{}, total: map[place]int{}, bad: map[place]map[string]bool{}, share: map[string]float64{},
	}
	for _, a := range r.Answers {
		for _, u := range a.Upstreams {
			all.names[u.Name] = true
			for region, n := range u.Total {
				at := place{u.Name, region}
				all.total[at] = max(all.total[at], n)
			}
			for _, e := range u.Bad {
				all.addBad(sick{u.Name, e.Region, e.URL, e.State, e.Reason}, a.Node, e.Since)
			}
			if u.Refused > 0.005 {
				all.refused.add(u.Name, a.Node, time.Time{})
				all.share[u.Name] = max(all.share[u.Name], u.Refused)
			}
			if u.Alone != "" {
				all.alone.add([2]string{u.Name, u.Alone}, a.Node, time.Time{})
			}
		}
	}
	slices.SortStableFunc(all.out.keys, func(a, b sick) int { return byUpstream(a.place(), b.place()) })
	return all
}

func (s sick) place() place { return place{s.upstream, s.region} }

func (all *reports) addBad(s sick, node string, since time.Time) {
	if all.bad[s.place()] == nil {
		all.bad[s.place()] = map[string]bool{}
	}
	all.bad[s.place()][s.url] = true
	all.out.add(s, node, since)
}

func (all *reports) summary() string {
	endpoints, bad := 0, 0
	for _, n := range all.total {
		endpoints += n
	}
	for _, urls := range all.bad {
		bad += len(urls)
	}
	if bad > 0 {
		return fmt.Sprintf("%d of %s out of service", bad, of(endpoints, "endpoint"))
	}
	return fmt.Sprintf("%s, %s, all in service", of(len(all.names), "upstream"), of(endpoints, "endpoint"))
}

// overloaded finds upstreams whose requests are refused for want of room.
func (all *reports) overloaded() (found []api.Finding) {
	for _, name := range all.refused.keys {
		found = append(found, api.Finding{
			What:  fmt.Sprintf("%s: %.0f %% of the requests are refused, no region has room for them", name, 100*all.share[name]),
			Nodes: all.refused.nodes[name], Next: "meshgw status",
		})
	}
	return found
}

// down finds regions in which an upstream has no endpoint in service.
func (all *reports) down() (found []api.Finding) {
	for _, at := range slices.SortedFunc(maps.Keys(all.bad), byUpstream) {
		if len(all.bad[at]) == all.total[at] {
			found = append(found, api.Finding{
				What:  fmt.Sprintf("%s has no endpoint in service%s", at.upstream, where(at.region)),
				Nodes: all.witnesses(at), Next: "meshgw status",
			})
		}
	}
	return found
}

// outOfService finds endpoints that get no requests.
func (all *reports) outOfService() (found []api.Finding) {
	for _, s := range all.out.keys {
		found = append(found, api.Finding{
			What:  fmt.Sprintf("%s%s: %s is %s", s.upstream, where(s.region), s.url, ill(s)),
			Nodes: all.out.nodes[s], Since: all.out.since[s], Next: "serf query meshgw-health " + s.upstream,
		})
	}
	return found
}

// withoutFailover notes upstreams whose requests have nowhere else to go.
func (all *reports) withoutFailover() (notes []api.Finding) {
	for _, key := range all.alone.keys {
		notes = append(notes, api.Finding{
			What: fmt.Sprintf("%s cannot fail over: %s", key[0], key[1]), Nodes: all.alone.nodes[key], Next: "meshgw status",
		})
	}
	return notes
}

// witnesses returns the nodes that report endpoints there to be out of service.
func (all *reports) witnesses(at place) (nodes []string) {
	for _, s := range all.out.keys {
		if s.place() == at {
			nodes = append(nodes, all.out.nodes[s]...)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

func byUpstream(a, b place) int {
	return cmp.Or(cmp.Compare(a.upstream, b.upstream), cmp.Compare(a.region, b.region))
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
