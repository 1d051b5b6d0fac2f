package doctor

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/meshgw/meshgw/api"
)

const (
	oldEnough = 10 * time.Second // of a past, to judge by it
	window    = 4                // seconds that a Rate is of; see telemetry.History
	sigmas    = 6                // deviations that chance does not make
	leastMore = 0.05             // by which the share of errors must have grown
)

// past is the traffic of one route over all nodes, in requests and errors of a
// window.
type past struct {
	now, usual, failed, failedUsual float64
	judged                          bool
}

// traffic: routes whose rate or share of errors departs from their own history.
func (r Round) traffic() api.Check {
	c := api.Check{Name: api.CheckTraffic}
	routes, nodes := map[string]past{}, map[string][]string{}
	for _, a := range r.Answers {
		for _, t := range a.Traffic {
			p := routes[t.Route]
			p.now += window * t.Rate
			p.failed += window * t.Rate * t.Errors
			p.usual += window * t.UsualRate
			p.failedUsual += window * t.UsualRate * t.UsualErrors
			p.judged = p.judged || t.Age >= oldEnough
			routes[t.Route] = p
			nodes[t.Route] = append(nodes[t.Route], a.Node)
		}
	}
	judged := 0
	for _, route := range slices.Sorted(maps.Keys(routes)) {
		p := routes[route]
		if !p.judged {
			continue
		}
		judged++
		for _, what := range p.departs() {
			next := "meshgw top"
			if p.errorsDepart() {
				next = "meshgw top --sort errors"
			}
			c.Findings = append(c.Findings, api.Finding{What: "route " + named(route) + ": " + what, Nodes: nodes[route], Next: next})
		}
	}
	c.Summary = of(judged, "route") + " as usual"
	if judged == 0 {
		c.Summary = "no history to judge by yet: it takes some 15 s of requests"
	}
	if len(c.Findings) > 0 {
		c.Summary = "traffic departs from its own history"
	}
	return c
}

func named(route string) string {
	if route == "" {
		return "(none)"
	}
	return route
}

// departs says in which ways p is not as usual.
func (p past) departs() (all []string) {
	spread := sigmas * math.Sqrt(p.usual+1)
	switch {
	case p.now > 2*p.usual && p.now-p.usual > spread+10:
		all = append(all, fmt.Sprintf("%.1f requests/s, %.1f times the usual %.1f", p.now/window, p.now/max(p.usual, 1), p.usual/window))
	case p.now < p.usual/2 && p.usual-p.now > spread:
		all = append(all, fmt.Sprintf("%.1f requests/s, usual are %.1f", p.now/window, p.usual/window))
	}
	if p.errorsDepart() {
		all = append(all, fmt.Sprintf("%.0f %% of the requests fail, usual are %.1f %%", 100*p.failed/p.now, 100*share(p.failedUsual, p.usual)))
	}
	return all
}

func (p past) errorsDepart() bool {
	usual := share(p.failedUsual, p.usual)
	expected := usual * p.now
	return share(p.failed, p.now) > usual+leastMore && p.failed-expected > 3*math.Sqrt(expected+1)
}

func share(part, of float64) float64 {
	if of == 0 {
		return 0
	}
	return part / of
}
