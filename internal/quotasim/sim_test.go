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

// The models of others are what they are for: each breaks the promise that its
// way of counting cannot keep.
func TestOthersLetThroughOrRefuseMore(t *testing.T) {
	const seed = 1
	results := func(name string) map[string]result {
		all := map[string]result{}
		for _, a := range algorithms() {
			all[a.name] = worstOf(named(name), seed, 1, a.make)
		}
		return all
	}
	steady, skew, lossy := results("steady-2R-N10"), results("skew90-0.8R-N50"), results("loss30-skew-N50")
	for name, wrong := range map[string]bool{
		"each its own admits no twice the limit":  steady["each its own"].totalHigh < 90,
		"Skipper keeps the limit":                 steady["Skipper"].totalHigh < 50,
		"an N-th each serves a skewed load":       skew["an N-th each"].refused < 50,
		"Gubernator keeps the limit at 30 % loss": lossy["Gubernator"].totalHigh < 20,
		"meshgw does not":                         max(steady["meshgw"].overShort, lossy["meshgw"].overShort, skew["meshgw"].refused) > 3,
	} {
		if wrong {
			t.Error(name)
		}
	}
}
