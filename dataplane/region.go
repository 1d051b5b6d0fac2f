package dataplane

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// division is how the requests for an upstream are divided among regions. It is
// made anew ten times a second, once a second in calm, and never changes.
type division struct {
	made   time.Time
	words  uint64 // of the mesh that it was made by
	calm   bool   // this region is whole and serves all
	ways   []way  // in the order of failover, this node's region first
	split  failover.Split
	refuse failover.Mix // share of each priority that nobody has room for
	slots  int          // of this region's endpoints in use
}

// way is how a region is reached.
type way struct {
	region   string
	open     bool               // it is well, and in good order
	balancer *failover.Balancer // over its endpoints or its gateways
	byState  map[*failover.Endpoint]*endpoint
}

// overtaken is the age from when a division that leads nowhere is made anew for
// a request, rather than at the next tick.
const overtaken = 10 * time.Millisecond

// settle returns the division of u as it is to be at now. In calm another would be
// the same, but for what is known of other regions.
func (s *Server) settle(now time.Time, u *upstream) *division {
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

// calmFor is how long a division holds in calm.
const calmFor = time.Second

// divide makes the division of u anew.
func (s *Server) divide(now time.Time, u *upstream) *division {
	u.shared.dividing.Lock()
	defer u.shared.dividing.Unlock()
	if d := u.division.Load(); d != nil && now.Sub(d.made) < overtaken {
		return d // another did it meanwhile
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
	if !d.split.Dark { // else endpoints that are being probed may take one
		d.refuse = failover.Refuse(d.split.Refused, rates.own)
	}
	d.calm = regions[0].Health == 1 && d.share(0) == 1
	u.division.Store(d)
	s.tellDivision(u, d.away())
	return d
}

// order returns the regions that u's requests may go to, home first.
func (u *upstream) order(home string, mesh *Mesh) []string {
	if !u.Failover {
		return []string{home}
	}
	return failover.Order(home, u.Regions, u.elsewhere, mesh.RoundTrip)
}

// way finds out how a region is and how it is reached.
func (s *Server) way(now time.Time, u *upstream, mesh *Mesh, name string) (way, failover.Region) {
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
		r.Access = access
		r.Health, r.Unchecked = s.hearsay(now, u, mesh, name)
	}
	return w, r
}

// hearsay is the health of an upstream in a region by what the nodes there say.
// u.shared.dividing is held.
func (s *Server) hearsay(now time.Time, u *upstream, mesh *Mesh, region string) (health, unchecked float64) {
	g := u.shared.gates[region]
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

// tellDivision logs where an upstream's requests begin and cease to leave the
// region.
func (s *Server) tellDivision(u *upstream, after string) {
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

// away is the first other region that gets requests; empty for none.
func (d *division) away() string {
	for i, share := range d.split.Shares {
		if i > 0 && share > 0 {
			return d.ways[i].region
		}
	}
	return ""
}

// share is what the i-th way gets of this node's requests.
func (d *division) share(i int) float64 {
	if i < len(d.split.Shares) {
		return d.split.Shares[i]
	}
	return 0
}

// pick chooses an endpoint that was not tried, or a gateway on the way to one. A
// request that another gateway sent on stays in this region.
func (s *Server) pick(x *Exchange) (*endpoint, error) {
	if e := x.pickStuck(); e != nil {
		return e, nil
	}
	u, key := x.target.upstream, x.key()
	if x.from != nil {
		state, err := u.near.Pick(time.Now(), key, x.scratch.tried)
		return u.byState[state], err
	}
	now, d := time.Now(), u.division.Load()
	e := d.pick(now, key, x.scratch.tried)
	if e == nil && now.Sub(d.made) >= overtaken {
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

// pick chooses in the region that the division draws, else in another that gets
// requests; where none does, in this node's own, for what is being probed there.
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

// elsewhere chooses in another region that is well and gets nothing yet: for a
// request that finds nobody, or whose last try would go to an endpoint which has
// just failed others too.
func (d *division) elsewhere(now time.Time, key uint64, tried []*failover.Endpoint) *endpoint {
	for i := 1; i < len(d.ways); i++ {
		if !d.ways[i].open {
			continue
		}
		if e := d.ways[i].pick(now, key, tried); e != nil {
			return e
		}
	}
	return nil
}

// hasElsewhere reports whether another region is well.
func (d *division) hasElsewhere() bool {
	return slices.ContainsFunc(d.ways[1:], func(w way) bool { return w.open })
}

// pickAgain chooses for another try. The last one leaves the region rather than
// go to an endpoint that has just failed others too, where another region is
// well.
func (s *Server) pickAgain(x *Exchange) (*endpoint, error) {
	e, err := s.pick(x)
	u := x.target.upstream
	if err != nil || x.from != nil || x.attempts+1 < u.Attempts || !e.near || !e.failing() {
		return e, err
	}
	if other := u.division.Load().elsewhere(time.Now(), x.key(), x.scratch.tried); other != nil {
		return other, nil
	}
	return e, nil
}

// failing reports whether the latest requests to e failed, with its breaker still
// closed.
func (e *endpoint) failing() bool {
	b := e.state.Breaker()
	return b.Failures > 0 && b.OpenedAt.IsZero()
}

// hasRoom reports whether u's next request of a priority may go on, where all
// regions together cannot take what is asked for: the lowest stay behind first.
func (u *upstream) hasRoom(p failover.Priority) bool {
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

// Division is how a node divides its requests for an upstream.
type Division struct {
	Upstream string
	Regions  []RegionShare // in the order of failover, the node's own first
	Refused  float64       // share that no region has room for
}

// RegionShare is the part that a region gets, in [0,1].
type RegionShare struct {
	Region string
	Share  float64
}

// Divisions returns how the requests for each upstream of the table are divided
// now.
func (s *Server) Divisions() []Division {
	var all []Division
	for _, u := range s.plan.Load().upstreams {
		d := u.division.Load()
		of := Division{Upstream: u.Name, Refused: d.split.Refused}
		for i, w := range d.ways {
			of.Regions = append(of.Regions, RegionShare{Region: w.region, Share: d.share(i)})
		}
		all = append(all, of)
	}
	return all
}
