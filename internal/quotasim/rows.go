package main

import (
	"fmt"
	"strings"
)

// row is one demand on the implementation: what is asked of the worst of all
// seeds of some scenarios.
type row struct {
	demand    string
	scenarios []string
	show      func(r result) string
	met       func(r result) bool
}

// rows are the acceptance table. The last of the study's, the speed of Take, is
// BenchmarkTake of package quota.
func rows() []row {
	over := func(r result) string { return fmt.Sprintf("%.1f %% / %.1f %%", r.overShort, r.overLong) }
	total := func(r result) string { return fmt.Sprintf("%+.1f .. %+.1f %%", r.totalLow, r.totalHigh) }
	all := func(r result) string {
		return fmt.Sprintf("over %.1f / %.1f %%, total %+.1f .. %+.1f %%", r.overShort, r.overLong, r.totalLow, r.totalHigh)
	}
	refused := func(r result) string { return fmt.Sprintf("%.2f %%", r.refused) }
	recovery := func(r result) string {
		return fmt.Sprintf("over %.1f %%, under %.1f %%, %.2f s", r.overShort, r.under, r.converged)
	}
	bounded := func(r result) bool { return r.overShort <= 20 && r.overLong <= 20 && r.totalLow >= -5 }
	steady := []string{"steady-2R-N3", "steady-2R-N10", "steady-2R-N50", "steady-2R-N200"}
	skew := []string{"skew90-2R-N3", "skew90-2R-N10", "skew90-2R-N50", "skew90-2R-N200"}
	return []row{
		{"1 steady 2R, N=3..200: over 1 s <= 3 %", steady, over, func(r result) bool { return r.overShort <= 3 }},
		{"2 same: total within -2..+1 %", steady, total, func(r result) bool { return r.totalLow >= -2 && r.totalHigh <= 1 }},
		{"3 90 % skew, 2R, N=50, 10 % loss: over 10 s <= 1 %", []string{"loss10-skew-N50"}, over, func(r result) bool { return r.overLong <= 1 }},
		{"4 same, 30 % loss: over 1 s <= 3 %, total >= -2 %", []string{"loss30-skew-N50"}, all, func(r result) bool { return r.overShort <= 3 && r.totalLow >= -2 }},
		{"5 90 % skew, 2R, N=3..200: Jain >= 0.98", skew, func(r result) string { return fmt.Sprintf("%.3f", r.jain) }, func(r result) bool { return r.jain >= 0.98 }},
		{"6 steady 0.8R, N=50: refused <= 0.5 %", []string{"steady-0.8R-N50"}, refused, func(r result) bool { return r.refused <= 0.5 }},
		{"7 90 % skew 0.8R, N=50: refused <= 1.5 %", []string{"skew90-0.8R-N50"}, refused, func(r result) bool { return r.refused <= 1.5 }},
		{"8 hop 2 s, 2R, N=50: over 1 s <= 3 %, total >= -5 %, converged <= 0.8 s", []string{"hop-2R-N50"}, func(r result) string { return all(r) + fmt.Sprintf(", %.2f s", r.converged) }, func(r result) bool { return r.overShort <= 3 && r.totalLow >= -5 && r.converged <= 0.8 }},
		{"9 same, 30 % loss: over 1 s <= 5 %, total >= -8 %", []string{"loss30-hop-N50"}, all, func(r result) bool { return r.overShort <= 5 && r.totalLow >= -8 }},
		{"10 hop 2 s, 0.5R, N=50: refused <= 1.5 %", []string{"hop-0.5R-N50"}, refused, func(r result) bool { return r.refused <= 1.5 }},
		{"11 flash 0 to 10R, N=10/50/200: over 1 s <= 10 %, 10 s <= 1 %", []string{"flash-10R-N10", "flash-10R-N50", "flash-10R-N200"}, over, func(r result) bool { return r.overShort <= 10 && r.overLong <= 1 }},
		{"12 hot node crashes (90 %), N=10: over 0, under 10 s <= 25 %, converged <= 3 s", []string{"crash-skew-N10"}, recovery, func(r result) bool { return r.overShort <= 0 && r.under <= 25 && r.converged <= 3 }},
		{"13 any of 10 equal nodes crashes (the home too): under 10 s <= 25 %, converged <= 5 s", anyOf10("crash-equal"), recovery, func(r result) bool { return r.under <= 25 && r.converged <= 5 }},
		{"14 hot node joins: over 1 s <= 12 %", []string{"join-N10"}, over, func(r result) bool { return r.overShort <= 12 }},
		{"15 50/50 split 30 s and heal, equal: over 1 s <= 40 % in the 4 s around the cut only, 10 s <= 6 %, settled <= 1 %", []string{"part50-equal-N10"}, func(r result) string {
			return fmt.Sprintf("over %.1f %%, away from the cut %.1f %%, 10 s %.1f %%, settled %.1f %%", r.overShort, r.overShortAway, r.overLong, r.settled)
		}, func(r result) bool {
			return r.overShort <= 40 && r.overShortAway <= 0 && r.overLong <= 6 && r.settled <= 1
		}},
		{"the same split, seen node by node in 3 to 14 s: over 1 s <= 40 %, 10 s <= 6 %", []string{"part50-late-N10"}, all, func(r result) bool { return r.overShort <= 40 && r.overLong <= 6 }},
		{"16 one of 10 isolated 30 s: over 10 s <= 2 %, total >= -3 %", []string{"isolated1-N10"}, all, func(r result) bool { return r.overLong <= 2 && r.totalLow >= -3 }},
		{"17 WAN 30-80 ms, hop 2 s: over 1 s <= 8 %, total >= -8 %", []string{"wan80ms-hop-N50"}, all, func(r result) bool { return r.overShort <= 8 && r.totalLow >= -8 }},
		{"18 period 1 s, hop 2 s: over 10 s <= 1 %, total >= -30 %", []string{"sync1s-hop-N50"}, all, func(r result) bool { return r.overLong <= 1 && r.totalLow >= -30 }},
		{"19 R=1/s, B=1, 5x, N=10 and 50: over 10 s = 0, total >= -20 %", []string{"R1-B1-5x-N10", "R1-B1-5x-N50"}, all, func(r result) bool { return r.overShort <= 0 && r.totalLow >= -20 }},
		{"20 10/min, B=1, 6x, N=50: over 60 s = 0, total >= -5 %", []string{"R10pm-B1-6x-N50"}, all, func(r result) bool { return r.overShort <= 0 && r.totalLow >= -5 }},
		{"21 R=50k/s, B=5k, N=50, skew and flash: over 1 s <= 4 %, total >= -1 %", []string{"R50k-B5k-skew-N50", "R50k-B5k-flash-N50"}, all, func(r result) bool { return r.overShort <= 4 && r.totalLow >= -1 }},
		{"23 one saturated key: <= 3 kB/s per node, home <= 150 kB/s at N=200", steady, func(r result) string { return fmt.Sprintf("%.0f B/s, busiest %.0f B/s", r.bytes, r.bytesMost) }, func(r result) bool { return r.bytes <= 3000 && r.bytesMost <= 150e3 }},
		{"a node that nobody hears for 20 s and all believe alive, any of 10, the home too: over 1 s and 10 s <= 20 %, total >= -5 %", anyOf10("unheard"), all, bounded},
		{"such a one that hears nobody: the same", anyOf10("deaf"), all, bounded},
		{"such a one that loses half and answers 0.3 to 0.5 s late: the same", anyOf10("overloaded"), all, bounded},
		{"cost 5, 2R, N=50, and 90 % skew, N=10: over 1 s <= 3 %, total >= -5 %", []string{"cost5-2R-N50", "cost5-skew-2R-N10"}, all, func(r result) bool { return r.overShort <= 3 && r.totalLow >= -5 }},
		{"four of 10 restart, one each 5 s: over 1 s <= 3 %, total >= -2 %", []string{"restart-N10"}, all, func(r result) bool { return r.overShort <= 3 && r.totalLow >= -2 }},
		{"each of 50 uses a key 4 times a second, 2R: over 1 s <= 3 %, total >= -5 %", []string{"rare-B400-2R-N50", "rare-B1000-2R-N50"}, all, func(r result) bool { return r.overShort <= 3 && r.totalLow >= -5 }},
		{"same at 1.6 times a second, 0.8R: refused <= 0.5 %", []string{"rare-B400-0.8R-N50", "rare-B1000-0.8R-N50"}, refused, func(r result) bool { return r.refused <= 0.5 }},
		{"16 kB/s may be sent by each of 50: over 1 s <= 3 %, total >= -5 %", []string{"budget16k-N50"}, all, func(r result) bool { return r.overShort <= 3 && r.totalLow >= -5 }},
		{"homes 90 to 240 ms away, 5/s at 0.8R and 10/min at 0.5R, N=3/6/50: total >= -10 %", far(), total, func(r result) bool { return r.totalLow >= -10 }},
	}
}

// anyOf10 are the scenarios in which something befalls one node of ten.
func anyOf10(what string) (names []string) {
	for i := range 10 {
		names = append(names, fmt.Sprintf("%s-N10-%d", what, i))
	}
	return names
}

func far() (names []string) {
	for _, n := range []int{3, 6, 50} {
		names = append(names, fmt.Sprintf("far-R5-B5-0.8x-N%d", n), fmt.Sprintf("far-R10pm-B1-0.5x-N%d", n))
	}
	return names
}

// judge runs a row.
func (w row) judge(first uint64, seeds int, a func() limiter) (r result) {
	for i, name := range w.scenarios {
		if one := worstOf(named(name), first, seeds, a); i == 0 {
			r = one
		} else {
			r = r.worst(one)
		}
	}
	return r
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

// printRows prints the acceptance table.
func printRows(only string, first uint64, seeds int) {
	engine := func() limiter { return &mesh{} }
	fmt.Printf("| demand, worst of %d seeds | measured | |\n|---|---|---|\n", seeds)
	for _, w := range rows() {
		if !strings.Contains(w.demand, only) {
			continue
		}
		r := w.judge(first, seeds, engine)
		fmt.Printf("| %s | %s | %s |\n", w.demand, w.show(r), verdict(w.met(r)))
	}
	same := true
	for i := range seeds {
		same = same && clocksMatterNot(first+uint64(i))
	}
	fmt.Printf("| 22 clocks off by up to 5 s: every decision the same | identical: %v | %s |\n", same, verdict(same))
	b := tenantsTraffic(first)
	fmt.Printf("| 24 10,000 Zipf tenants, 20,000 requests/s, N=50: <= 150 kB/s per node | %.0f kB/s | %s |\n", b/1000, verdict(b <= 150e3))
}

// clocksMatterNot compares every admission of two runs that differ in the nodes'
// clocks only.
func clocksMatterNot(seed uint64) bool {
	plain, off := named("hop-2R-N50"), named("clock5s-hop-N50")
	plain.seed, off.seed = seed, seed
	return run(plain, &mesh{}) == run(off, &mesh{})
}
