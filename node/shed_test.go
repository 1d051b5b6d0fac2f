package node

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

func TestOverloadRefusesTheLowestFirstAndEnds(t *testing.T) {
	var o overload
	now := time.Unix(1_700_000_000, 0)
	var arrived [failover.Priorities]uint64
	look := func(cpu float64, times int) (refuse failover.Mix) {
		for range times {
			now = now.Add(200 * time.Millisecond)
			for p := range arrived {
				arrived[p] += 20
			}
			refuse = o.observe(now, cpu, 0.8, arrived)
		}
		return refuse
	}
	if got := look(0.75, 30); got != (failover.Mix{}) {
		t.Errorf("at 75 %%: %v", got)
	}
	busy := look(0.86, 50)
	if busy[failover.Low] == 0 || busy[failover.High] != 0 || busy[failover.Critical] != 0 {
		t.Errorf("at 86 %%: %v", busy)
	}
	full := look(1, 50)
	if full != (failover.Mix{failover.Critical: 0, failover.High: 1, failover.Normal: 1, failover.Low: 1}) {
		t.Errorf("at 100 %%: %v", full)
	}
	if got := look(0.5, 50); got != (failover.Mix{}) || o.shedding.Active() {
		t.Errorf("at 50 %% again: %v", got)
	}
}

func TestNothingIsShedWhereThatIsOff(t *testing.T) {
	var o overload
	now := time.Unix(1_700_000_000, 0)
	for range 50 {
		now = now.Add(200 * time.Millisecond)
		if got := o.observe(now, 1, 0, [failover.Priorities]uint64{}); got != (failover.Mix{}) {
			t.Fatalf("refuses %v", got)
		}
	}
}
