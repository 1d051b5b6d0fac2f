package dataplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/discovery"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

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

// upstream returns the live upstream of a service. It takes over what old, which may
// be nil, has of it: everything, if the service is unchanged.
func (s *Server) upstream(service *routetable.Service, old *plan) *liveUpstream {
	addresses := s.discovery.Expand(service.Endpoints)
	var last *liveUpstream
	if old != nil {
		last = old.upstream[service.Name]
	}
	if last != nil && last.Service == service && slices.Equal(last.addresses, addresses) {
		return last
	}
	u := &liveUpstream{Service: service, addresses: addresses, elsewhere: otherRegions(service, s.cfg.Region)}
	if last != nil {
		u.shared = last.shared
	} else {
		u.shared = &upstreamState{budget: failover.NewRetryBudget(time.Now()), gateways: map[string]*regionGateways{}}
	}
	s.addEndpoints(u, last)
	u.linked = &liveRule{
		Rule: &routetable.Rule{}, own: s.metrics.unrouted, traffic: s.unrouted,
		targets: []*liveTarget{{upstream: u, timeouts: u.Timeouts, series: s.seriesOf("", u)}},
	}
	s.divide(time.Now(), u)
	return u
}

// addEndpoints makes the endpoints of u, and the balancers over them. It takes over
// those of last, which may be nil, that are unchanged.
func (s *Server) addEndpoints(u, last *liveUpstream) {
	before := map[string]*endpoint{}
	if last != nil {
		for _, e := range last.endpoints {
			before[e.address.URL] = e
		}
	}
	u.byState = map[*failover.Endpoint]*endpoint{}
	var near []failover.Candidate
	far := map[string][]failover.Candidate{}
	for _, address := range u.addresses {
		e := before[address.URL]
		if e == nil || e.tls != u.TLS || e.protocol != u.Protocol || e.address.Region != address.Region {
			e = s.newEndpoint(u, address)
		} else if e.address != address {
			e = e.at(address)
		}
		e.configure(u.Service)
		u.endpoints = append(u.endpoints, e)
		u.byState[e.state] = e
		candidate := failover.Candidate{Endpoint: e.state, Weight: address.Weight, Priority: address.Priority}
		switch {
		case e.broken != "":
		case address.Region == "" || address.Region == s.cfg.Region:
			near = append(near, candidate)
		case u.Failover && u.Direct:
			far[address.Region] = append(far[address.Region], candidate)
		}
	}
	u.near = failover.NewBalancer(policy(u.Balance), near)
	u.far = map[string]*failover.Balancer{}
	for region, candidates := range far {
		u.far[region] = failover.NewBalancer(policy(u.Balance), candidates)
	}
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

func (e *endpoint) scheme() string {
	if e.address.TLS {
		return "https"
	}
	return "http"
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
