package failover_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/failover"
)

const plenty = 1e6

// well is a region in good order with room for everything.
func well(name string, health float64) failover.Region {
	return failover.Region{Name: name, Access: failover.FullAccess, Health: health, Unchecked: health, Room: plenty}
}

func own(demand float64) failover.Demand { return failover.Demand{Own: demand} }

func sum(shares []float64) (total float64) {
	for _, s := range shares {
		total += s
	}
	return total
}

func TestDivideByEnvoysFormula(t *testing.T) {
	for _, tt := range []struct{ health, want []float64 }{
		{[]float64{1, 1}, []float64{1, 0}},
		{[]float64{0.72, 1}, []float64{1, 0}},
		{[]float64{0.71, 1}, []float64{0.994, 0.006}},
		{[]float64{0.5, 1}, []float64{0.7, 0.3}},
		{[]float64{0.25, 1}, []float64{0.35, 0.65}},
		{[]float64{0, 1}, []float64{0, 1}},
		{[]float64{0, 0, 1}, []float64{0, 0, 1}},
		{[]float64{0.25, 0.25, 1}, []float64{0.35, 0.35, 0.3}},
		{[]float64{0.25, 0.25, 0.2}, []float64{0.357, 0.357, 0.286}},
		{[]float64{0.1}, []float64{1}},
		{[]float64{0, 0}, []float64{0, 0}},
	} {
		var regions []failover.Region
		for i, h := range tt.health {
			regions = append(regions, well(fmt.Sprint(i), h))
		}
		got, _ := failover.Divide(start, own(100), regions, nil)
		for i, want := range tt.want {
			if math.Abs(got.Shares[i]-want) > 0.001 {
				t.Errorf("health %v: shares %.3f, want %v", tt.health, got.Shares, tt.want)
				break
			}
		}
		if dark := sum(tt.health) == 0; got.Dark != dark || got.Refused != 1-math.Ceil(sum(tt.want)) {
			t.Errorf("health %v: dark %v, refused %v", tt.health, got.Dark, got.Refused)
		}
	}
}

func TestDivideKeepsToTheRoomElsewhere(t *testing.T) {
	us, ap := well("us", 1), well("ap", 1)
	us.Room, ap.Room = 50, 20
	got, _ := failover.Divide(start, own(100), []failover.Region{well("eu", 0), us, ap}, nil)
	if !near(got.Shares, 0, 0.5, 0.2) || math.Abs(got.Refused-0.3) > 1e-9 || got.Wanted != 100 {
		t.Errorf("%+v; want what fits, and the rest refused", got)
	}
	us.Wanted, ap.Wanted = 300, 100 // others want to send there too
	got, _ = failover.Divide(start, own(100), []failover.Region{well("eu", 0), us, ap}, nil)
	if !near(got.Shares, 0, 0.125, 0.1) {
		t.Errorf("shares %v; want this node's part of the room, by what all want", got.Shares)
	}
	home := well("eu", 1)
	home.Room = 0
	if got, _ = failover.Divide(start, own(100), []failover.Region{home, us}, nil); !near(got.Shares, 1, 0) {
		t.Errorf("shares %v; room does not count at home", got.Shares)
	}
}

func near(got []float64, want ...float64) bool {
	return slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
}

// TestSendersTogetherKeepToTheRoom lets several nodes divide by what they told
// each other: together they must not send more than there is room for, nor less
// while some is refused.
func TestSendersTogetherKeepToTheRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		demands := rapid.SliceOfN(rapid.Float64Range(1, 1000), 1, 8).Draw(t, "demands")
		room := rapid.Float64Range(0, 3000).Draw(t, "room")
		sent := 0.0
		for _, d := range demands {
			us := well("us", 1)
			demand := own(d)
			us.Room, us.Wanted, demand.Siblings = room, 0, sum(demands)-d
			if rapid.Bool().Draw(t, "others are elsewhere") {
				us.Wanted, demand.Siblings = demand.Siblings, 0
			}
			got, _ := failover.Divide(start, demand, []failover.Region{well("eu", 0), us}, nil)
			sent += got.Shares[1] * d
		}
		if want := min(room, sum(demands)); math.Abs(sent-want) > 1e-6*want+1e-9 {
			t.Fatalf("%v sent of %v into a room of %v", sent, sum(demands), room)
		}
	})
}

func TestDivideAvoidsImpairedRegionsWhileAnotherServes(t *testing.T) {
	tired, gone := well("us", 1), well("sa", 1)
	tired.Access, gone.Access = failover.LastResort, failover.NoAccess
	got, _ := failover.Divide(start, own(1), []failover.Region{well("eu", 0), tired, gone, well("ap", 0.1)}, nil)
	if !near(got.Shares, 0, 0, 0, 1) {
		t.Errorf("shares %v, want all to the one in good order", got.Shares)
	}
	got, _ = failover.Divide(start, own(1), []failover.Region{well("eu", 0), tired, gone, well("ap", 0)}, nil)
	if !near(got.Shares, 0, 1, 0, 0) {
		t.Errorf("shares %v, want all to the draining one as nothing better is left", got.Shares)
	}
	got, _ = failover.Divide(start, own(1), []failover.Region{well("eu", 0), gone}, nil)
	if !near(got.Shares, 0, 0) || !got.Dark || got.Choose(1) != -1 {
		t.Errorf("%+v, want nothing to a region with no gateway", got)
	}
}

func TestChecksAloneNeverCloseTheLastRegion(t *testing.T) {
	eu, us := well("eu", 0), well("us", 0)
	eu.Unchecked = 1
	got, _ := failover.Divide(start, own(1), []failover.Region{eu, us}, nil)
	if !near(got.Shares, 1, 0) || got.Dark {
		t.Errorf("%+v, want all let through at home", got)
	}
	got, _ = failover.Divide(start, own(1), []failover.Region{eu, well("us", 1)}, nil)
	if !near(got.Shares, 0, 1) {
		t.Errorf("%+v, want all to the region whose checks pass", got)
	}
}

func TestRegionReturnsGently(t *testing.T) {
	var holds map[string]failover.Hold
	divide := func(at time.Duration, regions ...failover.Region) (s failover.Split) {
		s, holds = failover.Divide(start.Add(at), own(100), regions, holds)
		return s
	}
	divide(0, well("eu", 1), well("us", 1))
	if got := divide(time.Second, well("eu", 0), well("us", 1)); got.Shares[0] != 0 {
		t.Fatalf("a dead region keeps %v", got.Shares[0])
	}
	for at, want := 2*time.Second, 0.0; at <= 70*time.Second; at += time.Second {
		if at > 32*time.Second {
			want = min(1, (at-32*time.Second).Seconds()/30)
		}
		got := divide(at, well("eu", 1), well("us", 1))
		if math.Abs(got.Shares[0]-want) > 1e-9 || got.Held[0] != (want < 1) {
			t.Fatalf("share %.3f %v after the return, held %v; want %.3f", got.Shares[0], at-2*time.Second, got.Held[0], want)
		}
	}
}

func TestHoldDownRefusesNobody(t *testing.T) {
	var holds map[string]failover.Hold
	us := well("us", 1)
	us.Room = 40
	_, holds = failover.Divide(start, own(100), []failover.Region{well("eu", 0), us}, holds)
	got, _ := failover.Divide(start.Add(time.Second), own(100), []failover.Region{well("eu", 1), us}, holds)
	if !near(got.Shares, 0.6, 0.4) || got.Refused > 1e-9 {
		t.Errorf("%+v; want the held region to take what would be refused", got)
	}
	got, _ = failover.Divide(start.Add(time.Second), own(100), []failover.Region{well("eu", 1), well("us", 0)}, holds)
	if !near(got.Shares, 1, 0) {
		t.Errorf("%+v; want no hold-down where nobody else serves", got)
	}
}

// TestRandomHistories plays 10,000 histories of regions that fall ill and
// recover, drain and vanish, with all the laws checked at each step.
func TestRandomHistories(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for history := range 10_000 {
		var holds map[string]failover.Hold
		now := start
		for range 12 {
			now = now.Add(time.Duration(rng.IntN(40_000)) * time.Millisecond)
			regions := make([]failover.Region, 1+rng.IntN(4))
			for i := range regions {
				regions[i] = randomRegion(rng, i)
			}
			regions[0].Access = failover.FullAccess
			demand := failover.Demand{Own: rng.Float64() * 1000, Siblings: float64(rng.IntN(3)) * 500}
			s, next := failover.Divide(now, demand, regions, holds)
			if err := lawful(s, regions, demand.Own); err != nil {
				t.Fatalf("history %d: %v\n%+v\n%+v", history, err, regions, s)
			}
			if err := monotone(rng, now, s, regions, demand, holds); err != nil {
				t.Fatalf("history %d: %v\n%+v\n%+v", history, err, regions, s)
			}
			holds = next
		}
	}
}

func randomRegion(rng *rand.Rand, i int) failover.Region {
	r := failover.Region{Name: fmt.Sprint(i), Access: failover.Access(rng.IntN(3)), Room: rng.Float64() * 1000}
	if rng.IntN(3) > 0 {
		r.Health = float64(rng.IntN(11)) / 10
	}
	r.Unchecked = min(1, r.Health+float64(rng.IntN(3))/5)
	if rng.IntN(2) == 0 {
		r.Wanted = rng.Float64() * 1000
	}
	return r
}

func lawful(s failover.Split, regions []failover.Region, demand float64) error {
	const eps = 1e-9
	if total := sum(s.Shares) + s.Refused; math.Abs(total-1) > eps {
		return fmt.Errorf("shares and refusals add up to %v", total)
	}
	best := failover.NoAccess
	for _, r := range regions {
		if r.Health > 0 {
			best = max(best, r.Access)
		}
	}
	for i, r := range regions {
		switch share := s.Shares[i]; {
		case share < 0:
			return fmt.Errorf("region %d gets %v", i, share)
		case share > 0 && (r.Unchecked == 0 || r.Access == failover.NoAccess):
			return fmt.Errorf("region %d gets %v and cannot serve", i, share)
		case share > 0 && (r.Access < best || best > failover.NoAccess && r.Health == 0):
			return fmt.Errorf("region %d gets %v while another can serve better", i, share)
		case i > 0 && share*demand > r.Room+eps:
			return fmt.Errorf("region %d gets %v of %v, more than its room", i, share, demand)
		}
	}
	return nil
}

// monotone raises the health of one region, which must not lower its share.
func monotone(rng *rand.Rand, now time.Time, before failover.Split, regions []failover.Region, demand failover.Demand, holds map[string]failover.Hold) error {
	i := rng.IntN(len(regions))
	better := slices.Clone(regions)
	better[i].Health = min(1, better[i].Health+rng.Float64())
	better[i].Unchecked = max(better[i].Unchecked, better[i].Health)
	after, _ := failover.Divide(now, demand, better, holds)
	if after.Shares[i] < before.Shares[i]-1e-9 {
		return fmt.Errorf("region %d got %v, and %v when its health rose to %v", i, before.Shares[i], after.Shares[i], better[i].Health)
	}
	return nil
}

func TestChooseFollowsTheShares(t *testing.T) {
	s := failover.Split{Shares: []float64{0.3, 0, 0.1}, Refused: 0.6}
	counts := make([]int, 3)
	for word := range uint64(10_000) {
		counts[s.Choose(word)]++
	}
	if counts[1] != 0 || counts[0] < 7300 || counts[0] > 7700 {
		t.Errorf("chosen %v times, want 7500, 0, 2500", counts)
	}
}

func TestOrder(t *testing.T) {
	rtt := map[string]time.Duration{"us": 80 * time.Millisecond, "ap": 240 * time.Millisecond, "sa": 80 * time.Millisecond}
	for _, tt := range []struct {
		list, regions, want []string
	}{
		{nil, nil, []string{"eu"}},
		{nil, []string{"zz", "ap", "us", "eu", "sa", "xx"}, []string{"eu", "sa", "us", "ap", "xx", "zz"}},
		{[]string{"ap", "eu", "us", "ap"}, []string{"us", "ap", "sa"}, []string{"eu", "ap", "us"}},
	} {
		if got := failover.Order("eu", tt.list, tt.regions, rtt); !slices.Equal(got, tt.want) {
			t.Errorf("Order(%v, %v) = %v, want %v", tt.list, tt.regions, got, tt.want)
		}
	}
}

func TestGatewaysAreWeighed(t *testing.T) {
	type g = failover.Gateway
	for _, tt := range []struct {
		name     string
		gateways []g
		access   failover.Access
		want     []int
	}{
		{"none", nil, failover.NoAccess, []int{}},
		{"by weight times room", []g{{100, 50, true}, {200, 50, true}, {100, 10, true}}, failover.FullAccess, []int{500, 1000, 100}},
		{"no room anywhere", []g{{100, 0, true}, {50, 0, true}}, failover.FullAccess, []int{1000, 500}},
		{"not ready weighs nothing", []g{{100, 50, false}, {1, 0, true}}, failover.FullAccess, []int{0, 1000}},
		{"none ready", []g{{100, 50, false}, {100, 25, false}}, failover.LastResort, []int{1000, 500}},
		{"tiny beside huge", []g{{1, 1, true}, {65535, 1e6, true}}, failover.FullAccess, []int{1, 1000}},
	} {
		if got := failover.GatewayWeights(tt.gateways); !slices.Equal(got, tt.want) || failover.AccessOf(tt.gateways) != tt.access {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, failover.AccessOf(tt.gateways), tt.want, tt.access)
		}
	}
}

func TestHealthByHearsay(t *testing.T) {
	health, unchecked := failover.HealthOf([]int{100, 100, 200}, []failover.Decision{{Peers: true}, {Checks: true}, {}})
	if health != 0.5 || unchecked != 0.75 {
		t.Errorf("health %v, unchecked %v; want 0.5, 0.75", health, unchecked)
	}
	if health, unchecked = failover.HealthOf(nil, nil); health != 0 || unchecked != 0 {
		t.Errorf("health %v, %v of nothing", health, unchecked)
	}
}
