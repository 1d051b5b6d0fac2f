package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// Promises with figures, each over several seeds.

func TestAPartitionWithEditsOnBothSidesIsEqualWithin5sOfHealing(t *testing.T) {
	for seed := range seeds(t, 3) {
		r := rand.New(rand.NewPCG(seed, 1))
		bubble(t, scenario{seed: seed, nodes: 3 + r.IntN(5)}, func(w *world) {
			w.edit(r)
			for len(w.cuts) == 0 {
				w.split(r)
			}
			for range 6 {
				time.Sleep(5 * time.Second)
				w.burst(r)
			}
			w.heal(r)
			w.within(5*time.Second, "all tables are equal", w.equalTables)
			w.settle()
		})
	}
}

func TestALossOfAFifthKillsNobodyIn10Minutes(t *testing.T) {
	for seed := range seeds(t, 1) {
		bubble(t, scenario{seed: seed, nodes: 6}, func(w *world) {
			w.net.Lose(0.2, 0.02)
			for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
				if err := w.noneFailed(); err != nil {
					w.story.fail("%v", err)
					return
				}
			}
		})
	}
}

// noneFailed says who believes that a node failed; that somebody was once
// believed so shows in the log, that is in the story.
func (w *world) noneFailed() error {
	for _, m := range w.machines {
		for _, member := range m.boot.node.Mesh().Members {
			if member.Status != api.MemberAlive {
				return fmt.Errorf("%s believes that %s %s", m.name, member.Node.Name, member.Status)
			}
		}
	}
	return nil
}

func TestAnApplyIsEverywhereWithin2sAtALossOfAFifth(t *testing.T) {
	for seed := range seeds(t, 1) {
		r := rand.New(rand.NewPCG(seed, 1))
		bubble(t, scenario{seed: seed, nodes: 6}, func(w *world) {
			w.net.Lose(0.2, 0.02)
			w.ledger.limit = 200
			var took []time.Duration
			for range w.ledger.limit {
				w.edit(r)
				began := time.Now()
				for w.equalTables() != nil && time.Since(began) < 20*time.Second {
					time.Sleep(time.Millisecond)
				}
				took = append(took, time.Since(began))
				time.Sleep(100 * time.Millisecond)
			}
			slices.Sort(took)
			p50, p99 := took[len(took)/2], took[len(took)*99/100-1] // two of 200 take longer
			w.story.tell("everywhere after %v p50, %v p99, %v at most", p50, p99, took[len(took)-1])
			if p99 > 2*time.Second {
				w.story.fail("p99 is %v", p99)
			}
		})
	}
}

func TestFiveKilledAtOnceAreBackWithin10s(t *testing.T) {
	for seed := range seeds(t, 3) {
		r := rand.New(rand.NewPCG(seed, 1))
		bubble(t, scenario{seed: seed, nodes: 5 + int(seed%3)}, func(w *world) {
			for range 5 {
				w.edit(r)
			}
			for _, m := range w.machines[:5] {
				m.kill(r)
			}
			time.Sleep(time.Duration(r.Int64N(int64(20 * time.Second))))
			for _, m := range w.machines[:5] {
				w.raise(m)
			}
			if w.within(10*time.Second, "all see all", w.wholeViews) {
				w.settle()
			}
		})
	}
}
