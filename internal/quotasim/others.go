package main

import (
	"fmt"
	"math"
	"time"
)

// What others do about a limit of many nodes, modelled from their source and
// documentation, to be played in the same scenarios.

// every calls do each sync period until the run ends.
func (s *sim) every(do func()) {
	var again func()
	again = func() {
		do()
		if s.now < s.lasts {
			s.at(s.now+s.sync, again)
		}
	}
	s.at(s.sync, again)
}

// seen counts the nodes that node believes alive.
func (s *sim) seen(node int) (n float64) {
	for _, alive := range s.views[node] {
		if alive {
			n++
		}
	}
	return max(1, n)
}

// alone is a limiter that knows of no other node: N nodes admit N times the limit.
// Split over the nodes, each has an N-th of it, whoever the requests come to.
type alone struct {
	split   bool
	s       *sim
	buckets []bucket
}

type bucket struct {
	tokens float64
	at     time.Duration
}

func (a *alone) start(s *sim) {
	a.s, a.buckets = s, make([]bucket, s.nodes)
	for i := range a.buckets {
		_, a.buckets[i].tokens = a.part(i)
	}
}

func (a *alone) part(node int) (rate, burst float64) {
	if !a.split {
		return a.s.limit.rate, a.s.limit.burst
	}
	n := a.s.seen(node)
	return a.s.limit.rate / n, max(1, a.s.limit.burst/n)
}

func (a *alone) take(node int) bool {
	rate, burst := a.part(node)
	b, cost := &a.buckets[node], float64(a.s.cost)
	b.tokens = min(burst, b.tokens+(a.s.now-b.at).Seconds()*rate)
	b.at = a.s.now
	if b.tokens < cost-1e-9 {
		return false
	}
	b.tokens -= cost
	return true
}

// window is the limit as so many requests in so long, for those who count that way.
func (s *sim) window() (hits float64, long time.Duration) {
	long = time.Second
	if s.limit.rate < 1 {
		long = time.Minute
	}
	return max(1, math.Round(s.limit.rate*long.Seconds())), long
}

// swarm is Skipper's cluster limiter (zalando/skipper, ratelimit/swim.go): a node
// remembers its part of the last requests, tells a few peers how old the oldest
// of them is, and takes the sum of what it was told for the rate of all.
type swarm struct {
	s     *sim
	hits  float64
	long  time.Duration
	nodes []swarmNode
}

type swarmNode struct {
	times  []time.Duration       // of the last requests, the oldest first
	oldest map[int]time.Duration // by node, by the clock of that node
}

const swarmFanout = 3

func (w *swarm) start(s *sim) {
	w.s, w.nodes = s, make([]swarmNode, s.nodes)
	w.hits, w.long = s.window()
	for i := range w.nodes {
		w.nodes[i].oldest = map[int]time.Duration{}
	}
	s.every(w.gossip)
}

func (w *swarm) gossip() {
	for i := range w.nodes {
		at, ok := w.nodes[i].oldest[i]
		if !ok || !w.s.alive[i] {
			continue
		}
		for _, j := range w.s.rng.Perm(w.s.nodes)[:min(swarmFanout, w.s.nodes)] {
			if j != i && w.s.views[i][j] {
				w.s.send(i, j, 90, func() { w.nodes[j].oldest[i] = at })
			}
		}
	}
}

func (w *swarm) take(node int) bool {
	n, now := &w.nodes[node], w.s.now+w.s.offset[node]
	part := int(max(1, w.hits/max(1, float64(len(n.oldest)))))
	if over := len(n.times) - part; over > 0 {
		n.times = n.times[over:]
	}
	const never = -1000 * time.Hour
	oldest := never
	if len(n.times) == part {
		oldest = n.times[0]
	}
	if now-oldest >= w.long {
		n.times = append(n.times, now)
	}
	n.oldest[node] = oldest
	share, sum := max(1, w.hits/float64(len(n.oldest))), 0.0
	for _, at := range n.oldest {
		sum += share * float64(w.long) / max(1, float64(now-at))
	}
	return sum < w.hits
}

// owned is Gubernator's GLOBAL behaviour with token buckets (global.go and
// algorithms.go of gubernator-io/gubernator): a key has an owner; others answer
// by the last word they had from it and tell it their hits in the background.
type owned struct {
	s     *sim
	hits  float64
	long  time.Duration
	nodes []ownedNode
}

type ownedNode struct {
	left    float64
	expires time.Duration
	untold  float64 // hits that the owner does not know
	changed bool    // of the owner: to be told
}

func (o *owned) start(s *sim) {
	o.s, o.nodes = s, make([]ownedNode, s.nodes)
	o.hits, o.long = s.window()
	s.every(o.tell)
}

// owner is the first node after the middle that node believes alive, so that it
// is seldom the one with the most requests.
func (o *owned) owner(node int) int {
	for j := range o.s.nodes {
		if k := (j + o.s.nodes/2) % o.s.nodes; o.s.views[node][k] {
			return k
		}
	}
	return node
}

// hit takes n of what node believes to be left. Hits that were told drain what
// there is even if it is too little.
func (o *owned) hit(node int, n float64, told bool) bool {
	here, now := &o.nodes[node], o.s.now+o.s.offset[node]
	if now >= here.expires {
		here.left, here.expires = o.hits, now+o.long
	}
	if n > here.left {
		if told {
			here.left = 0
		}
		return false
	}
	here.left -= n
	return true
}

func (o *owned) take(node int) bool {
	if o.owner(node) == node {
		o.nodes[node].changed = true
	} else {
		o.nodes[node].untold += float64(o.s.cost)
	}
	return o.hit(node, float64(o.s.cost), false)
}

func (o *owned) tell() {
	for i := range o.nodes {
		here, owner := &o.nodes[i], o.owner(i)
		switch {
		case !o.s.alive[i]:
		case owner != i && here.untold > 0:
			hits := here.untold
			here.untold = 0
			o.s.send(i, owner, 60, func() { o.hit(owner, hits, true); o.nodes[owner].changed = true })
		case owner == i && here.changed:
			here.changed = false
			left, expires := math.Floor(here.left), here.expires
			for j := range o.nodes {
				if j != i && o.s.views[i][j] {
					o.s.send(i, j, 70, func() { o.nodes[j].left, o.nodes[j].expires = left, expires })
				}
			}
		}
	}
}

// algorithms are all of them, ours first.
func algorithms() []algorithm {
	return []algorithm{
		{"meshgw", func() limiter { return &mesh{} }},
		{"Skipper", func() limiter { return &swarm{} }},
		{"Gubernator", func() limiter { return &owned{} }},
		{"an N-th each", func() limiter { return &alone{split: true} }},
		{"each its own", func() limiter { return &alone{} }},
	}
}

type algorithm struct {
	name string
	make func() limiter
}

// compared are the scenarios that tell the algorithms apart.
func compared() []string {
	return []string{
		"steady-0.8R-N50", "steady-2R-N10", "steady-2R-N50", "skew90-0.8R-N50", "skew90-2R-N50", "hop-2R-N50", "flash-10R-N50",
		"crash-skew-N10", "join-N10", "part50-equal-N10", "isolated1-N10", "loss30-skew-N50", "clock5s-hop-N50", "wan80ms-hop-N50", "R1-B1-5x-N10",
	}
}

// printCompared prints what each algorithm admits beyond the limit, in the worst
// second and ten seconds, and in all against an ideal limiter.
func printCompared(first uint64, seeds int) {
	fmt.Print("| over 1 s % / over 10 s % / total % |")
	for _, r := range algorithms() {
		fmt.Printf(" %s |", r.name)
	}
	fmt.Println("\n|---|--:|--:|--:|--:|--:|")
	for _, name := range compared() {
		fmt.Printf("| %s |", name)
		for _, a := range algorithms() {
			r := worstOf(named(name), first, seeds, a.make)
			total := r.totalHigh
			if -r.totalLow > total {
				total = r.totalLow
			}
			fmt.Printf(" %.0f / %.0f / %+.0f |", r.overShort, r.overLong, total)
		}
		fmt.Println()
	}
}
