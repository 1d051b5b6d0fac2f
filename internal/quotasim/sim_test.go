package main

import (
	"strings"
	"testing"
)

// The rows whose scenarios are quick to play, on two seeds; the whole table is
// what the command prints.
func TestQuickRowsAreMet(t *testing.T) {
	const seeds = 2
	for _, w := range rows() {
		slow := strings.Contains(w.demand, "N=3..200") || strings.Contains(w.demand, "N=10/50/200") ||
			strings.Contains(w.demand, "N=200") || strings.Contains(w.demand, "50k") || strings.Contains(w.demand, "any of 10")
		if slow {
			continue
		}
		t.Run(w.demand, func(t *testing.T) {
			if r := w.judge(1, seeds, func() limiter { return &mesh{} }); !w.met(r) {
				t.Error(w.show(r))
			}
		})
	}
}

func TestClocksOfNodesDoNotMatter(t *testing.T) {
	if !clocksMatterNot(1) {
		t.Error("clocks that are off change decisions")
	}
}

func TestSameSeedSameResult(t *testing.T) {
	sc := named("loss30-hop-N50")
	sc.seed = 5
	if a, b := run(sc, &mesh{}), run(sc, &mesh{}); a != b {
		t.Errorf("%+v\n%+v", a, b)
	}
}

// What the study left out.
func TestOtherTroubles(t *testing.T) {
	for name, least := range map[string]float64{"cost5-2R-N50": -5, "cost5-skew-2R-N10": -3, "restart-N10": -2, "budget16k-N50": -5, "oneway-N10": -5} {
		t.Run(name, func(t *testing.T) {
			sc := named(name)
			sc.seed = 1
			if r := run(sc, &mesh{}); r.overShort > 3 || r.overLong > 5 || r.totalLow < least {
				t.Errorf("over %.1f / %.1f, total %.1f", r.overShort, r.overLong, r.totalLow)
			}
		})
	}
}
