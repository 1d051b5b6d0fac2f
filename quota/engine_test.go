package quota_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/quota"
)

func each(perSecond float64) func(int) float64 { return func(int) float64 { return perSecond } }

func only(node int, perSecond float64) func(int) float64 {
	return func(i int) float64 {
		if i == node {
			return perSecond
		}
		return 0
	}
}

// P1 and P2, with one home and no change of membership.
func TestNoWindowAdmitsMoreThanItsBound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(rt, "nodes")
		r := rapid.Float64Range(1, 300).Draw(rt, "rate")
		b := math.Floor(rapid.Float64Range(1, 100).Draw(rt, "burst"))
		l := rate("l", r, b)
		m := newMesh(t, n, l)
		m.loss = rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(rt, "loss")
		load := rapid.SliceOfN(rapid.Float64Range(0, 3*r), n, n).Draw(rt, "load")
		const length = 3 * time.Second
		times := m.load(length, func(i int) float64 { return load[i] }, ask(l, "acme"))
		const period, ttl = 0.1, 1.5
		for _, w := range []time.Duration{100 * ms, time.Second, length} {
			bound := r*(w.Seconds()+2*period+ttl) + 3*b + float64(n)
			if got := most(times, w); float64(got) > bound {
				rt.Errorf("%v admits %d, bound %.0f", w, got, bound)
			}
		}
		if bound := r*(length.Seconds()+ttl) + 3*b + 2*r + b; float64(len(times)) > bound {
			rt.Errorf("in all %d, bound %.0f", len(times), bound)
		}
	})
}

// P5: no message and no decision depends on what a node's clock shows.
func TestClocksDoNotMatter(t *testing.T) {
	l := rate("l", 50, 10)
	run := func(offset []time.Duration) []time.Duration {
		m := &mesh{
			tb: t, limits: []*quota.Limit{l}, rng: newRand(3), delay: newMesh(t, 1).delay,
			cut:     func(int, int) bool { return false },
			engines: make([]*quota.Engine, 3), incs: make([]uint32, 3), offset: offset, next: make([]time.Duration, 3),
			answers: make(map[quota.Ticket]quota.Decision), loss: 0.2,
		}
		for i := range m.engines {
			m.boot(i)
		}
		return m.load(6*time.Second, each(40), ask(l, "acme"))
	}
	want := run(make([]time.Duration, 3))
	if len(want) < 100 {
		t.Fatalf("only %d admitted: nothing to compare", len(want))
	}
	rapid.Check(t, func(rt *rapid.T) {
		off := rapid.Int64Range(-int64(1000*time.Hour), int64(1000*time.Hour))
		got := run([]time.Duration{time.Duration(off.Draw(rt, "a")), time.Duration(off.Draw(rt, "b")), time.Duration(off.Draw(rt, "c"))})
		if len(got) != len(want) {
			rt.Fatalf("%d admitted, %d with clocks that agree", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				rt.Fatalf("decision %d at %v, %v with clocks that agree", i, got[i], want[i])
			}
		}
	})
}

// P6: whenever a node hears nothing more, it is back to its share when its lease
// has ended.
func TestLeaseEndsAtTheNodeByItself(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(rt, "nodes")
		r := rapid.Float64Range(10, 1000).Draw(rt, "rate")
		b := math.Floor(rapid.Float64Range(1, 200).Draw(rt, "burst"))
		l := rate("l", r, b)
		m := newMesh(t, n, l)
		a := ask(l, "acme")
		node := m.stranger(a)
		load := rapid.Float64Range(r/4, 2*r).Draw(rt, "load")
		m.load(time.Duration(rapid.IntRange(50, 1500).Draw(rt, "before"))*ms, only(node, load), a)
		m.cut = func(int, int) bool { return true }
		m.load(1500*ms+10*ms, only(node, load), a)
		const after = 2 * time.Second
		late := len(m.load(after, only(node, load), a))
		if bound := max(b/float64(n), 1) + 1 + l.Isolated*r/float64(n)*after.Seconds(); float64(late) > bound {
			rt.Errorf("%d admitted in the %v after the lease, the share of one that is alone is %.1f", late, after, bound)
		}
	})
}

// P8: a node that is alone in fact, and does not know, holds itself to its share.
func TestUnansweredNodeHoldsItselfToItsShare(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(rt, "nodes")
		r := rapid.Float64Range(1, 1000).Draw(rt, "rate")
		b := math.Floor(rapid.Float64Range(1, 1000).Draw(rt, "burst"))
		l := rate("l", r, b)
		e := quota.New(0, quota.Config{Self: 1, Shards: 1})
		e.Configure(0, []*quota.Limit{l})
		others := []quota.Member{{ID: 1}}
		for i := range n - 1 {
			others = append(others, quota.Member{ID: quota.NodeID(i + 2)})
		}
		e.Members(0, others)
		secret := quota.Secret{}
		subject := rapid.SliceOf(rapid.Byte()).Draw(rt, "subject")
		a := []quota.Ask{{Limit: l, Key: secret.Key(l, subject)}}
		var out quota.Output
		admitted, own := 0, true
		const length = 5 * time.Second
		for now := time.Duration(0); now < length; now += 10 * ms {
			if d := e.Take(now, a); d.Verdict == quota.Allow {
				admitted++
			}
			e.Poll(now, &out)
			own = own && len(out.Datagrams) == 0
			for _, x := range out.Resolved {
				if x.Decision.Verdict == quota.Allow {
					admitted++
				}
			}
		}
		if own {
			return // the key's home is this node
		}
		// The home of a time when the true one is silent is the node itself, in the end.
		if bound := max(b/float64(n), 1) + 2 + 0.5*r/float64(n)*length.Seconds(); float64(admitted) > bound {
			rt.Errorf("admitted %d alone of %d nodes, bound %.1f", admitted, n, bound)
		}
	})
}

// P9: while tokens come one at a time and somebody asks, somebody gets them.
func TestScarceTokenGoesToSomebody(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 60).Draw(rt, "nodes")
		r := rapid.Float64Range(0.5, 4).Draw(rt, "rate")
		l := rate("l", r, 1)
		m := newMesh(t, n, l)
		times := m.load(4*time.Second, each(rapid.Float64Range(20, 60).Draw(rt, "demand")*r/float64(n)), ask(l, "acme"))
		last := m.now - 4*time.Second
		const ttl, hold, asked = 1500 * ms, 500 * ms, 800 * ms // the last until somebody asks, by chance
		for _, x := range append(times, m.now) {
			if x-last > ttl+hold+asked+time.Duration(float64(time.Second)/r) {
				rt.Errorf("nobody is admitted from %v to %v", last, x)
			}
			last = x
		}
	})
}

// P9, at the size where it is hardest.
func TestScarceTokenOfAHundredNodesIsUsed(t *testing.T) {
	l := rate("l", 1, 1)
	m := newMesh(t, 100, l)
	times := m.load(10*time.Second, each(0.1), ask(l, "acme"))
	if len(times) < 7 || len(times) > 12 {
		t.Errorf("%d admitted in 10 s of 1/s", len(times))
	}
}

// P10: a node that has restarted, whenever that was, is served as before.
func TestRestartChargesNothingTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := rate("l", 100, 50)
		m := newMesh(t, 3, l)
		m.delay = func(r *rand.Rand) time.Duration { return ms + time.Duration(r.IntN(100))*ms } // so that much is under way
		a := ask(l, "acme")
		node := m.stranger(a)
		m.load(time.Duration(rapid.IntRange(100, 1500).Draw(rt, "before"))*ms, only(node, 80), a)
		m.incs[node]++
		m.boot(node) // what it sent before arrives now, late
		for i := range m.engines {
			m.members(i, func(int) quota.MemberState { return quota.Alive })
		}
		times := m.load(3*time.Second, only(node, 80), a)
		if len(times) < 170 {
			rt.Errorf("%d of 240 admitted after a restart", len(times))
		}
	})
}

// P11
func TestWaitIsAnsweredInTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := rate("l", 2, 1)
		m := newMesh(t, 4, l)
		m.loss = rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(rt, "loss")
		a := ask(l, "acme")
		type held struct {
			node   int
			ticket quota.Ticket
			until  time.Duration
		}
		var waiting []held
		for range 100 {
			i := rapid.IntRange(0, 3).Draw(rt, "node")
			if d := m.take(i, a); d.Verdict == quota.Wait {
				if d.Until > m.now+500*ms {
					rt.Fatalf("waits %v", d.Until-m.now)
				}
				waiting = append(waiting, held{i, d.Ticket, d.Until})
			}
			m.run(time.Duration(rapid.IntRange(1, 40).Draw(rt, "pause")) * ms)
			for _, w := range waiting {
				if _, ok := m.answer(w.node, w.ticket); !ok && m.now > w.until+10*ms {
					rt.Fatalf("no answer %v after its time", m.now-w.until)
				}
			}
		}
		if len(waiting) == 0 {
			rt.Fatal("nothing ever waited")
		}
	})
}

func TestNothingIsTakenUnlessAllAllow(t *testing.T) {
	wide, narrow := rate("wide", 10, 100), rate("narrow", 1, 10)
	wide.Hold, narrow.Hold = 0, 0
	e, _ := lone(1, wide)
	e.Configure(0, []*quota.Limit{wide, narrow})
	asks := []quota.Ask{ask(wide, "acme"), ask(narrow, "acme")}
	allowed := 0
	for range 50 {
		if d := e.Take(0, asks); d.Verdict == quota.Allow {
			allowed++
		} else if d.Limit != narrow {
			t.Fatalf("refused by %s", d.Limit.Name)
		}
	}
	if allowed != 10 {
		t.Errorf("allowed %d, want 10", allowed)
	}
	for range 100 {
		if e.Take(0, asks[:1]).Verdict == quota.Allow {
			allowed++
		}
	}
	if allowed != 100 {
		t.Errorf("the wide limit allowed %d in all, want 100", allowed)
	}
}

func TestTheFirstRequestOfAKeyIsTold(t *testing.T) {
	l := rate("l", 100, 10)
	e, _ := lone(1, l)
	for i, want := range []bool{true, false, false} {
		if d := e.Take(0, []quota.Ask{ask(l, "acme")}); d.First != want || d.Verdict != quota.Allow {
			t.Errorf("request %d: %+v, want first %v", i, d, want)
		}
	}
	if d := e.Take(0, []quota.Ask{ask(l, "globex")}); !d.First {
		t.Errorf("another's first: %+v", d)
	}
}

// A token comes to whoever asks next, whatever the share of that node.
func TestWhoIsRefusedIsToldWhenTheMeshHasAnother(t *testing.T) {
	l := rate("l", 5.0/60, 5)
	m := newMesh(t, 5, l)
	a := ask(l, "acme")
	for i := range m.engines {
		m.spend(i, a)
	}
	for i := range m.engines {
		d := m.take(i, a)
		if d.Verdict == quota.Wait {
			m.run(time.Second)
			d, _ = m.answer(i, d.Ticket)
		}
		if d.Verdict != quota.Deny || d.RetryAfter <= 0 || d.RetryAfter > 12*time.Second {
			t.Errorf("node %d: %+v, want a refusal for 12 s at most", i, d)
		}
	}
}

func TestWhatIsLeftIsWithoutWhatWasTakenSince(t *testing.T) {
	l := rate("l", 2.0/60, 3)
	m := newMesh(t, 3, l)
	a := ask(l, "acme")
	for want := int64(2); want >= 0; want-- {
		d := m.take(m.stranger(a), a)
		if d.Verdict == quota.Wait {
			m.run(200 * ms)
			d, _ = m.answer(m.stranger(a), d.Ticket)
		}
		if d.Verdict != quota.Allow || d.Remaining != want {
			t.Errorf("%v with %d left, want %d", d.Verdict, d.Remaining, want)
		}
	}
}

func TestOneKeyAskedTwiceCountsTwice(t *testing.T) {
	l := rate("l", 1, 10)
	e, asks := lone(1, l)
	twice := []quota.Ask{asks[0], asks[0]}
	for i := range 6 {
		want := quota.Allow
		if i == 5 {
			want = quota.Deny
		}
		if d := e.Take(0, twice); (d.Verdict == quota.Allow) != (want == quota.Allow) {
			t.Fatalf("request %d: %v, want %v", i, d.Verdict, want)
		}
	}
}

func TestMoreAsksThanAllowedAreRefused(t *testing.T) {
	l := rate("l", 1000, 1000)
	e, asks := lone(quota.MaxAsks+1, l)
	if d := e.Take(0, asks); d.Verdict != quota.Deny {
		t.Errorf("%v", d.Verdict)
	}
}

// A request that waits for one limit gives back what it took of another.
func TestRefusedWaiterGivesBack(t *testing.T) {
	wide, tiny := rate("wide", 0.001, 1000), rate("tiny", 0.001, 1)
	m := newMesh(t, 3, wide, tiny)
	a, b := ask(wide, "acme"), ask(tiny, "acme")
	m.load(time.Second, only(0, 50), a) // holds a lease
	taken := 0
	for range 100 {
		d := m.take(0, a, b)
		m.run(600 * ms)
		if d.Verdict == quota.Wait {
			d, _ = m.answer(0, d.Ticket)
		}
		if d.Verdict == quota.Allow {
			taken++
		}
	}
	if taken != 1 {
		t.Fatalf("the tiny limit admitted %d", taken)
	}
	if got := len(m.load(20*time.Second, only(0, 100), a)); got < 900 {
		t.Errorf("%d left of 1000 after about 50 uses", got)
	}
}

func TestCancelledWaiterIsAnsweredAndTakesNothing(t *testing.T) {
	tiny := rate("tiny", 1, 1)
	m := newMesh(t, 3, tiny)
	a := ask(tiny, "acme")
	node := m.stranger(a)
	d := m.take(node, a)
	if d.Verdict != quota.Wait {
		t.Fatalf("%v", d.Verdict)
	}
	m.engines[node].Cancel(d.Ticket)
	m.run(700 * ms)
	if got, ok := m.answer(node, d.Ticket); !ok || got.Verdict != quota.Deny {
		t.Errorf("%v %v", got.Verdict, ok)
	}
	if got := len(m.load(300*ms, only(node, 50), a)); got == 0 {
		t.Error("the token is gone with the cancelled request")
	}
}

func TestTenPerMinuteAdmitsTenAndThenOneInSixSeconds(t *testing.T) {
	l := rate("l", 10.0/60, 10)
	m := newMesh(t, 10, l)
	times := m.load(60*time.Second, each(1), ask(l, "acme"))
	if got := most(times, time.Second); got < 9 {
		t.Errorf("%d at once", got)
	}
	if len(times) < 18 || len(times) > 20 {
		t.Errorf("%d in the first minute, want 10 and 10 more", len(times))
	}
}

func TestTheAuditFindsThatALimitIsKept(t *testing.T) {
	l := rate("l", 200, 20)
	m := newMesh(t, 5, l)
	admitted := len(m.load(10*time.Second, each(80), ask(l, "acme")))
	beyond, ages := 0.0, uint64(0)
	for _, e := range m.engines {
		s := e.Stats()
		if _, ok := s.Beyond["l"]; !ok {
			t.Error("a limit that is kept is not told of")
		}
		beyond, ages = beyond+s.Beyond["l"], ages+s.Ages.Count
	}
	if beyond > 0.01*float64(admitted) || ages < 100 {
		t.Errorf("of %d admitted %.1f are called too much, by %d reports", admitted, beyond, ages)
	}
	m.change()
	if s := m.engines[0].Stats(); len(s.Beyond) > 0 {
		t.Errorf("of limits that are gone: %v", s.Beyond)
	}
}

func TestScopeNodeSendsNothing(t *testing.T) {
	l := &quota.Limit{Name: "l", Rate: 10, Burst: 5, Local: true}
	m := newMesh(t, 2, l)
	times := m.load(2*time.Second, each(100), ask(l, "acme"))
	if got := len(times); got < 46 || got > 50 {
		t.Errorf("two nodes admitted %d, want 5+20 each", got)
	}
	var out quota.Output
	for _, e := range m.engines {
		e.Poll(m.now, &out)
		if len(out.Datagrams) > 0 {
			t.Error("a local limit sends")
		}
	}
}

// A customer who has used up the day gets the difference when it is raised.
func TestALimitThatIsRaisedHasTheDifferenceAtOnce(t *testing.T) {
	day := 24 * time.Hour
	old, grown := rate("l", 100/day.Seconds(), 100), rate("l", 1000/day.Seconds(), 1000)
	m := newMesh(t, 3, old)
	if got := len(m.load(10*time.Second, each(20), ask(old, "acme"))); got != 100 {
		t.Fatalf("%d of 100 admitted", got)
	}
	m.change(grown)
	if got := len(m.load(30*time.Second, each(40), ask(grown, "acme"))); got < 895 || got > 905 {
		t.Errorf("%d admitted after it was raised, want the difference of 900", got)
	}
}

func TestALimitThatIsLoweredKeepsItsProportion(t *testing.T) {
	day := 24 * time.Hour
	old, less := rate("l", 2000/day.Seconds(), 2000), rate("l", 200/day.Seconds(), 200)
	m := newMesh(t, 3, old)
	first := len(m.load(10*time.Second, each(30), ask(old, "acme")))
	m.change(less)
	rest := len(m.load(30*time.Second, each(40), ask(less, "acme")))
	if want := 200 - first/10; rest < want-15 || rest > want+5 {
		t.Errorf("%d of 2000 taken, then %d of 200, want about %d", first, rest, want)
	}
}

// Between the home's change and that of a node that uses the key, leases of the
// larger limit come to the smaller one.
func TestALimitThatIsRaisedNodeByNodeIsNotExceeded(t *testing.T) {
	old, grown := rate("l", 10.0/60, 10), rate("l", 100, 100)
	m := newMesh(t, 3, old)
	a, b := ask(old, "acme"), ask(grown, "acme")
	m.load(5*time.Second, each(20), a)
	m.limits = []*quota.Limit{grown}
	begun, admitted := m.now, 0
	for i := range m.engines {
		m.engines[i].Configure(m.now, m.limits)
		if i < 2 {
			admitted += len(m.load(time.Second, each(20), a))
		}
	}
	admitted += len(m.load(5*time.Second, each(100), b))
	if want := 90 + 100*(m.now-begun).Seconds(); float64(admitted) > want {
		t.Errorf("%d admitted, want %.0f at most", admitted, want)
	}
}

func TestScopeNodeFollowsAChangeAtOnce(t *testing.T) {
	old := &quota.Limit{Name: "l", Rate: 0.01, Burst: 10, Local: true}
	grown := &quota.Limit{Name: "l", Rate: 0.01, Burst: 30, Local: true}
	m := newMesh(t, 1, old)
	m.load(time.Second, each(50), ask(old, "acme"))
	m.change(grown)
	if got := len(m.load(time.Second, each(50), ask(grown, "acme"))); got != 20 {
		t.Errorf("%d admitted after it was raised, want the difference of 20", got)
	}
}

func TestAKeyThatHasPlentyIsReportedSeldom(t *testing.T) {
	l := rate("l", 1000, 1000)
	m := newMesh(t, 2, l)
	a := ask(l, "acme")
	node, sent := m.stranger(a), 0
	m.load(2*time.Second, only(node, 50), a)
	m.cut = func(from, _ int) bool {
		if from == node {
			sent++
		}
		return false
	}
	if got := len(m.load(4*time.Second, only(node, 50), a)); got < 150 {
		t.Errorf("%d of about 200 admitted", got)
	}
	if sent < 4 || sent > 14 {
		t.Errorf("%d reports in 4 s, want about two a second", sent)
	}
}

func TestLeaveGivesLeasesBack(t *testing.T) {
	l := rate("l", 0.001, 100)
	m := newMesh(t, 2, l)
	a := ask(l, "acme")
	node := m.stranger(a)
	first := len(m.load(300*ms, only(node, 100), a))
	m.engines[node].Leave(m.now)
	m.poll(node)
	m.run(50 * ms)
	m.cut = func(from, to int) bool { return from == node || to == node }
	rest := len(m.load(6*time.Second, only(1-node, 100), a))
	if first+rest < 97 || first+rest > 100 {
		t.Errorf("%d and %d admitted of 100", first, rest)
	}
}

func TestOpenLimitAdmitsEverythingWhenIsolated(t *testing.T) {
	l := rate("l", 1, 1)
	l.Open = true
	m := newMesh(t, 5, l)
	m.cut = func(int, int) bool { return true }
	m.members(0, func(j int) quota.MemberState {
		if j == 0 {
			return quota.Alive
		}
		return quota.Vanished
	})
	if got := len(m.load(time.Second, only(0, 100), ask(l, "acme"))); got < 90 {
		t.Errorf("%d of 100 admitted", got)
	}
	d := m.take(0, ask(l, "acme"))
	if !d.Degraded {
		t.Error("not called degraded")
	}
}

func TestSettledHalvesAddUpToTheLimit(t *testing.T) {
	l := rate("l", 200, 20)
	m := newMesh(t, 4, l)
	a := ask(l, "acme")
	m.load(2*time.Second, each(100), a)
	side := func(i int) bool { return i < 2 }
	m.cut = func(from, to int) bool { return side(from) != side(to) }
	for i := range m.engines {
		m.members(i, func(j int) quota.MemberState {
			if side(i) == side(j) {
				return quota.Alive
			}
			return quota.Vanished
		})
	}
	m.load(4*time.Second, each(100), a)
	if got := len(m.load(10*time.Second, each(100), a)); got > 2020 || got < 1800 {
		t.Errorf("both halves admit %d in 10 s of 200/s", got)
	}
}

// Until membership sees the other half vanish, which takes longer than any lease.
func TestHalvesThatAreNotSeenToPartAddUpToTheLimit(t *testing.T) {
	l := rate("l", 200, 20)
	m := newMesh(t, 4, l)
	a := ask(l, "acme")
	m.load(2*time.Second, each(100), a)
	m.cut = func(from, to int) bool { return from/2 != to/2 }
	m.load(14*time.Second, each(150), a)
	if got := len(m.load(10*time.Second, each(150), a)); got > 2020 || got < 1000 {
		t.Errorf("both halves admit %d in 10 s of 200/s", got)
	}
}

func TestFloodOfNewKeysEvictsNoActiveOne(t *testing.T) {
	l := rate("l", 100, 100)
	e := quota.New(0, quota.Config{Self: 1, MaxKeys: 64, Shards: 1})
	e.Configure(0, []*quota.Limit{l})
	var out quota.Output
	acme, secret := []quota.Ask{ask(l, "acme")}, quota.Secret{}
	admitted := 0
	for now := time.Duration(0); now < 4*time.Second; now += ms {
		if e.Take(now, acme).Verdict == quota.Allow {
			admitted++
		}
		for j := range 5 {
			flood := []quota.Ask{{Limit: l, Key: secret.Key(l, []byte{byte(now / ms), byte(now / ms >> 8), byte(j)})}}
			e.Take(now, flood)
		}
		e.Poll(now, &out)
		if s := e.Stats(); s.Keys > 65 || s.Homes > 64 {
			t.Fatalf("%d keys, %d homes", s.Keys, s.Homes)
		}
	}
	if admitted < 450 || admitted > 510 {
		t.Errorf("the active key was admitted %d times, want 100 + 4 s of 100/s", admitted)
	}
}
