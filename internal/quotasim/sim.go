package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"
)

// slot is how finely arrivals are dealt out.
const slot = 5 * time.Millisecond

// network describes what datagrams go through.
type network struct {
	minDelay, maxDelay time.Duration // one way, uniform
	loss, dup          float64
}

// faultKind is what happens to the mesh.
type faultKind int

const (
	crash faultKind = iota
	join
	split   // the first fault.node nodes against the rest
	silence // fault.node is heard by nobody, but hears
	deafen  // it hears nobody, but is heard
	burden  // it is overloaded: half of what it is sent is lost, the rest is late
	restart // fault.node comes back at once with another incarnation
	heal
)

type fault struct {
	at   time.Duration
	kind faultKind
	node int
}

// limit is the limit under test.
type limit struct{ rate, burst float64 }

// scenario is one load on one mesh, and what befalls it.
type scenario struct {
	name   string
	nodes  int
	limit  limit
	lasts  time.Duration
	demand func(node int, t time.Duration) float64 // requests/s
	cost   int64                                   // of a request; 0 = 1
	faults []fault
	events []time.Duration // when convergence is measured from
	skew   time.Duration   // clocks are off by up to this
	net    network
	sync   time.Duration
	absent map[int]bool  // nodes that join later
	late   time.Duration // by up to this more a split is seen, node by node, by a whole side at a time
	short  time.Duration
	long   time.Duration
	noHold bool
	seed   uint64
	budget int // bytes/s per node; 0 = default
}

// limiter is an algorithm under test: it holds the states of all nodes.
type limiter interface {
	start(s *sim)
	take(node int) bool // a request arrives; later answers go to sim.admit
}

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(a, b int) bool {
	return q[a].at < q[b].at || q[a].at == q[b].at && q[a].seq < q[b].seq
}
func (q events) Swap(a, b int) { q[a], q[b] = q[b], q[a] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// sim is one run.
type sim struct {
	scenario
	now   time.Duration
	rng   *rand.Rand // of the network and of the algorithm
	queue events
	seq   uint64

	alive   []bool
	side    []int
	silent  []bool // nobody hears it
	deaf    []bool // it hears nobody
	busy    []bool // it is overloaded
	views   [][]bool
	known   [][]bool
	offset  []time.Duration
	onView  func(node int) // its view changed
	onFault func(f fault)

	bytes    []float64
	admitted []float64 // per slot
	ideal    []float64
	perNode  []float64
	offered  []float64
	bucket   float64 // of the ideal limiter
	bucketAt time.Duration
	trace    func(node int, at time.Duration)
}

// at runs do at t.
func (s *sim) at(t time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, event{t, s.seq, do})
}

// send delivers do at the receiver after a while, twice, or never. size is
// without the 28 bytes of IP and UDP.
func (s *sim) send(from, to, size int, do func()) {
	s.bytes[from] += float64(size) + 28*math.Ceil(float64(size)/1400)
	copies := 1
	if s.rng.Float64() < s.net.dup {
		copies = 2
	}
	for range copies {
		if s.rng.Float64() < s.net.loss {
			continue
		}
		delay := s.net.minDelay + time.Duration(s.rng.Float64()*float64(s.net.maxDelay-s.net.minDelay))
		if s.busy[to] {
			if s.rng.Float64() < 0.5 {
				continue
			}
			delay += 300*time.Millisecond + time.Duration(s.rng.Float64()*float64(200*time.Millisecond))
		}
		s.at(s.now+delay, func() {
			if s.alive[from] && s.alive[to] && s.side[from] == s.side[to] && !s.silent[from] && !s.deaf[to] {
				do()
			}
		})
	}
}

func (s *sim) see(node, other int, alive, known bool) {
	if s.views[node][other] != alive || s.known[node][other] != known {
		s.views[node][other], s.known[node][other] = alive, known
		if s.onView != nil {
			s.onView(node)
		}
	}
}

// detect is how long SWIM takes to declare a death; notice, to see a newcomer.
func (s *sim) detect() time.Duration {
	return 3*time.Second + time.Duration(s.rng.Float64()*float64(time.Second))
}

func (s *sim) notice() time.Duration {
	return 200*time.Millisecond + time.Duration(s.rng.Float64()*float64(600*time.Millisecond))
}

func (s *sim) strike(f fault) {
	switch f.kind {
	case crash:
		s.crash(f.node)
	case join:
		s.join(f.node)
	case split:
		s.split(f.node)
	case heal:
		s.heal()
	case silence:
		s.silent[f.node] = true
	case deafen:
		s.deaf[f.node] = true
	case burden:
		s.busy[f.node] = true
	case restart:
	}
	if s.onFault != nil {
		s.onFault(f)
	}
}

func (s *sim) crash(node int) {
	s.alive[node] = false
	for i := range s.views {
		s.at(s.now+s.detect(), func() { s.see(i, node, false, true) })
	}
}

func (s *sim) join(node int) {
	s.alive[node] = true
	for i := range s.views {
		s.at(s.now+s.notice(), func() { s.see(i, node, true, true) })
		s.see(node, i, s.alive[i], s.alive[i])
	}
}

// split parts the nodes from first on from the others.
func (s *sim) split(first int) {
	for i := range s.side {
		if i >= first {
			s.side[i] = 1
		}
	}
	late := make([]time.Duration, len(s.side)) // of those that vanish
	for i := range late {
		if s.late > 0 {
			late[i] = time.Duration(s.rng.Float64() * float64(s.late))
		}
	}
	s.eachPair(func(i, j int) {
		if s.side[i] == s.side[j] {
			return
		}
		s.at(s.now+late[j]+s.detect(), func() {
			if s.side[i] != s.side[j] {
				s.see(i, j, false, true)
			}
		})
	})
}

// heal ends a split and what ails single nodes.
func (s *sim) heal() {
	clear(s.side)
	clear(s.silent)
	clear(s.deaf)
	clear(s.busy)
	s.eachPair(func(i, j int) {
		s.at(s.now+s.notice(), func() {
			if s.alive[j] {
				s.see(i, j, true, true)
			}
		})
	})
}

func (s *sim) eachPair(do func(i, j int)) {
	for i := range s.side {
		for j := range s.side {
			do(i, j)
		}
	}
}

// admit books one admitted request of node.
func (s *sim) admit(node int) {
	if k := int(s.now / slot); k < len(s.admitted) {
		s.admitted[k] += float64(s.cost)
	}
	s.perNode[node]++
	if s.trace != nil {
		s.trace(node, s.now)
	}
}

// central is the ideal: one bucket that all nodes ask without delay.
func (s *sim) central() bool {
	s.bucket = min(s.limit.burst, s.bucket+(s.now-s.bucketAt).Seconds()*s.limit.rate)
	s.bucketAt = s.now
	if s.bucket < float64(s.cost)-1e-9 {
		return false
	}
	s.bucket -= float64(s.cost)
	return true
}

func poisson(r *rand.Rand, mean float64) int {
	if mean <= 0 {
		return 0
	}
	if mean > 30 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	l, p := math.Exp(-mean), 1.0
	for k := 0; ; k++ {
		if p *= r.Float64(); p <= l {
			return k
		}
	}
}

// run plays one scenario.
func run(sc scenario, a limiter) result {
	s := newSim(sc)
	arrivals := rand.New(rand.NewPCG(sc.seed, 0xa221))
	for i := range s.offset {
		s.offset[i] = time.Duration((arrivals.Float64()*2 - 1) * float64(sc.skew))
	}
	a.start(s)
	for _, f := range sc.faults {
		s.at(f.at, func() { s.strike(f) })
	}
	order := make([]int, s.nodes)
	for i := range order {
		order[i] = i
	}
	count := make([]int, s.nodes)
	for k := range s.admitted {
		s.advance(time.Duration(k) * slot)
		arrivals.Shuffle(len(order), func(x, y int) { order[x], order[y] = order[y], order[x] })
		left := 0
		for _, i := range order {
			count[i] = 0
			if s.alive[i] {
				count[i] = poisson(arrivals, s.demand(i, s.now)*slot.Seconds())
				left += count[i]
			}
		}
		for left > 0 {
			for _, i := range order {
				if count[i] > 0 {
					count[i]--
					left--
					s.offer(a, i, k)
				}
			}
		}
	}
	return s.measure()
}

// offer asks a, and the ideal, for one request of node in the k-th slot.
func (s *sim) offer(a limiter, node, k int) {
	s.offered[node]++
	if s.central() {
		s.ideal[k] += float64(s.cost)
	}
	if a.take(node) {
		s.admit(node)
	}
}

// advance plays the events up to t.
func (s *sim) advance(t time.Duration) {
	for len(s.queue) > 0 && s.queue[0].at <= t {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		e.do()
	}
	s.now = t
}

func newSim(sc scenario) *sim {
	if sc.sync == 0 {
		sc.sync = 100 * time.Millisecond
	}
	if sc.net.maxDelay == 0 {
		sc.net.minDelay, sc.net.maxDelay = time.Millisecond, 10*time.Millisecond
	}
	if sc.net.dup == 0 {
		sc.net.dup = 0.01
	}
	if sc.short == 0 {
		sc.short, sc.long = time.Second, 10*time.Second
	}
	sc.cost = max(sc.cost, 1)
	n := sc.nodes
	s := &sim{
		scenario: sc, rng: rand.New(rand.NewPCG(sc.seed, 0x7e7)),
		alive: make([]bool, n), side: make([]int, n), silent: make([]bool, n), deaf: make([]bool, n), busy: make([]bool, n), offset: make([]time.Duration, n),
		views: make([][]bool, n), known: make([][]bool, n),
		bytes: make([]float64, n), perNode: make([]float64, n), offered: make([]float64, n),
		admitted: make([]float64, sc.lasts/slot), ideal: make([]float64, sc.lasts/slot), bucket: sc.limit.burst,
	}
	for i := range n {
		s.alive[i] = !sc.absent[i]
	}
	for i := range n {
		s.views[i], s.known[i] = append([]bool(nil), s.alive...), append([]bool(nil), s.alive...)
	}
	return s
}
