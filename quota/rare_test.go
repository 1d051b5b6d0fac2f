package quota_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/quota"
)

// A request now and then is counted by the home, whatever gets lost of its messages,
// and leases nothing.
func TestAKeyThatIsRarelyUsedIsCountedWithoutALease(t *testing.T) {
	for _, loss := range []float64{0, 0.3} {
		l := rate("l", 100, 300)
		m := newMesh(t, 3, l)
		m.loss = loss
		a := ask(l, "acme")
		home, user := m.home(a), m.stranger(a)
		for range 5 {
			if d := m.take(user, a); d.Verdict != quota.Allow {
				t.Fatalf("refused: %+v", d)
			}
			for range 1200 {
				m.step()
				if loss == 0 && leased(m, user, a.Key) {
					t.Fatal("leased")
				}
			}
		}
		if got := chargedAt(m, home, a.Key); got != 5 {
			t.Errorf("with %v lost the home has charged %d of 5", loss, got)
		}
	}
}

// What is less than a hundredth of a node's part of the rate is not worth a message.
func TestAKeyThatIsHardlyUsedIsToldOfOnce(t *testing.T) {
	l := rate("l", 1000, 3000)
	m := newMesh(t, 3, l)
	a := ask(l, "acme")
	home, user := m.home(a), m.stranger(a)
	for range 10 {
		if d := m.take(user, a); d.Verdict != quota.Allow || d.Remaining != 2999 {
			t.Fatalf("%+v", d)
		}
		m.run(400 * ms)
	}
	if got := chargedAt(m, home, a.Key); got != 1 {
		t.Errorf("the home has charged %d of 10 requests", got)
	}
	for range 20 {
		m.take(user, a)
	}
	m.run(time.Second)
	if got := chargedAt(m, home, a.Key); got != 21 && got != 20 { // the first of them came rarely, too
		t.Errorf("the home has charged %d of one request, nine rare ones and 20 at once", got)
	}
}

func TestNoMoreThanAHundredthGoesUntold(tt *testing.T) {
	rapid.Check(tt, func(t *rapid.T) {
		l := rate("l", rapid.Float64Range(1, 1000).Draw(t, "rate"), 0)
		l.Burst = l.Rate * rapid.Float64Range(0.5, 50).Draw(t, "burst")
		m := newMesh(tt, rapid.IntRange(1, 4).Draw(t, "nodes"), l)
		a := ask(l, "acme")
		began, admitted := m.now, int64(0)
		for m.now < began+4*time.Second { // so that nothing is forgotten meanwhile
			if m.take(m.rng.IntN(len(m.engines)), a).Verdict == quota.Allow {
				admitted++
			}
			m.run(time.Duration(rapid.IntRange(1, 1000).Draw(t, "ms until the next")) * ms)
		}
		took := m.now - began
		m.run(time.Second)
		if untold := admitted - chargedAt(m, m.home(a), a.Key); float64(untold) > 0.01*l.Rate*took.Seconds()+1e-9 {
			t.Errorf("of %d at %g/s for %v, %d were not told", admitted, l.Rate, took, untold)
		}
	})
}

// One that is used again and again is leased, however evenly.
func TestAKeyThatIsUsedSteadilyIsLeased(t *testing.T) {
	l := rate("l", 100, 300)
	m := newMesh(t, 3, l)
	a := ask(l, "acme")
	user := m.stranger(a)
	for range 20 {
		m.take(user, a)
		m.run(50 * time.Millisecond)
	}
	if !leased(m, user, a.Key) {
		t.Error("not leased")
	}
}

// One that uses up what a node may admit unasked asks at once.
func TestAKeyThatIsUsedMuchIsLeasedAtOnce(t *testing.T) {
	l := rate("l", 100, 300)
	m := newMesh(t, 3, l)
	a := ask(l, "acme")
	user := m.stranger(a)
	for range 60 {
		m.take(user, a)
	}
	m.run(30 * time.Millisecond)
	if !leased(m, user, a.Key) {
		t.Error("not leased")
	}
}

func leased(m *mesh, node int, k quota.Key) bool {
	for s := range m.engines[node].Keys(m.now) {
		if s.Key == k {
			return s.Leased
		}
	}
	m.tb.Fatal("the key is not in use")
	return false
}

func chargedAt(m *mesh, node int, k quota.Key) int64 {
	for s := range m.engines[node].Homes(m.now) {
		if s.Key == k {
			return s.Charged
		}
	}
	return 0
}

func TestKeysThatNobodyUsesAreForgotten(t *testing.T) {
	l := rate("l", 1000, 1000)
	m := newMesh(t, 2, l)
	for i := range 1000 {
		m.take(i%2, ask(l, fmt.Sprint(i)))
		if i%50 == 0 {
			m.step()
		}
	}
	m.run(time.Second)
	if a, b := m.engines[0].Stats(), m.engines[1].Stats(); a.Keys+b.Keys != 1000 || a.Homes+b.Homes != 1000 {
		t.Fatalf("%d and %d keys, %d and %d homes", a.Keys, b.Keys, a.Homes, b.Homes)
	}
	m.run(3 * time.Minute)
	if a, b := m.engines[0].Stats(), m.engines[1].Stats(); a.Keys+b.Keys > 0 || a.Homes+b.Homes > 10 { // homes are looked at by chance
		t.Errorf("after three minutes %d and %d keys, %d and %d homes", a.Keys, b.Keys, a.Homes, b.Homes)
	}
}

// While homes answer, a key of a small limit that has been idle has no more than what
// its home has: not a token at each node besides.
func TestAnIdleKeySavesUpNothingOfASmallLimit(t *testing.T) {
	l := rate("l", 10.0/60, 1)
	m := newMesh(t, 2, l)
	a := ask(l, "acme")
	for i := range m.engines {
		m.load(200*ms, only(i, 20), a)
	}
	for range 3 {
		m.run(29 * time.Second) // just not forgotten
		admitted := 0
		for i := range m.engines {
			admitted += len(m.load(200*ms, only(i, 20), a))
		}
		if admitted != 1 {
			t.Errorf("%d admitted of a burst of 1", admitted)
		}
	}
}
