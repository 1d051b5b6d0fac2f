package gossip_test

import (
	"testing"
	"time"
)

// n1 sends nothing to n2 any more; both reach n3, so that both stay alive.
func TestALinkCutOneWayIsSeenFromBothItsEnds(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := l.mesh(3)
		for _, link := range nodes[0].Reach(t.Context()) {
			if !link.Reached || link.Heard < 0 || link.Heard > time.Second {
				t.Errorf("before the cut: %+v", link)
			}
		}
		l.net.Cut(nodes[0].host, nodes[1].host)
		time.Sleep(15 * time.Second)
		for _, n := range nodes[:2] {
			if got := alive(n.Mesh); got != 3 {
				t.Errorf("%s sees %d alive", n.cfg.Name, got)
			}
		}
		first, second := nodes[0].Reach(t.Context()), nodes[1].Reach(t.Context())
		if to := first[0]; to.Name != "n2" || to.Reached || to.Heard < 0 || to.Heard > 5*time.Second {
			t.Errorf("n1 of n2: %+v, want it out of reach and heard", to)
		}
		if to := second[0]; to.Name != "n1" || to.Reached || to.Heard < 10*time.Second {
			t.Errorf("n2 of n1: %+v, want it out of reach and silent", to)
		}
		if !first[1].Reached || !second[1].Reached {
			t.Errorf("of n3: %+v and %+v", first[1], second[1])
		}
	})
}
