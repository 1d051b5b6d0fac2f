package failover_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// site is one node's view of an upstream in two regions: it plays requests,
// background tries and the division among regions, in virtual time.
type site struct {
	home, away *failover.Balancer
	endpoint   *failover.Endpoint // the only one at home
	up         func(now time.Time) bool
	holds      map[string]failover.Hold
	split      failover.Split
	served     [2]int
	failed     int // tries
	word       uint64
}

func newSite(up func(time.Time) bool) *site {
	all := old(2)
	return &site{
		home:     failover.NewBalancer(failover.LeastRequest, candidates(all[:1])),
		away:     failover.NewBalancer(failover.LeastRequest, candidates(all[1:])),
		endpoint: all[0],
		up:       up,
	}
}

// step plays 50 ms with requests/s as given and returns the region that most
// requests go to, 0 = home.
func (s *site) step(now time.Time, rate int) int {
	health, unchecked := s.home.Health()
	regions := []failover.Region{{Name: "eu", Access: failover.FullAccess, Health: health, Unchecked: unchecked}, well("us", 1)}
	s.split, s.holds = failover.Divide(now, own(float64(rate)), regions, s.holds)
	need := failover.NeedNone
	if s.split.Held[0] {
		need = failover.NeedHeld
	}
	if s.endpoint.TryDue(now, need) {
		s.endpoint.Tried(now, s.kind(now))
	}
	for range rate / 20 {
		s.word++
		s.request(now)
	}
	if s.split.Shares[0] >= 0.5 {
		return 0
	}
	return 1
}

func (s *site) kind(now time.Time) failover.Kind {
	if s.up(now) {
		return failover.OK
	}
	return failover.ConnectFailed
}

func (s *site) request(now time.Time) {
	if s.split.Choose(s.word) == 0 {
		if e, err := s.home.Pick(now, s.word, nil); err == nil {
			e.Begin(now)
			e.End(now, failover.Outcome{Kind: s.kind(now)})
			if s.up(now) {
				s.served[0]++
				return
			}
			s.failed++
		}
	}
	s.served[1]++
}

func TestFlappingEndpointCausesFewRegionSwitches(t *testing.T) {
	for phase := range 12 {
		t.Run(fmt.Sprint("phase=", phase), func(t *testing.T) {
			offset := time.Duration(phase) * 500 * time.Millisecond
			s := newSite(func(now time.Time) bool { return (now.Sub(start)+offset)/(3*time.Second)%2 == 0 })
			switches, last, touched := 0, 0, 0
			for now := start; now.Before(start.Add(5 * time.Minute)); now = now.Add(50 * time.Millisecond) {
				region := s.step(now, 100)
				if region != last {
					switches++
				}
				if last = region; s.split.Shares[0] > 0 && now.After(start.Add(10*time.Second)) {
					touched++
				}
			}
			if switches > 4 {
				t.Errorf("%d region switches in 5 minutes, want at most 4", switches)
			}
			if s.failed > 20 || touched > 0 {
				t.Errorf("%d tries failed, %d steps with a share for the flapping region; want it left alone", s.failed, touched)
			}
		})
	}
}

func TestRegionOutageAndReturn(t *testing.T) {
	dies, returns := start.Add(10*time.Second), start.Add(25*time.Second)
	s := newSite(func(now time.Time) bool { return now.Before(dies) || !now.Before(returns) })
	var back, full time.Time
	for now := start; now.Before(start.Add(3 * time.Minute)); now = now.Add(50 * time.Millisecond) {
		region := s.step(now, 200)
		if now.After(dies.Add(100*time.Millisecond)) && now.Before(returns) && region == 0 {
			t.Fatalf("traffic at the dead region %v after its death", now.Sub(dies))
		}
		if back.IsZero() && now.After(returns) && s.split.Shares[0] > 0 {
			back = now
		}
		if full.IsZero() && now.After(returns) && s.split.Shares[0] == 1 {
			full = now
		}
	}
	if s.failed != 5 {
		t.Errorf("%d tries failed, want the five that open the breaker", s.failed)
	}
	if back.IsZero() || full.Sub(back) < 29*time.Second || back.Sub(returns) < 30*time.Second {
		t.Errorf("back after %v, whole after %v; want hold-down and ramp", back.Sub(returns), full.Sub(returns))
	}
}

// gateway is a node of the overload drill: it serves what it is sent as a fluid,
// up to its slots, and tells its load once a second.
type gateway struct {
	region          string
	demand          float64 // of its own clients, requests/s
	slots           int
	told            failover.Load
	holds           map[string]failover.Hold
	split           failover.Split
	served, foreign float64 // requests/s in this step
}

const perRequest = 100 * time.Millisecond

func (g *gateway) capacity() float64 { return float64(g.slots) / perRequest.Seconds() }

// divide decides by what the others told.
func (g *gateway) divide(now time.Time, nodes []*gateway, health map[string]float64) {
	demand := own(g.demand)
	for _, n := range nodes {
		if n != g && n.region == g.region {
			demand.Siblings += n.told.Demand
		}
	}
	var regions []failover.Region
	for _, name := range failover.Order(g.region, []string{"us", "ap"}, nil, nil) {
		r := well(name, health[name])
		r.Room = 0
		for _, n := range nodes {
			if n.region == name {
				r.Room += n.told.Headroom + n.told.Foreign
			} else if n.region != g.region {
				r.Wanted += n.told.Wanted
			}
		}
		regions = append(regions, r)
	}
	g.split, g.holds = failover.Divide(now, demand, regions, g.holds)
	g.served, g.foreign = g.demand*g.split.Shares[0], 0
}

func (g *gateway) tell() {
	used := g.served * perRequest.Seconds()
	g.told = failover.Load{Headroom: failover.Headroom(0, 0, g.slots, used, perRequest), Foreign: g.foreign, Demand: g.demand, Wanted: g.split.Wanted}
}

// send delivers what g sends away, to the nodes of each region by their room.
func (g *gateway) send(nodes []*gateway) {
	for i, name := range failover.Order(g.region, []string{"us", "ap"}, nil, nil)[1:] {
		var there []*gateway
		var gateways []failover.Gateway
		for _, n := range nodes {
			if n.region == name {
				there = append(there, n)
				gateways = append(gateways, failover.Gateway{Weight: 100, Room: n.told.Headroom + n.told.Foreign, Ready: true})
			}
		}
		weights, total := failover.GatewayWeights(gateways), 0
		for _, w := range weights {
			total += w
		}
		for j, n := range there {
			sent := g.demand * g.split.Shares[i+1] * float64(weights[j]) / float64(total)
			n.foreign += sent
			n.served += sent
		}
	}
}

// TestOverloadedRegionsKeepTheirGoodput stops all endpoints of eu under a demand
// of 1.5 times what the others have room for, news travelling 1 s late, and
// lets them return.
func TestOverloadedRegionsKeepTheirGoodput(t *testing.T) {
	nodes := []*gateway{
		{region: "eu", demand: 900, slots: 200},
		{region: "eu", demand: 450, slots: 200},
		{region: "us", demand: 300, slots: 60},
		{region: "us", demand: 300, slots: 90},
		{region: "ap", demand: 100, slots: 20},
	}
	others := nodes[2:]
	capacity := 0.0
	for _, n := range others {
		capacity += n.capacity()
	}
	health := map[string]float64{"eu": 1, "us": 1, "ap": 1}
	for step := range 2000 { // of 100 ms
		now := start.Add(time.Duration(step) * 100 * time.Millisecond)
		switch step {
		case 100:
			health["eu"] = 0
		case 600:
			health["eu"] = 1
		}
		for _, n := range nodes {
			n.divide(now, nodes, health)
		}
		for _, n := range nodes {
			n.send(nodes)
		}
		goodput := 0.0
		for i, n := range others {
			if n.served > 1.001*n.capacity() {
				t.Fatalf("step %d: node %d is sent %.0f/s, its capacity is %.0f/s", step, i, n.served, n.capacity())
			}
			goodput += n.served
		}
		if step > 110 && step < 600 && goodput < 0.95*capacity {
			t.Fatalf("step %d: goodput %.0f/s of a capacity of %.0f/s", step, goodput, capacity)
		}
		if home := nodes[0].served + nodes[1].served; home > 1350*1.001 || step == 1999 && home < 1350*0.999 {
			t.Fatalf("step %d: eu serves %.0f/s of its own 1350/s", step, home)
		}
		if step%10 == 9 {
			for _, n := range nodes {
				n.tell()
			}
		}
	}
}
