package dataplane

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"
)

// plan is a table with the live state that its requests need. It is made once for
// each table and swapped as a whole.
type plan struct {
	table        *routetable.Table
	rules        []atomic.Pointer[liveRule] // by Rule.Index; see live
	upstreams    []*liveUpstream            // sorted by name
	upstream     map[string]*liveUpstream   // by name
	limits       []*liveLimit               // by LimitRule.Index, then those of tenants
	tenants      []*liveTenant              // by TenantRule.Index
	authServices map[string]*authService    // by URL
}

// liveRule is a rule with the live state of what it refers to.
type liveRule struct {
	*routetable.Rule
	plan    *plan
	limits  []*liveLimit
	auth    *liveAuth
	refused *refusal // for a rule that cannot be served; else nil
	targets []*liveTarget
	mirror  *liveMirror // nil = none
	own     *series     // for answers without an upstream
	traffic *telemetry.Series
}

// liveTarget is one of a rule's targets.
type liveTarget struct {
	upstream *liveUpstream
	timeouts routetable.ServiceTimeouts
	weight   int
	series   regional
}

// Publish makes t the table of all requests that begin from now on. Endpoints that
// stay keep their connections, breakers and counters; the connections of those that
// are gone are closed when they become idle. It may be called at any time.
func (s *Server) Publish(t *routetable.Table) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.discovery.Follow(t.Services())
	s.publish(t)
}

// republish publishes the present table again, with what discovery has found.
func (s *Server) republish() {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.publish(s.plan.Load().table)
}

// publish does the work of Publish, s.publishing held.
func (s *Server) publish(t *routetable.Table) {
	old := s.plan.Load()
	p := &plan{
		table: t, rules: make([]atomic.Pointer[liveRule], t.Places()),
		upstream: make(map[string]*liveUpstream, len(t.Services())), authServices: map[string]*authService{},
	}
	kept := map[*upstream.Pool]bool{}
	for _, service := range t.Services() {
		u := s.upstream(service, old)
		p.upstreams, p.upstream[u.Name] = append(p.upstreams, u), u
		for _, e := range u.endpoints {
			kept[e.pool] = true
		}
	}
	s.limits(p, old)
	for _, r := range t.Rules() {
		if len(r.Auth) > 0 {
			s.live(r, p) // start to load its keys before the first request
		}
	}
	s.plan.Store(p)
	if old == nil {
		return
	}
	s.tunnels.follow(t)
	s.cfg.Traffic.Keep(func(route string) bool { return route == "" || t.Rule(route) != nil })
	old.retireAuthServices(p)
	for _, u := range old.upstreams {
		for _, e := range u.endpoints {
			if !kept[e.pool] {
				e.retire()
			}
		}
		if t.Service(u.Name) == nil {
			u.retireGateways()
		}
	}
}

// live returns the live rule of a rule of p's table. It is made for the first
// request: of ten thousand rules, few match one before the next table.
func (s *Server) live(r *routetable.Rule, p *plan) *liveRule {
	at := &p.rules[r.Index]
	if live := at.Load(); live != nil {
		return live
	}
	at.CompareAndSwap(nil, s.liveRule(r, p))
	return at.Load()
}

func (s *Server) liveRule(r *routetable.Rule, p *plan) *liveRule {
	live := &liveRule{Rule: r, plan: p, own: s.metrics.series(r.Name, "", s.cfg.Region), traffic: s.cfg.Traffic.Series(r.Name)}
	for _, l := range r.Limits {
		live.limits = append(live.limits, p.limits[l.Index])
	}
	live.auth = s.liveAuth(r, p)
	switch missing := Unsupported(r); {
	case r.Broken != "":
		live.refused = &refusal{code: NoHealthyUpstream, detail: "The route cannot be served: " + r.Broken + "."}
	case s.cfg.Limiter == nil && len(p.limits) > 0:
		live.refused = &refusal{code: NoHealthyUpstream, detail: "The table has limits, and nothing here keeps them."}
	case len(missing) > 0:
		live.refused = &refusal{code: NoHealthyUpstream, detail: "The route needs what this gateway cannot do: " + strings.Join(missing, ", ") + "."}
	}
	if m := r.Mirror; m != nil {
		live.mirror = &liveMirror{upstream: p.upstream[m.Upstream.Name], percent: m.Percent}
	}
	for _, target := range r.Targets {
		u := p.upstream[target.Upstream.Name]
		live.targets = append(live.targets, &liveTarget{
			upstream: u, timeouts: target.Timeouts, weight: target.Weight, series: s.seriesOf(r.Name, u),
		})
	}
	return live
}

// seriesOf returns the series of a route to u, for each region that may serve.
func (s *Server) seriesOf(route string, u *liveUpstream) regional {
	all := regional{s.metrics.series(route, u.Name, s.cfg.Region)}
	for _, e := range u.endpoints {
		if region := e.state.Region(); all.of(region) == nil {
			all = append(all, s.metrics.series(route, u.Name, region))
		}
	}
	return all
}

// Unsupported names the settings of r that the data plane cannot honour, in the
// words of the route file. A route with any is answered with 503, rather than served
// without them.
func Unsupported(r *routetable.Rule) []string {
	if asksOf(r) > maxAsks {
		return []string{fmt.Sprintf("limits with more than %d rates and concurrencies together", maxAsks)}
	}
	return nil
}

// sweep closes the connections of all endpoints that have been idle too long.
func (p *plan) sweep(now time.Time) {
	for _, u := range p.upstreams {
		for _, e := range u.endpoints {
			e.sweep(now)
		}
		gateways, _ := u.allGateways()
		for _, e := range gateways {
			e.sweep(now)
		}
	}
	for _, a := range p.authServices {
		a.pool.Sweep(now)
	}
}

// choose picks one of the rule's targets by weight.
func (r *liveRule) choose() *liveTarget {
	if len(r.targets) == 1 {
		return r.targets[0]
	}
	n := rand.IntN(r.Weight)
	for _, t := range r.targets {
		if n -= t.weight; n < 0 {
			return t
		}
	}
	return r.targets[len(r.targets)-1]
}
