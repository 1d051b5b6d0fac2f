package dataplane

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// gates are the gateway nodes of another region, as ways to an upstream there.
// To the balancer a gateway is an endpoint like others: with a breaker, latency
// and connections of its own, for each upstream, so that a slow one does not
// stand for all.
type gates struct {
	names    []string
	weights  []int
	balancer *failover.Balancer
	byState  map[*failover.Endpoint]*endpoint

	of                *upstream // whose endpoints the following is of
	heard             listening
	health, unchecked float64
}

// gateways returns the ways to u in a region through its nodes, and what those
// offer. u.shared.dividing is held.
func (s *Server) gateways(now time.Time, u *upstream, mesh *Mesh, region string) (*failover.Balancer, map[*failover.Endpoint]*endpoint, failover.Access, float64) {
	var names []string
	var offers []failover.Gateway
	peers, all := mesh.View.Gateways(u.Name, region)
	for i, p := range peers {
		if s.cfg.Link != nil && mesh.Links[p.ID] != "" {
			names, offers = append(names, p.ID), append(offers, all[i])
		}
	}
	g := u.shared.gates[region]
	if weights := failover.GatewayWeights(offers); g == nil || !slices.Equal(g.names, names) || !slices.Equal(g.weights, weights) || g.moved(mesh, u) {
		g = s.newGates(now, u, g, mesh, region, names, weights)
		u.shared.gates[region] = g
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

// moved reports whether a gateway is reached otherwise now.
func (g *gates) moved(mesh *Mesh, u *upstream) bool {
	for _, e := range g.byState {
		if !e.reaches(mesh, u) {
			return true
		}
	}
	return false
}

// reaches reports whether e is how its gateway is reached for u.
func (e *endpoint) reaches(mesh *Mesh, u *upstream) bool {
	return e.address.HostPort == mesh.Links[e.gateway] && e.protocol == u.Protocol
}

// newGates makes gates over those of old that stay.
func (s *Server) newGates(now time.Time, u *upstream, old *gates, mesh *Mesh, region string, names []string, weights []int) *gates {
	g := &gates{names: names, weights: weights, byState: map[*failover.Endpoint]*endpoint{}}
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
		e.pool.resize(u.MaxConnections * max(1, len(u.endpoints)))
		g.byState[e.state] = e
		candidates = append(candidates, failover.Candidate{Endpoint: e.state, Weight: weights[i]})
	}
	for _, gone := range before {
		gone.retire()
	}
	g.balancer = failover.NewBalancer(failover.LeastRequest, candidates)
	return g
}

func (s *Server) newGateway(now time.Time, u *upstream, name, addr, region string) *endpoint {
	url := "mesh://" + name
	e := &endpoint{
		state: failover.NewEndpoint(now, url, region), gateway: name,
		address: routetable.Address{URL: url, HostPort: addr, Region: region, Weight: 1},
		connect: new(atomic.Int64), watched: &watched{}, protocol: u.Protocol,
	}
	e.connect.Store(int64(u.Timeouts.Connect))
	e.pool = &pool{pending: &u.shared.pending, queued: &e.state.Queued}
	e.pool.dial = s.patient(func(ctx context.Context) (net.Conn, error) {
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
		e.h2 = s.newH2Conns(e.pool.dial, e.connect)
	}
	return e
}

// allGates returns the gateways that are known as ways to u, and the balancers
// over them.
func (u *upstream) allGates() (endpoints []*endpoint, balancers []*failover.Balancer) {
	u.shared.dividing.Lock()
	defer u.shared.dividing.Unlock()
	for _, g := range u.shared.gates {
		balancers = append(balancers, g.balancer)
		for _, e := range g.byState {
			endpoints = append(endpoints, e)
		}
	}
	return endpoints, balancers
}

// retireGates closes the connections to gateways that are idle, and keeps none.
func (u *upstream) retireGates() {
	gateways, _ := u.allGates()
	for _, e := range gateways {
		e.retire()
	}
}
