package main

import (
	"fmt"
	"time"
)

func equal(total float64, n int) func(int, time.Duration) float64 {
	return func(int, time.Duration) float64 { return total / float64(n) }
}

// skewed has nine tenths of the load at the first node.
func skewed(total float64, n int) func(int, time.Duration) float64 {
	return func(i int, _ time.Duration) float64 {
		if i == 0 {
			return 0.9 * total
		}
		return 0.1 * total / float64(n-1)
	}
}

// hopping has all of the load at one node, another every two seconds.
func hopping(total float64, n int) func(int, time.Duration) float64 {
	return func(i int, t time.Duration) float64 {
		if int(t/(2*time.Second))*7%n == i {
			return total
		}
		return 0
	}
}

func from(start time.Duration, total float64, n int) func(int, time.Duration) float64 {
	return func(_ int, t time.Duration) float64 {
		if t < start {
			return 0
		}
		return total / float64(n)
	}
}

func every(step, end time.Duration) (ts []time.Duration) {
	for t := step; t < end; t += step {
		ts = append(ts, t)
	}
	return ts
}

// scenarios are the simulation's, by name.
func scenarios() []scenario {
	const sec = time.Second
	high := limit{1000, 100}
	hops := every(2*sec, 30*sec)
	var all []scenario
	add := func(s scenario) { all = append(all, s) }
	for _, n := range []int{3, 10, 50, 200} {
		add(scenario{name: fmt.Sprintf("steady-2R-N%d", n), nodes: n, limit: high, lasts: 30 * sec, demand: equal(2000, n), events: []time.Duration{0}})
		add(scenario{name: fmt.Sprintf("skew90-2R-N%d", n), nodes: n, limit: high, lasts: 30 * sec, demand: skewed(2000, n), events: []time.Duration{0}})
	}
	add(scenario{name: "steady-0.8R-N50", nodes: 50, limit: high, lasts: 30 * sec, demand: equal(800, 50)})
	add(scenario{name: "skew90-0.8R-N50", nodes: 50, limit: high, lasts: 30 * sec, demand: skewed(800, 50)})
	add(scenario{name: "hop-2R-N10", nodes: 10, limit: high, lasts: 30 * sec, demand: hopping(2000, 10), events: hops})
	add(scenario{name: "hop-2R-N50", nodes: 50, limit: high, lasts: 30 * sec, demand: hopping(2000, 50), events: hops})
	add(scenario{name: "hop-0.5R-N50", nodes: 50, limit: high, lasts: 30 * sec, demand: hopping(500, 50)})
	for _, n := range []int{10, 50, 200} {
		add(scenario{name: fmt.Sprintf("flash-10R-N%d", n), nodes: n, limit: high, lasts: 30 * sec, demand: from(5*sec, 10000, n), events: []time.Duration{5 * sec}})
	}
	add(scenario{
		name: "crash-skew-N10", nodes: 10, limit: high, lasts: 40 * sec, events: []time.Duration{10 * sec},
		demand: func(i int, t time.Duration) float64 {
			if t >= 10*sec { // the load balancer moves the dead node's load
				return 2000.0 / 9
			}
			return skewed(2000, 10)(i, t)
		},
		faults: []fault{{10 * sec, crash, 0}},
	})
	for i := range 10 {
		add(scenario{name: fmt.Sprintf("crash-equal-N10-%d", i), nodes: 10, limit: high, lasts: 40 * sec, events: []time.Duration{10 * sec}, demand: equal(2000, 10), faults: []fault{{10 * sec, crash, i}}})
	}
	add(scenario{name: "join-N10", nodes: 10, limit: high, lasts: 30 * sec, events: []time.Duration{10 * sec}, absent: map[int]bool{0: true}, demand: skewed(2000, 10), faults: []fault{{10 * sec, join, 0}}})
	parted := func(n int) []fault { return []fault{{10 * sec, split, n}, {40 * sec, heal, 0}} }
	add(scenario{name: "part50-equal-N10", nodes: 10, limit: high, lasts: 60 * sec, demand: equal(2000, 10), events: []time.Duration{40 * sec}, faults: parted(5)})
	add(scenario{name: "part50-late-N10", nodes: 10, limit: high, lasts: 60 * sec, demand: equal(2000, 10), late: 10 * sec, events: []time.Duration{40 * sec}, faults: parted(5)})
	add(scenario{name: "part50-skew-N10", nodes: 10, limit: high, lasts: 60 * sec, demand: skewed(2000, 10), events: []time.Duration{40 * sec}, faults: parted(5)})
	add(scenario{name: "isolated1-N10", nodes: 10, limit: high, lasts: 60 * sec, demand: equal(2000, 10), events: []time.Duration{40 * sec}, faults: parted(1)})
	for _, loss := range []float64{0.1, 0.3} {
		net := network{loss: loss, dup: 0.05}
		add(scenario{name: fmt.Sprintf("loss%.0f-skew-N50", loss*100), nodes: 50, limit: high, lasts: 30 * sec, demand: skewed(2000, 50), net: net, events: []time.Duration{0}})
		add(scenario{name: fmt.Sprintf("loss%.0f-hop-N50", loss*100), nodes: 50, limit: high, lasts: 30 * sec, demand: hopping(2000, 50), net: net, events: hops})
	}
	add(scenario{name: "clock5s-hop-N50", nodes: 50, limit: high, lasts: 30 * sec, demand: hopping(2000, 50), events: hops, skew: 5 * sec})
	add(scenario{name: "sync1s-steady-N50", nodes: 50, limit: high, lasts: 40 * sec, demand: equal(2000, 50), sync: sec})
	add(scenario{name: "sync1s-hop-N50", nodes: 50, limit: high, lasts: 40 * sec, demand: hopping(2000, 50), sync: sec})
	add(scenario{name: "wan80ms-hop-N50", nodes: 50, limit: high, lasts: 30 * sec, demand: hopping(2000, 50), net: network{minDelay: 30 * time.Millisecond, maxDelay: 80 * time.Millisecond}})
	for _, n := range []int{10, 50} {
		add(scenario{name: fmt.Sprintf("R1-B1-5x-N%d", n), nodes: n, limit: limit{1, 1}, lasts: 120 * sec, demand: equal(5, n), short: 10 * sec, long: 60 * sec})
	}
	add(scenario{name: "R10pm-B1-6x-N50", nodes: 50, limit: limit{1. / 6, 1}, lasts: 600 * sec, demand: equal(1, 50), short: 60 * sec, long: 300 * sec})
	add(scenario{name: "R10pm-B10-0.5x-N50", nodes: 50, limit: limit{1. / 6, 10}, lasts: 600 * sec, demand: equal(1./12, 50), short: 60 * sec, long: 300 * sec})
	add(scenario{name: "R50k-B5k-skew-N50", nodes: 50, limit: limit{50000, 5000}, lasts: 12 * sec, demand: skewed(100000, 50)})
	add(scenario{name: "R50k-B5k-flash-N50", nodes: 50, limit: limit{50000, 5000}, lasts: 12 * sec, demand: from(2*sec, 500000, 50), events: []time.Duration{2 * sec}})
	far := network{minDelay: 45 * time.Millisecond, maxDelay: 120 * time.Millisecond}
	for _, n := range []int{3, 6, 50} {
		add(scenario{name: fmt.Sprintf("far-R5-B5-0.8x-N%d", n), nodes: n, limit: limit{5, 5}, lasts: 120 * sec, demand: equal(4, n), net: far, short: 10 * sec, long: 60 * sec})
		add(scenario{name: fmt.Sprintf("far-R10pm-B1-0.5x-N%d", n), nodes: n, limit: limit{1. / 6, 1}, lasts: 1200 * sec, demand: equal(1./12, n), net: far, short: 60 * sec, long: 300 * sec})
	}
	add(scenario{name: "cost5-2R-N50", nodes: 50, limit: limit{1000, 100}, lasts: 30 * sec, demand: equal(400, 50), cost: 5})
	add(scenario{name: "cost5-skew-2R-N10", nodes: 10, limit: limit{1000, 100}, lasts: 30 * sec, demand: skewed(400, 10), cost: 5})
	add(scenario{name: "restart-N10", nodes: 10, limit: high, lasts: 40 * sec, demand: equal(2000, 10), faults: []fault{{10 * sec, restart, 0}, {15 * sec, restart, 1}, {20 * sec, restart, 2}, {25 * sec, restart, 3}}})
	for i := range 10 { // one of them is the home
		for name, kind := range map[string]faultKind{"unheard": silence, "deaf": deafen, "overloaded": burden} {
			add(scenario{name: fmt.Sprintf("%s-N10-%d", name, i), nodes: 10, limit: high, lasts: 60 * sec, demand: equal(2000, 10), faults: []fault{{10 * sec, kind, i}, {30 * sec, heal, 0}}})
		}
	}
	for _, burst := range []float64{400, 1000} { // of which each node may use some before it asks
		add(scenario{name: fmt.Sprintf("rare-B%.0f-2R-N50", burst), nodes: 50, limit: limit{100, burst}, lasts: 60 * sec, demand: equal(200, 50), long: 30 * sec})
		add(scenario{name: fmt.Sprintf("rare-B%.0f-0.8R-N50", burst), nodes: 50, limit: limit{100, burst}, lasts: 60 * sec, demand: equal(80, 50)})
	}
	add(scenario{name: "budget16k-N50", nodes: 50, limit: high, lasts: 30 * sec, demand: equal(2000, 50), budget: 16000})
	return all
}

// named finds a scenario.
func named(name string) scenario {
	for _, s := range scenarios() {
		if s.name == name {
			return s
		}
	}
	panic("no scenario " + name)
}
