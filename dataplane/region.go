package dataplane

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// division is how the requests for an upstream are divided among regions. It is
// immutable, and replaced ten times a second, or once a second while all is well.
type division struct {
	made   time.Time
	words  uint64 // Mesh.Words when it was made
	calm   bool   // this region is whole and serves all
	ways   []way  // in the order of failover, this node's region first
	split  failover.Split
	refuse failover.Mix // share of each priority that no region has room for
	slots  int          // of this region's usable endpoints
}

// way is how a region is reached.
type way struct {
	region   string
	open     bool               // it is healthy, reachable and has room
	room     float64            // requests/s that its gateways can take, as they told; 0 where there are none in between
	balancer *failover.Balancer // over its endpoints or its gateways
	byState  map[*failover.Endpoint]*endpoint
}

// staleAfter is the age from which a division without a usable endpoint is replaced
// for a request at once, rather than at the next tick.
const staleAfter = 10 * time.Millisecond

// refreshDivision returns the division of u, replaced if it is due.
func (s *Server) refreshDivision(now time.Time, u *liveUpstream) *division {
	d := u.division.Load()
	if d == nil || !d.calm || now.Sub(d.made) >= calmFor || d.words != s.mesh.Load().Words {
		return s.divide(now, u)
	}
	if health, _ := u.near.Health(); health < 1 {
		return s.divide(now, u)
	}
	u.shared.traffic.measure(now, u.usedSlots(), u.shared.pending.Load())
	return d
}

// calmFor is how long a division holds while all is well.
const calmFor = time.Second

// divide replaces the division of u.
func (s *Server) divide(now time.Time, u *liveUpstream) *division {
	u.shared.dividing.Lock()
	defer u.shared.dividing.Unlock()
	if d := u.division.Load(); d != nil && now.Sub(d.made) < staleAfter {
		return d // another goroutine did it meanwhile
	}
	mesh, rates := s.mesh.Load(), u.shared.traffic.measure(now, u.usedSlots(), u.shared.pending.Load())
	d := &division{made: now, words: mesh.Words, slots: u.healthySlots(now)}
	var regions []failover.Region
	for _, name := range u.order(s.cfg.Region, mesh) {
		w, r := s.way(now, u, mesh, name)
		w.open = r.Access == failover.FullAccess && r.Health > 0 && r.Room > 0
		d.ways, regions = append(d.ways, w), append(regions, r)
	}
	d.split, u.shared.holds = failover.Divide(now, mesh.View.Demand(u.Name, rates.demand()), regions, u.shared.holds)
	if !d.split.Dark { // else requests may go to endpoints that are being probed
		d.refuse = failover.Refuse(d.split.Refused, rates.own)
	}
	d.calm = regions[0].Health == 1 && d.share(0) == 1
	u.division.Store(d)
	s.logFailover(u, d.failoverRegion())
	return d
}

// order returns the regions that u's requests may go to, home first.
func (u *liveUpstream) order(home string, mesh *Mesh) []string {
	if !u.Failover {
		return []string{home}
	}
	return failover.Order(home, u.Regions, u.elsewhere, mesh.RoundTrip)
}

// way returns the way to a region, and the state of the region.
func (s *Server) way(now time.Time, u *liveUpstream, mesh *Mesh, name string) (way, failover.Region) {
	r := mesh.View.Region(u.Name, name, u.Direct)
	w := way{region: name, byState: u.byState}
	switch {
	case name == s.cfg.Region:
		w.balancer = u.near
		r.Health, r.Unchecked = w.balancer.Health()
	case u.Direct:
		if w.balancer = u.far[name]; w.balancer != nil {
			r.Health, r.Unchecked = w.balancer.Health()
		}
	default:
		var access failover.Access
		w.balancer, w.byState, access, r.Room = s.gateways(now, u, mesh, name)
		r.Access, w.room = access, r.Room
		r.Health, r.Unchecked = s.reportedHealth(now, u, mesh, name)
	}
	return w, r
}

// reportedHealth returns the health of an upstream in another region, in [0,1], as
// the nodes there report it. u.shared.dividing is held.
func (s *Server) reportedHealth(now time.Time, u *liveUpstream, mesh *Mesh, region string) (health, unchecked float64) {
	g := u.shared.gateways[region]
	if !g.heard.news(now, mesh.Words, 0) && g.of == u {
		return g.health, g.unchecked
	}
	var weights []int
	var decisions []failover.Decision
	for _, e := range u.endpoints {
		if e.address.Region != region {
			continue
		}
		heard := mesh.View.Hear(now, u.Name, e.address.URL, region, u.checkInterval())
		weights, decisions = append(weights, e.address.Weight), append(decisions, heard.Decide(true))
	}
	g.of = u
	g.health, g.unchecked = failover.HealthOf(weights, decisions)
	return g.health, g.unchecked
}

// logFailover logs when requests of an upstream begin or cease to leave the region.
func (s *Server) logFailover(u *liveUpstream, after string) {
	before := u.shared.away
	u.shared.away = after
	switch {
	case before == after:
	case after != "":
		s.log.Warn().Str("upstream", u.Name).Str("from", s.cfg.Region).Str("to", after).Msg("failover began")
	default:
		s.log.Info().Str("upstream", u.Name).Str("from", s.cfg.Region).Str("to", before).Msg("failover ended")
	}
}

// failoverRegion returns the first other region that gets requests, empty for none.
func (d *division) failoverRegion() string {
	for i, share := range d.split.Shares {
		if i > 0 && share > 0 {
			return d.ways[i].region
		}
	}
	return ""
}

// share returns the share of this node's requests that the i-th way gets, in [0,1].
func (d *division) share(i int) float64 {
	if i < len(d.split.Shares) {
		return d.split.Shares[i]
	}
	return 0
}

// pick chooses an endpoint that was not tried yet, or a gateway of another region. A
// request that another gateway has forwarded stays in this region.
func (s *Server) pick(x *Exchange) (*endpoint, error) {
	if e := x.pickSticky(); e != nil {
		return e, nil
	}
	u, key := x.target.upstream, x.key()
	if x.from != nil {
		state, err := u.near.Pick(time.Now(), key, x.scratch.tried)
		return u.byState[state], err
	}
	now, d := time.Now(), u.division.Load()
	e := d.pick(now, key, x.scratch.tried)
	if e == nil && now.Sub(d.made) >= staleAfter {
		d = s.divide(now, u)
		e = d.pick(now, key, x.scratch.tried)
	}
	if e == nil {
		e = d.elsewhere(now, key, x.scratch.tried)
	}
	if e == nil {
		return nil, failover.ErrExhausted
	}
	return e, nil
}

// pick chooses in a region drawn at random by the shares, else in another that has a
// share; if none has, in this node's own, where endpoints may be probed.
func (d *division) pick(now time.Time, key uint64, tried []*failover.Endpoint) *endpoint {
	drawn := d.split.Choose(rand.Uint64())
	if drawn >= 0 {
		if e := d.ways[drawn].pick(now, key, tried); e != nil {
			return e
		}
	}
	for i := range d.ways {
		if i == drawn || d.share(i) == 0 && (i > 0 || !d.split.Dark) {
			continue
		}
		if e := d.ways[i].pick(now, key, tried); e != nil {
			return e
		}
	}
	return nil
}

func (w *way) pick(now time.Time, key uint64, tried []*failover.Endpoint) *endpoint {
	if w.balancer == nil {
		return nil
	}
	state, err := w.balancer.Pick(now, key, tried)
	if err != nil {
		return nil
	}
	return w.byState[state]
}

// elsewhere chooses in another region that is open, even without a share: for a
// request that finds no endpoint, or whose last try would go to an endpoint that has
// just failed other requests too.
func (d *division) elsewhere(now time.Time, key uint64, tried []*failover.Endpoint) *endpoint {
	return d.besides(d.ways[0].region, now, key, tried)
}

// besides chooses in the first region that is open, even without a share, but for one.
func (d *division) besides(region string, now time.Time, key uint64, tried []*failover.Endpoint) *endpoint {
	for i := range d.ways {
		if !d.ways[i].open || d.ways[i].region == region {
			continue
		}
		if e := d.ways[i].pick(now, key, tried); e != nil {
			return e
		}
	}
	return nil
}

// hasElsewhere reports whether another region is open.
func (d *division) hasElsewhere() bool {
	return slices.ContainsFunc(d.ways[1:], func(w way) bool { return w.open })
}

// pickAgain chooses for a retry after f: of a few endpoints here the first that promises
// to do better. Where none does, the last retry goes to another region, if one is open;
// and so does the first one, if the endpoints of the region that was tried are out of
// reach of its gateway.
func (s *Server) pickAgain(x *Exchange, f *failure) (*endpoint, error) {
	if f.dark != "" {
		if e := x.target.upstream.division.Load().besides(f.dark, time.Now(), x.key(), x.scratch.tried); e != nil {
			return e, nil
		}
	}
	first, err := s.pick(x)
	if err != nil || !first.near {
		return first, err
	}
	u, now, tried := x.target.upstream, time.Now(), x.scratch.tried
	for e := first; ; {
		if x.promising(e, f) {
			return e, nil
		}
		if tried = append(tried, e.state); len(tried) > len(x.scratch.tried)+fewPicks {
			break
		}
		state, err := u.near.Pick(now, x.key(), tried)
		if err != nil {
			break
		}
		e = u.byState[state]
	}
	if x.from == nil && x.attempts+1 >= u.Attempts {
		if other := u.division.Load().elsewhere(now, x.key(), x.scratch.tried); other != nil {
			return other, nil
		}
	}
	return first, nil
}

// fewPicks is how many other endpoints a retry looks at.
const fewPicks = 3

// promising reports whether a retry after f may do better at e: it has not just failed
// other requests too, nor been as silent as the endpoint that was given up. If it was out,
// the request is its probe now.
func (x *Exchange) promising(e *endpoint, f *failure) bool {
	b := e.state.Breaker()
	silent := f.reason == routetable.RetryStalled && !e.state.AnsweredSince(time.Now().Add(-x.upstream))
	return !b.OpenedAt.IsZero() || b.Failures == 0 && !silent
}

// hasRoom reports whether a request of priority p may go on. If all regions together
// lack capacity, a share of requests may not, of the lowest priorities first.
func (u *liveUpstream) hasRoom(p failover.Priority) bool {
	refuse := u.division.Load().refuse[p]
	return refuse == 0 || !u.shared.refused[p].Says(refuse)
}

// otherRegions lists the regions of a service's endpoints other than home.
func otherRegions(service *routetable.Service, home string) []string {
	var regions []string
	for _, address := range service.Endpoints {
		if address.Region != "" && address.Region != home && !slices.Contains(regions, address.Region) {
			regions = append(regions, address.Region)
		}
	}
	return regions
}

// Division is how a node divides its requests for an upstream among regions.
type Division struct {
	Upstream string
	Regions  []RegionShare // in the order of failover, the node's own first
	Refused  float64       // share that no region has room for, in [0,1]
}

// RegionShare is the share that a region gets, in [0,1], and the requests/s that its
// gateways can take, as they told; 0 where there are none in between.
type RegionShare struct {
	Region string
	Share  float64
	Room   float64
}

// Divisions returns the present division for each upstream of the table.
func (s *Server) Divisions() []Division {
	var all []Division
	for _, u := range s.plan.Load().upstreams {
		d := u.division.Load()
		of := Division{Upstream: u.Name, Refused: d.split.Refused}
		for i, w := range d.ways {
			of.Regions = append(of.Regions, RegionShare{Region: w.region, Share: d.share(i), Room: w.room})
		}
		all = append(all, of)
	}
	return all
}
