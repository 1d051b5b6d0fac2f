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
	s.split, s.holds = failover.Divide(now, float64(rate), regions, s.holds)
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
