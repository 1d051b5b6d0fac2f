package dataplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/discovery"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"

	"github.com/meshgw/meshgw/dataplane/upstream"
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

// liveUpstream is a service and the live state of its endpoints.
type liveUpstream struct {
	*routetable.Service
	addresses []routetable.Address // of its endpoints
	endpoints []*endpoint
	byState   map[*failover.Endpoint]*endpoint
	near      *failover.Balancer            // over this region's endpoints
	far       map[string]*failover.Balancer // over those of other regions, if they are used directly
	elsewhere []string                      // the other regions that have endpoints
	division  atomic.Pointer[division]
	tokens    atomic.Pointer[tokens]
	linked    *liveRule // for requests that other gateways forward
	shared    *upstreamState
}

// upstreamState is what an upstream keeps from one table to the next.
type upstreamState struct {
	pending  atomic.Int64 // requests that wait for a connection
	mirrored atomic.Int64 // copies that wait or are being sent
	refused  [failover.Priorities]failover.Evenly
	budget   *failover.RetryBudget
	traffic  traffic

	dividing sync.Mutex // guards the rest
	holds    map[string]failover.Hold
	gateways map[string]*regionGateways // by region
	away     string                     // the region that requests are failed over to; empty = none
}

// endpoint is an address of an upstream with the live state that it keeps from one
// table to the next: counters, breaker, connections.
type endpoint struct {
	state    *failover.Endpoint
	pool     *upstream.Pool
	h2       *upstream.HTTP2Pool // connections, if the upstream speaks HTTP/2; else nil and pool has them
	address  routetable.Address
	tls      routetable.UpstreamTLS // as dialed
	protocol routetable.Protocol
	shown    *certificates
	connect  *atomic.Int64 // time to connect, ns
	monitor  *monitor
	near     bool   // in this node's region
	gateway  string // the node, if this is a gateway of another region; else empty
	broken   string // why it cannot be dialed; empty if it can
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

// upstream returns the live upstream of a service. It takes over what old, which may
// be nil, has of it: everything, if the service is unchanged.
func (s *Server) upstream(service *routetable.Service, old *plan) *liveUpstream {
	addresses := s.discovery.Expand(service.Endpoints)
	if old != nil && old.upstream[service.Name] != nil && old.upstream[service.Name].Service == service &&
		slices.Equal(old.upstream[service.Name].addresses, addresses) {
		return old.upstream[service.Name]
	}
	u := &liveUpstream{Service: service, addresses: addresses, byState: map[*failover.Endpoint]*endpoint{}, elsewhere: otherRegions(service, s.cfg.Region)}
	u.shared = &upstreamState{budget: failover.NewRetryBudget(time.Now()), gateways: map[string]*regionGateways{}}
	before := map[string]*endpoint{}
	if old != nil {
		if live := old.upstream[service.Name]; live != nil {
			u.shared = live.shared
			for _, e := range live.endpoints {
				before[e.address.URL] = e
			}
		}
	}
	var near []failover.Candidate
	far := map[string][]failover.Candidate{}
	for _, address := range addresses {
		e := before[address.URL]
		if e == nil || e.tls != service.TLS || e.protocol != service.Protocol || e.address.Region != address.Region {
			e = s.newEndpoint(u, address)
		} else if e.address != address {
			e = e.at(address)
		}
		e.configure(service)
		u.endpoints = append(u.endpoints, e)
		u.byState[e.state] = e
		candidate := failover.Candidate{Endpoint: e.state, Weight: address.Weight, Priority: address.Priority}
		switch {
		case e.broken != "":
		case address.Region == "" || address.Region == s.cfg.Region:
			near = append(near, candidate)
		case service.Failover && service.Direct:
			far[address.Region] = append(far[address.Region], candidate)
		}
	}
	u.near = failover.NewBalancer(policy(service.Balance), near)
	u.far = map[string]*failover.Balancer{}
	for region, candidates := range far {
		u.far[region] = failover.NewBalancer(policy(service.Balance), candidates)
	}
	u.linked = &liveRule{
		Rule: &routetable.Rule{}, own: s.metrics.unrouted, traffic: s.unrouted,
		targets: []*liveTarget{{upstream: u, timeouts: u.Timeouts, series: s.seriesOf("", u)}},
	}
	s.divide(time.Now(), u)
	return u
}

// at returns e with an address that differs only in what does not concern its
// state, such as the weight.
func (e *endpoint) at(address routetable.Address) *endpoint {
	moved := *e
	moved.address = address
	return &moved
}

func (e *endpoint) configure(service *routetable.Service) {
	e.pool.Resize(service.MaxConnections)
	e.connect.Store(int64(service.Timeouts.Connect))
	e.state.Configure(failover.Settings{Breaker: failover.BreakerConfig{
		Off: !service.Breaker, Failures: service.ConsecutiveFailures, OpenFor: service.OpenFor,
	}})
}

func policy(p routetable.BalancePolicy) failover.Policy {
	switch p {
	case routetable.RoundRobin:
		return failover.RoundRobin
	case routetable.Random:
		return failover.Random
	case routetable.ConsistentHash:
		return failover.ConsistentHash
	case routetable.EWMA:
		return failover.EWMA
	case routetable.LeastRequest:
	}
	return failover.LeastRequest
}

func (s *Server) newEndpoint(u *liveUpstream, address routetable.Address) *endpoint {
	e := &endpoint{
		state:    failover.NewEndpoint(time.Now(), address.URL, cmp.Or(address.Region, s.cfg.Region)),
		address:  address,
		tls:      u.TLS,
		protocol: u.Protocol,
		shown:    &certificates{},
		connect:  new(atomic.Int64),
		monitor:  &monitor{},
		near:     address.Region == "" || address.Region == s.cfg.Region,
	}
	if address.SRV {
		e.broken = s.discovery.Fault(address.Host)
	}
	names := discovery.NewResolver(address.Host, uint16(address.Port), s.cfg.Resolve, s.spawn)
	var secure *tls.Config
	if address.TLS {
		var err error
		if secure, err = upstreamTLS(u.TLS, address.Host, u.Protocol); err != nil {
			e.broken = err.Error()
			s.log.Error().Err(err).Str("upstream", u.Name).Str("endpoint", address.URL).Msg("endpoint left out")
		} else {
			e.shown.follow(secure)
		}
	}
	e.pool = &upstream.Pool{Pending: &u.shared.pending, Queued: &e.state.Queued}
	e.pool.Dial = s.boundedDialer(func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, names, secure) }, e.connect)
	if u.Protocol != routetable.HTTP1 {
		e.h2 = upstream.NewHTTP2Pool(e.pool.Dial, e.connect, &s.upstreams, s.spawn, h2Config(h2UpstreamWindow))
	}
	return e
}

// retire closes idle connections now, and the others when they become idle.
func (e *endpoint) retire() {
	e.pool.Retire()
	if e.h2 != nil {
		e.h2.Retire()
	}
}

// sweep closes connections that have been idle too long.
func (e *endpoint) sweep(now time.Time) {
	e.pool.Sweep(now)
	if e.h2 != nil {
		e.h2.Sweep(now)
	}
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
