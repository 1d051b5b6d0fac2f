package failover

import "time"

// Peer is a live node with its reports. Its Verdicts and Loads count only if
// they are of its present incarnation.
type Peer struct {
	ID          string
	Region      string
	Incarnation uint32
	Weight      int
	Ready       bool      // neither draining nor overloaded nor isolated
	Heard       time.Time // when it last said that it looks after endpoints: every second, where any are checked
	Verdicts    Verdicts
	Loads       Loads
}

// View is what a node knows of all live nodes, itself included, at one moment.
// It is immutable.
type View struct {
	self     Peer
	byRegion map[string][]Peer
	verdicts map[subject]map[string]Verdict // by node id
	loads    map[subject]Load               // url holds the node id
}

// subject is what a node tells something of.
type subject struct{ upstream, url string }

// NewView returns the view of the node self; peers are the others.
func NewView(self Peer, peers []Peer) *View {
	v := &View{self: self, byRegion: map[string][]Peer{}, verdicts: map[subject]map[string]Verdict{}, loads: map[subject]Load{}}
	v.add(self)
	for _, p := range peers {
		v.add(p)
	}
	return v
}

func (v *View) add(p Peer) {
	v.byRegion[p.Region] = append(v.byRegion[p.Region], p)
	if p.Verdicts.Incarnation == p.Incarnation {
		for _, verdict := range p.Verdicts.Verdicts {
			of := subject{verdict.Upstream, verdict.URL}
			if v.verdicts[of] == nil {
				v.verdicts[of] = map[string]Verdict{}
			}
			v.verdicts[of][p.ID] = verdict
		}
	}
	if p.Loads.Incarnation == p.Incarnation {
		for _, load := range p.Loads.Loads {
			v.loads[subject{load.Upstream, p.ID}] = load
		}
	}
}

// Hearing is the reports on an endpoint, for a decision.
type Hearing struct {
	Self      string
	Witnesses []Witness // the live nodes of its region
	Checkers  []string  // those that check it: see Checkers
}

// Hear returns the reports of a region's nodes on an endpoint of an upstream.
// interval is that of its health checks, 0 without. If the region has no live
// node, those of the node's own region check its endpoints.
func (v *View) Hear(now time.Time, upstream, url, region string, interval time.Duration) Hearing {
	nodes := v.byRegion[region]
	if len(nodes) == 0 {
		nodes = v.byRegion[v.self.Region]
	}
	h := Hearing{Self: v.self.ID}
	said := v.verdicts[subject{upstream, url}]
	var ids []string
	for _, p := range nodes {
		verdict := said[p.ID]
		h.Witnesses = append(h.Witnesses, Witness{
			ID: p.ID, Check: verdict.Check, Open: verdict.Open, Reason: verdict.Reason,
			Silent: p.ID != v.self.ID && interval > 0 && now.Sub(p.Heard) > max(2*interval, silence),
		})
		ids = append(ids, p.ID)
	}
	h.Checkers = Checkers(ids, upstream, url)
	return h
}

// silence is how long a node may be quiet whatever the interval: it speaks once a
// second, and news may be late.
const silence = 2 * time.Second

// Assigned reports whether this node has to check the endpoint now.
func (h Hearing) Assigned() bool {
	var seen [MaxCheckers]Witness
	self := -1
	for i, id := range h.Checkers {
		if id == h.Self {
			self = i
		}
		for _, w := range h.Witnesses {
			if w.ID == id {
				seen[i] = w
			}
		}
	}
	return self == 0 || self == 1 || self == 2 && ThirdNeeded(seen[0], seen[1])
}

// Decide returns the decision of the reports: see Decide.
func (h Hearing) Decide(novice bool) Decision {
	return Decide(h.Self, novice, h.Witnesses, h.Checkers)
}

// Demand returns the demand of clients in the node's region for an upstream,
// where own is that at the node itself, in requests/s.
func (v *View) Demand(upstream string, own float64) Demand {
	d := Demand{Own: own}
	for _, p := range v.byRegion[v.self.Region] {
		if p.ID != v.self.ID {
			d.Siblings += v.loads[subject{upstream, p.ID}].Demand
		}
	}
	return d
}

// Gateways returns the live nodes of another region, and each as a way to an
// upstream's endpoints there. As long as none of them has told its room, because
// the upstream is new, each is taken to have assumed, in requests/s.
func (v *View) Gateways(upstream, region string, assumed float64) ([]Peer, []Gateway) {
	peers := v.byRegion[region]
	gateways, told := make([]Gateway, len(peers)), false
	for i, p := range peers {
		load, ok := v.loads[subject{upstream, p.ID}]
		gateways[i] = Gateway{Weight: p.Weight, Room: load.Headroom + load.Foreign, Ready: p.Ready}
		told = told || ok
	}
	for i := range gateways {
		if !told {
			gateways[i].Room = assumed
		}
	}
	return peers, gateways
}

// Region returns what is known of an upstream in a region. The caller fills in
// Health and Unchecked (see Balancer.Health and HealthOf) and, where the region is
// reached through gateways, Access and Room. direct says that it is not.
func (v *View) Region(upstream, region string, direct bool) Region {
	r := Region{Name: region}
	if direct || region == v.self.Region {
		r.Access, r.Room = FullAccess, directRoom
	}
	for name, peers := range v.byRegion {
		for _, p := range peers {
			if name != region && name != v.self.Region {
				r.Wanted += v.loads[subject{upstream, p.ID}].Wanted
			}
		}
	}
	return r
}

// directRoom is the room of a region whose endpoints are reached directly: more
// than anybody wants. Their connections are bounded by the node's own slots.
const directRoom = 1e12
