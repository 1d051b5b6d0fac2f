package quota_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/quota"
)

func slots(n int64) *quota.Limit {
	return &quota.Limit{Name: "l", Slots: n, Hold: quota.HoldAuto, Isolated: 0.5}
}

// grab takes a slot of node i, waiting for it if need be.
func (m *mesh) grab(i int, a quota.Ask) bool {
	d := m.take(i, a)
	if d.Verdict == quota.Wait {
		for m.now <= d.Until+10*ms {
			m.step()
			if got, ok := m.answer(i, d.Ticket); ok {
				return got.Verdict == quota.Allow
			}
		}
		m.tb.Fatal("no answer")
	}
	return d.Verdict == quota.Allow
}

// fill takes n slots at node i, patiently.
func (m *mesh) fill(i int, a quota.Ask, n int) {
	m.tb.Helper()
	for range 100 {
		if n > 0 && m.grab(i, a) {
			n--
		}
		m.run(10 * ms)
	}
	if n > 0 {
		m.tb.Fatalf("%d slots short", n)
	}
}

func (m *mesh) free(i int, a quota.Ask) {
	if m.engines[i].Release([]quota.Ask{a}) {
		m.poll(i)
	}
}

func TestSlotsInUseNeverExceedTheLimit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.Int64Range(1, 30).Draw(rt, "slots")
		l := slots(n)
		m := newMesh(t, rapid.IntRange(1, 4).Draw(rt, "nodes"), l)
		m.loss = rapid.SampledFrom([]float64{0, 0.3}).Draw(rt, "loss")
		a := ask(l, "acme")
		used := make([]int, len(m.engines))
		var total, peak int64
		for range 150 {
			i := rapid.IntRange(0, len(m.engines)-1).Draw(rt, "node")
			if used[i] > 0 && rapid.IntRange(0, 2).Draw(rt, "free") == 0 {
				m.free(i, a)
				used[i]--
				total--
			} else if m.grab(i, a) {
				used[i]++
				total++
			}
			peak = max(peak, total)
			m.run(time.Duration(rapid.IntRange(0, 30).Draw(rt, "pause")) * ms)
		}
		// Without a lease a node has its part of what an isolated one may use.
		if extra := n / 2; peak > n+extra {
			rt.Errorf("%d in flight of %d", peak, n)
		}
		if m.loss == 0 && peak > n {
			rt.Errorf("%d in flight of %d without loss", peak, n)
		}
	})
}

func TestSlotsFollowTheLoad(t *testing.T) {
	l := slots(20)
	m := newMesh(t, 3, l)
	a := ask(l, "acme")
	for i := range m.engines {
		got := 0
		for range 100 {
			if m.grab(i, a) {
				got++
			}
			m.run(5 * ms)
		}
		if got != 20 {
			t.Errorf("node %d got %d of 20 slots", i, got)
		}
		for range got {
			m.free(i, a)
		}
		m.run(500 * ms)
	}
}

func TestSlotsOfADeadNodeReturnAndAStreamKeepsItsOwn(t *testing.T) {
	l := slots(10)
	m := newMesh(t, 3, l)
	a := ask(l, "acme")
	home := m.home(a)
	dead, other := (home+1)%3, (home+2)%3
	m.fill(dead, a, 6)
	m.fill(other, a, 4)
	m.run(5 * time.Second) // streams are long
	if m.grab(other, a) {
		t.Fatal("an eleventh slot")
	}
	m.cut = func(from, to int) bool { return from == dead || to == dead }
	m.run(2 * time.Second)
	got := 0
	for range 30 {
		if m.grab(other, a) {
			got++
		}
		m.run(20 * ms)
	}
	if got != 6 {
		t.Errorf("%d slots came back from the dead node, want 6", got)
	}
}

func TestSlotsOfScopeNode(t *testing.T) {
	l := &quota.Limit{Name: "l", Slots: 3, Local: true}
	m := newMesh(t, 1, l)
	a := ask(l, "acme")
	for i := range 5 {
		if got := m.grab(0, a); got != (i < 3) {
			t.Errorf("slot %d: %v", i, got)
		}
	}
	m.free(0, a)
	if !m.grab(0, a) {
		t.Error("the slot given back is not there")
	}
}
