package failover_test

import (
	"slices"
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// peer is a node that told what is given of upstream a.
func peer(id, region string, v failover.Verdict, l failover.Load) failover.Peer {
	v.Upstream, l.Upstream = "a", "a"
	return failover.Peer{
		ID: id, Region: region, Incarnation: 3, Weight: 100, Ready: true, Heard: start,
		Verdicts: failover.Verdicts{Incarnation: 3, Verdicts: []failover.Verdict{v}},
		Loads:    failover.Loads{Incarnation: 3, Loads: []failover.Load{l}},
	}
}

func TestViewHearsTheNodesOfTheRegion(t *testing.T) {
	open := failover.Verdict{URL: "u", Open: true, Reason: "reset"}
	dead := peer("d", "eu", open, failover.Load{})
	dead.Incarnation = 4
	v := failover.NewView(peer("c", "eu", failover.Verdict{}, failover.Load{}), []failover.Peer{
		peer("a", "eu", open, failover.Load{}), peer("x", "us", open, failover.Load{}), dead,
	})
	if d := v.Hear(start, "a", "u", "eu", 0).Decide(false); d.Out() {
		t.Errorf("%+v by one of eu, one of us and one incarnation that is no more; want neither out", d)
	}
	if d := v.Hear(start, "a", "u", "us", 0).Decide(false); !d.Peers {
		t.Errorf("%+v by the only node of us, want out", d)
	}
	if d := v.Hear(start, "a", "other", "us", 0).Decide(false); d.Out() {
		t.Errorf("%+v of an endpoint nobody spoke of", d)
	}
	if h := v.Hear(start, "a", "u", "ap", 0); len(h.Witnesses) != 3 || len(h.Checkers) != 3 {
		t.Errorf("%+v for a region without nodes, want those of eu", h)
	}
	for at, want := range map[time.Duration]int{2 * time.Second: 0, 4 * time.Second: 0, 5 * time.Second: 2} {
		silent := 0
		for _, w := range v.Hear(start.Add(at), "a", "u", "eu", 2*time.Second).Witnesses {
			if w.Silent {
				silent++
			}
		}
		if silent != want {
			t.Errorf("%d silent after %v, want %d: the node itself never is", silent, at, want)
		}
	}
}

func TestViewAssignsTwoCheckersAndAThirdInDoubt(t *testing.T) {
	up, down := failover.Verdict{URL: "u", Check: failover.CheckUp}, failover.Verdict{URL: "u", Check: failover.CheckDown}
	order := failover.Checkers([]string{"a", "b", "c", "d"}, "a", "u")
	for _, tt := range []struct {
		name          string
		first, second failover.Verdict
		want          []string
	}{
		{"agreed", up, up, order[:2]},
		{"disagreed", up, down, order[:3]},
	} {
		var assigned []string
		for _, self := range []string{"a", "b", "c", "d"} {
			var peers []failover.Peer
			var me failover.Peer
			for _, id := range []string{"a", "b", "c", "d"} {
				said := map[string]failover.Verdict{order[0]: tt.first, order[1]: tt.second}[id]
				if p := peer(id, "eu", said, failover.Load{}); id == self {
					me = p
				} else {
					peers = append(peers, p)
				}
			}
			if failover.NewView(me, peers).Hear(start, "a", "u", "eu", time.Second).Assigned() {
				assigned = append(assigned, self)
			}
		}
		want := slices.Sorted(slices.Values(tt.want))
		if !slices.Equal(assigned, want) {
			t.Errorf("%s: %v check, want %v", tt.name, assigned, want)
		}
	}
}

func TestViewAddsUpWhatNodesTell(t *testing.T) {
	load := failover.Load{Headroom: 100, Foreign: 10, Demand: 7, Wanted: 5}
	stale := peer("s", "us", failover.Verdict{}, load)
	stale.Loads.Incarnation = 2
	tired := peer("t", "ap", failover.Verdict{}, load)
	tired.Ready = false
	v := failover.NewView(peer("c", "eu", failover.Verdict{}, load), []failover.Peer{
		peer("b", "eu", failover.Verdict{}, load), peer("x", "us", failover.Verdict{}, load), stale, tired,
	})
	if got, want := v.Demand("a", 50), (failover.Demand{Own: 50, Siblings: 7}); got != want {
		t.Errorf("demand %+v, want %+v", got, want)
	}
	for _, tt := range []struct {
		region string
		direct bool
		want   failover.Region
	}{
		{"eu", false, failover.Region{Name: "eu", Access: failover.FullAccess, Room: 1e12, Wanted: 10}},
		{"us", false, failover.Region{Name: "us", Wanted: 5}},
		{"ap", false, failover.Region{Name: "ap", Wanted: 5}},
		{"sa", true, failover.Region{Name: "sa", Access: failover.FullAccess, Room: 1e12, Wanted: 10}},
	} {
		if got := v.Region("a", tt.region, tt.direct); got != tt.want {
			t.Errorf("%+v, want %+v", got, tt.want)
		}
	}
	if peers, gateways := v.Gateways("a", "us", 9); len(peers) != 2 || gateways[0].Room != 110 || gateways[1].Room != 0 {
		t.Errorf("gateways %+v", gateways)
	}
	if _, gateways := v.Gateways("a", "ap", 9); len(gateways) != 1 || gateways[0].Ready {
		t.Errorf("gateways %+v, want one that is not ready", gateways)
	}
	if _, gateways := v.Gateways("new", "us", 9); gateways[0].Room != 9 || gateways[1].Room != 9 {
		t.Errorf("gateways to a new upstream %+v, want the room that is assumed", gateways)
	}
}

func TestWhatHasMovedIsToldAgain(t *testing.T) {
	told := []failover.Load{{Upstream: "u", Headroom: 1000, Demand: 500}}
	for _, tt := range []struct {
		name string
		now  []failover.Load
		want bool
	}{
		{"the same", told, false},
		{"noise", []failover.Load{{Upstream: "u", Headroom: 1200, Demand: 450}}, false},
		{"less room", []failover.Load{{Upstream: "u", Headroom: 700, Demand: 500}}, true},
		{"more demand", []failover.Load{{Upstream: "u", Headroom: 1000, Demand: 700}}, true},
		{"another upstream", []failover.Load{{Upstream: "v", Headroom: 1000, Demand: 500}}, true},
		{"none", nil, true},
		{"a little for others", []failover.Load{{Upstream: "u", Headroom: 1000, Demand: 500, Foreign: 3}}, true},
		{"a little wanted of others", []failover.Load{{Upstream: "u", Headroom: 1000, Demand: 500, Wanted: 3}}, true},
		{"next to nothing of others", []failover.Load{{Upstream: "u", Headroom: 1000, Demand: 500, Wanted: 0.1}}, false},
	} {
		if got := failover.Moved(told, tt.now); got != tt.want {
			t.Errorf("%s: moved is %v, want %v", tt.name, got, tt.want)
		}
	}
}
