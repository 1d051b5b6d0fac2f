package dataplane

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// regionGateways are the gateways of another region, as the way to an upstream
// there. To the balancer a gateway is an endpoint like others, with a breaker,
// latency and connections of its own for each upstream, so that one slow
// upstream does not count against the others.
type regionGateways struct {
	names    []string
	weights  []int
	balancer *failover.Balancer
	byState  map[*failover.Endpoint]*endpoint

	of                *liveUpstream // the upstream that the following is about
	heard             listening
	health, unchecked float64
}

// gateways returns the gateways of a region as ways to u, and the access and
// room (requests/s) that they offer together. u.shared.dividing is held.
func (s *Server) gateways(now time.Time, u *liveUpstream, mesh *Mesh, region string) (*failover.Balancer, map[*failover.Endpoint]*endpoint, failover.Access, float64) {
	var names []string
	var offers []failover.Gateway
	peers, all := mesh.View.Gateways(u.Name, region, u.idleRoom(region))
	for i, p := range peers {
		if s.cfg.Link != nil && mesh.Links[p.ID] != "" {
			names, offers = append(names, p.ID), append(offers, all[i])
		}
	}
	g := u.shared.gateways[region]
	if weights := failover.GatewayWeights(offers); g == nil || !slices.Equal(g.names, names) || !slices.Equal(g.weights, weights) || g.outdated(mesh, u) {
		g = s.newRegionGateways(now, u, g, mesh, region, names, weights)
		u.shared.gateways[region] = g
	}
	access, room := failover.AccessOf(offers), 0.0
	for _, offer := range offers {
		room += offer.Room
	}
	if health, _ := g.balancer.Health(); health == 0 {
		access = failover.NoAccess // none of them answers
	}
	return g.balancer, g.byState, access, room
}

// idleRoom is what an idle gateway of a region tells that it can take, in requests/s.
func (u *liveUpstream) idleRoom(region string) float64 {
	slots := 0
	for _, e := range u.endpoints {
		if e.address.Region == region && e.address.Weight > 0 {
			slots += u.MaxConnections
		}
	}
	return failover.Headroom(0, 0, slots, 0, 0)
}

// outdated reports whether the address or protocol of a gateway has changed.
func (g *regionGateways) outdated(mesh *Mesh, u *liveUpstream) bool {
	for _, e := range g.byState {
		if !e.reaches(mesh, u) {
			return true
		}
	}
	return false
}

// reaches reports whether e has the gateway's present address and u's protocol.
func (e *endpoint) reaches(mesh *Mesh, u *liveUpstream) bool {
	return e.address.HostPort == mesh.Links[e.gateway] && e.protocol == u.Protocol
}

// newRegionGateways makes the gateways with these names, taking over those of
// old, which may be nil, that are unchanged.
func (s *Server) newRegionGateways(now time.Time, u *liveUpstream, old *regionGateways, mesh *Mesh, region string, names []string, weights []int) *regionGateways {
	g := &regionGateways{names: names, weights: weights, byState: map[*failover.Endpoint]*endpoint{}}
	before := map[string]*endpoint{}
	if old != nil {
		for _, e := range old.byState {
			before[e.gateway] = e
		}
	}
	var candidates []failover.Candidate
	for i, name := range names {
		e := before[name]
		if e == nil || !e.reaches(mesh, u) {
			e = s.newGateway(now, u, name, mesh.Links[name], region)
		} else {
			delete(before, name)
		}
		e.pool.Resize(u.MaxConnections * max(1, len(u.endpoints)))
		g.byState[e.state] = e
		candidates = append(candidates, failover.Candidate{Endpoint: e.state, Weight: weights[i]})
	}
	for _, gone := range before {
		gone.retire()
	}
	g.balancer = failover.NewBalancer(failover.LeastRequest, candidates)
	return g
}

func (s *Server) newGateway(now time.Time, u *liveUpstream, name, addr, region string) *endpoint {
	url := "mesh://" + name
	e := &endpoint{
		state: failover.NewEndpoint(now, url, region), gateway: name,
		address: routetable.Address{URL: url, HostPort: addr, Region: region, Weight: 1},
		connect: new(atomic.Int64), monitor: &monitor{}, protocol: u.Protocol,
	}
	e.connect.Store(int64(u.Timeouts.Connect))
	e.pool = &upstream.Pool{Pending: &u.shared.pending, Queued: &e.state.Queued}
	e.pool.Dial = s.boundedDialer(func(ctx context.Context) (net.Conn, error) {
		c, err := s.dialAt(ctx, addr)
		secure := s.cfg.Link(name) // as it is now: certificates are rotated
		if err != nil || secure == nil {
			return c, err
		}
		secure.NextProtos = alpn(e.protocol)
		t := tls.Client(c, secure)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		return t, nil
	}, e.connect)
	if e.protocol != routetable.HTTP1 {
		e.h2 = upstream.NewHTTP2Pool(e.pool.Dial, e.connect, &s.upstreams, s.spawn, h2Config(h2UpstreamWindow))
	}
	return e
}

// allGateways returns the known gateways of all regions as ways to u, and the
// balancers over them.
func (u *liveUpstream) allGateways() (endpoints []*endpoint, balancers []*failover.Balancer) {
	u.shared.dividing.Lock()
	defer u.shared.dividing.Unlock()
	for _, g := range u.shared.gateways {
		balancers = append(balancers, g.balancer)
		for _, e := range g.byState {
			endpoints = append(endpoints, e)
		}
	}
	return endpoints, balancers
}

// retireGateways closes the connections to gateways: idle ones now, others when
// they become idle.
func (u *liveUpstream) retireGateways() {
	gateways, _ := u.allGateways()
	for _, e := range gateways {
		e.retire()
	}
}
