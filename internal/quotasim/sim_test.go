package main

import (
	"slices"
	"strings"
	"testing"
)

// Every row, without the scenarios that take long to play: a trouble of one node
// of ten on one seed, the others on two. The whole table is what the command prints.
func TestQuickRowsAreMet(t *testing.T) {
	slow := func(name string) bool {
		return strings.HasSuffix(name, "N200") || strings.HasPrefix(name, "crash-equal") && !strings.HasSuffix(name, "-3")
	}
	for _, w := range rows() {
		w.scenarios = slices.DeleteFunc(slices.Clone(w.scenarios), slow)
		t.Run(w.demand, func(t *testing.T) {
			seeds := 2
			if len(w.scenarios) == 10 {
				seeds = 1
			}
			if r := w.judge(1, seeds, func() limiter { return &mesh{} }); !w.met(r) {
				t.Error(w.show(r))
			}
		})
	}
}

func TestTrafficOfManyTenants(t *testing.T) {
	if b := tenantsTraffic(1); b > 150e3 || b < 1e3 {
		t.Errorf("%.0f B/s per node, want at most 150 kB/s", b)
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
