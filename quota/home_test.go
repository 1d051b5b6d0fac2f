package quota

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// quiet is a mesh of n nodes in which nothing happens.
func quiet(n int) *side {
	s := &side{share: 1, known: n, settled: true, period: 100 * time.Millisecond, peers: make(map[NodeID]*peer), audit: newAudit()}
	for i := range n {
		s.peers[NodeID(i+1)] = &peer{}
	}
	return s
}

// P3
func TestSidesOfAnySplitAddUpToTheLimitAtMost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 50), 1, 6).Draw(rt, "sizes")
		phi := rapid.Float64Range(0, 1).Draw(rt, "phi")
		nodes, sum := 0, 0.0
		for _, n := range sizes {
			nodes += n
		}
		for _, n := range sizes {
			sum += factor(float64(n)/float64(nodes), phi)
		}
		if sum > 1+1e-9 {
			rt.Errorf("factors add up to %v", sum)
		}
	})
}

// P4: reports come in any order, any number of times, some of them not at all.
func TestAnyOrderOfReportsChargesTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &Limit{Name: "l", Rate: 10, Burst: 1000, Isolated: 0.5}
		n := rapid.IntRange(1, 8).Draw(rt, "reports")
		count := int64(0)
		var reports []report
		for i := range n {
			count += rapid.Int64Range(0, 20).Draw(rt, "admitted")
			reports = append(reports, report{Key: 1, Seq: int64(i + 1), Born: 1, Count: count, Demand: 5, Want: 1})
		}
		order := rapid.SliceOf(rapid.IntRange(0, n-1)).Draw(rt, "order")
		at := rapid.IntRange(0, len(order)).Draw(rt, "place of the last")
		h := newHome(0, l, 0, quiet(3))
		for i, which := range append(append(order[:at:at], n-1), order[at:]...) {
			h.report(time.Duration(i)*time.Millisecond, 2, 1, &reports[which], quiet(3))
		}
		if h.charged != count {
			rt.Errorf("charged %d of %d", h.charged, count)
		}
	})
}

// P7
func TestLeasedRatesStayWithinTheBudget(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &Limit{
			Name: "l", Rate: rapid.Float64Range(0.1, 1e5).Draw(rt, "rate"), Burst: rapid.Float64Range(1, 1e5).Draw(rt, "burst"),
			Hold: HoldAuto, Isolated: 0.5,
		}
		s := quiet(10)
		h := newHome(0, l, 0, s)
		counts, seq := make(map[NodeID]int64), int64(0)
		now := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(rt, "reports") {
			now += time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(rt, "pause"))
			node := NodeID(rapid.IntRange(1, 5).Draw(rt, "node"))
			counts[node] += rapid.Int64Range(0, int64(l.Burst)).Draw(rt, "admitted")
			seq++
			r := report{
				Key: 1, Seq: seq, Born: 1, Count: counts[node], Demand: rapid.Float64Range(0, 1e6).Draw(rt, "demand"),
				Want: rapid.Int64Range(1, 100).Draw(rt, "want"), Starving: rapid.Bool().Draw(rt, "starving"), Release: rapid.Bool().Draw(rt, "release"),
			}
			g, _, ok := h.report(now, node, 1, &r, s)
			if !ok {
				rt.Fatal("refused")
			}
			if h.rates > l.Rate*(1+1e-9) {
				rt.Fatalf("leased %v/s of %v/s", h.rates, l.Rate)
			}
			if h.pool.tokens > l.Burst || h.pool.tokens < -h.debtMost(l.Rate)-epsilon || math.IsNaN(h.pool.tokens) {
				rt.Fatalf("pool %v of %v", h.pool.tokens, l.Burst)
			}
			if !r.Release && g.Tokens > l.Burst {
				rt.Fatalf("%v tokens of a burst of %v", g.Tokens, l.Burst)
			}
		}
	})
}

// P6: however long messages take, a lease has ended at its node when the home
// takes it for ended.
func TestLeaseEndsAtTheNodeBeforeItsHome(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &Limit{Name: "l", Rate: 100, Burst: 100, Hold: HoldAuto, Isolated: 0.5}
		draw := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(rt, name))
		}
		v := newView(0, map[NodeID]*peer{1: {id: 1}}, &view{period: 100 * time.Millisecond, share: 1, before: 1})
		s, far := quiet(3), &peer{id: 1}
		h := newHome(0, l, 0, s)
		sent := draw("sent")
		e := newEntry(sent, 1, l, v)
		r := e.report(sent, far)
		came := sent + draw("there")
		g, _, _ := h.report(came, 2, 1, &r, s)
		back := came + draw("back")
		e.grant(back, far, g, v)
		ends := came + leaseTTL + graceTTL
		h.sweep(ends, s)
		if h.live != 1 {
			rt.Fatal("the home takes the lease for ended before its time")
		}
		if e.fill(max(ends, back), v); e.isLeased {
			rt.Fatalf("the node, which asked at %v and heard at %v, still uses the lease that ends at %v", sent, back, ends)
		}
	})
}

// P6, at the home: it waits longer than the node.
func TestSilentLeaseCountsAsSpentOnlyAfterItsTime(t *testing.T) {
	l := &Limit{Name: "l", Rate: 100, Burst: 100, Hold: HoldAuto, Isolated: 0.5}
	s := quiet(3)
	h := newHome(0, l, 0, s)
	h.report(0, 2, 1, &report{Key: 1, Seq: 1, Born: 1, Demand: 1000, Want: 1}, s)
	h.sweep(leaseTTL+graceTTL, s)
	if h.live != 1 || h.rates == 0 {
		t.Fatalf("the lease ended early: %+v", h)
	}
	h.sweep(leaseTTL+graceTTL+1, s)
	if h.live != 0 || h.silent != 1 || h.rates != 0 {
		t.Fatalf("the lease did not end: %+v", h)
	}
	clear(s.peers)
	h.sweep(2*leaseTTL, s)
	if h.silent != 0 {
		t.Errorf("a vanished node is waited for: %+v", h)
	}
}

// P10: whenever a node restarts, and whatever of before comes late and how often,
// all that its last report of each life says is charged, and nothing twice.
func TestLatecomersOfAFormerLifeChargeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &Limit{Name: "l", Rate: 1, Burst: 1e6, Hold: HoldAuto, Isolated: 0.5}
		h := newHome(0, l, 0, quiet(3))
		var told []report // by lives
		var lives []uint32
		want, now := int64(0), time.Duration(0)
		for life := range uint32(rapid.IntRange(1, 4).Draw(rt, "lives")) {
			count := int64(0)
			for i := range rapid.IntRange(1, 5).Draw(rt, "reports") {
				count += rapid.Int64Range(0, 100).Draw(rt, "admitted")
				r := report{Key: 1, Seq: int64(i + 1), Born: int64(life + 1), Count: count, Demand: 1, Want: 1}
				now += time.Millisecond
				h.report(now, 2, life, &r, quiet(3))
				told, lives = append(told, r), append(lives, life)
				for range rapid.IntRange(0, 2).Draw(rt, "late") {
					old := rapid.IntRange(0, len(told)-1).Draw(rt, "which")
					h.report(now, 2, lives[old], &told[old], quiet(3))
				}
			}
			want += count
		}
		if h.charged != want {
			rt.Errorf("%d charged, %d admitted", h.charged, want)
		}
	})
}

func TestHigherIncarnationReplacesAndALowerIsIgnored(t *testing.T) {
	l := &Limit{Name: "l", Rate: 0.001, Burst: 100, Hold: HoldAuto, Isolated: 0.5}
	s := quiet(3)
	h := newHome(0, l, 0, s)
	h.report(0, 2, 1, &report{Key: 1, Seq: 50, Born: 1, Count: 40, Want: 1}, s)
	h.report(0, 2, 2, &report{Key: 1, Seq: 1, Born: 1, Count: 5, Want: 1}, s)
	if _, _, ok := h.report(0, 2, 1, &report{Key: 1, Seq: 60, Born: 1, Count: 60, Want: 1}, s); ok {
		t.Error("a report of a dead incarnation was answered")
	}
	if h.charged != 45 {
		t.Errorf("charged %d, want 45", h.charged)
	}
}

// The vectors of the SipHash paper's reference code.
func TestSipHash(t *testing.T) {
	var s Secret
	for i := range s {
		s[i] = byte(i)
	}
	data := []byte{}
	h := newHash(&s)
	if got := h.finish(nil, 0); got != 0x726fdb47dd0e0e31 {
		t.Errorf("%x", got)
	}
	for i := range 15 {
		data = append(data, byte(i))
	}
	h = newHash(&s)
	if got := h.finish(data, 0); got != 0xa129ca6149be45e5 {
		t.Errorf("%x", got)
	}
}

func TestEachKeyHasOneHomeAndLosesItOnlyWithIt(t *testing.T) {
	peers := make(map[NodeID]*peer)
	for i := range NodeID(10) {
		peers[i] = &peer{id: i}
	}
	v := newView(0, peers, &view{share: 1, before: 1})
	homes, load := make(map[Key]NodeID), make(map[NodeID]int)
	for k := range Key(10_000) {
		homes[k] = v.home(k, 0).id
		load[homes[k]]++
	}
	for id, n := range load {
		if n < 800 || n > 1200 {
			t.Errorf("node %d is home of %d keys of 10,000", id, n)
		}
	}
	peers[3].state = Vanished
	v = newView(0, peers, v)
	for k, was := range homes {
		if is := v.home(k, 0).id; is != was && was != 3 || is == 3 {
			t.Fatalf("key %d moved from %d to %d", k, was, is)
		}
	}
}
