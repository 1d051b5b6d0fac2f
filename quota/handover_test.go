package quota_test

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/quota"
)

// without makes a mesh of three nodes, of which the home of a has not come yet.
func without(t *testing.T, a quota.Ask, limits ...*quota.Limit) (m *mesh, home int) {
	t.Helper()
	m = newMesh(t, 3, limits...)
	home = m.home(a)
	m.leave(home)
	m.run(4 * time.Second)
	return m, home
}

// leave takes node i out in good order.
func (m *mesh) leave(i int) {
	m.engines[i].Leave(m.now)
	m.poll(i)
	m.run(100 * ms)
	m.engines[i] = quota.New(m.now, quota.Config{Self: quota.NodeID(i + 1)}) // of a mesh of its own
	m.tell(i, quota.Left)
}

// join brings node i in anew.
func (m *mesh) join(i int) {
	m.incs[i]++
	m.boot(i)
	m.tell(i, quota.Alive)
}

// tell tells the others of node i's state.
func (m *mesh) tell(i int, state quota.MemberState) {
	for j := range m.engines {
		if j != i {
			m.members(j, func(k int) quota.MemberState {
				if k == i {
					return state
				}
				return quota.Alive
			})
		}
	}
}

// spend takes tokens one after the other at node i and returns how many there are.
func (m *mesh) spend(i int, a quota.Ask) (taken int) {
	for {
		before := taken
		taken += len(m.load(200*ms, only(i, 1000), a))
		if taken == before {
			return taken
		}
	}
}

func TestANewKeyHasItsBurstRightAfterAJoin(t *testing.T) {
	l := rate("l", 10.0/60, 10)
	a := ask(l, "acme")
	m, home := without(t, a, l)
	m.join(home)
	m.run(20 * ms)
	if got := m.spend((home+1)%3, a); got != 10 {
		t.Errorf("%d admitted, want 10", got)
	}
}

func TestANewKeyHasItsBurstWhileAMeshComesUp(t *testing.T) {
	l := rate("l", 10.0/60, 10)
	a := ask(l, "acme")
	m := newMesh(t, 3, l)
	for i := range m.engines {
		m.incs[i]++
		m.boot(i)
	}
	for i := range m.engines {
		m.tell(i, quota.Alive)
	}
	if got := m.spend(m.home(a), a); got != 10 {
		t.Errorf("%d admitted, want 10", got)
	}
}

func TestWhatWasTakenStaysTakenWhenTheHomeMoves(t *testing.T) {
	l := rate("l", 10.0/60, 10)
	a := ask(l, "acme")
	m, home := without(t, a, l)
	if got := m.spend((home+1)%3, a); got != 10 {
		t.Fatalf("%d admitted, want 10", got)
	}
	for _, move := range []struct {
		name string
		do   func(int)
	}{{"join", m.join}, {"leave", m.leave}, {"second join", m.join}} {
		move.do(home)
		m.run(50 * ms)
		if got := m.spend((home+1)%3, a); got > 1 {
			t.Errorf("%d admitted after a %s, of a limit that is used up", got, move.name)
		}
	}
}

// Who comes may not know yet who hands over, and some datagrams are lost.
func TestWhatIsHandedOverIsChargedOnceHoweverOftenItArrives(t *testing.T) {
	l := rate("l", 10.0/60, 10)
	a := ask(l, "acme")
	for name, fate := range map[string]struct {
		lost  time.Duration // nothing arrives for so long
		twice bool
	}{"first lost": {100 * ms, false}, "two lost": {500 * ms, false}, "each twice": {0, true}} {
		m, home := without(t, a, l)
		m.spend((home+1)%3, a)
		m.run(30 * time.Second) // five are there again
		m.join(home)
		until := m.now + fate.lost
		m.cut = func(int, int) bool { return m.now < until }
		for end := m.now + 2*time.Second; m.now < end; {
			if fate.twice {
				m.flying = append(m.flying, m.flying...)
			}
			m.step()
		}
		if got := len(m.load(2*time.Second, only((home+1)%3, 1000), a)); got < 3 || got > 6 { // a report is not given all that is there
			t.Errorf("%s: %d admitted, want 5", name, got)
		}
	}
}

// Who has crashed cannot tell: then the bucket starts empty.
func TestAKeyWhoseHomeCrashedStartsWithAnEmptyBucket(t *testing.T) {
	l := rate("l", 10.0/60, 10)
	a := ask(l, "acme")
	m := newMesh(t, 3, l)
	home := m.home(a)
	if got := m.spend((home+1)%3, a); got != 10 {
		t.Fatalf("%d admitted, want 10", got)
	}
	m.cut = func(from, to int) bool { return from == home || to == home }
	m.tell(home, quota.Vanished)
	if got := m.spend((home+1)%3, a); got > 2 {
		t.Errorf("%d admitted of a limit that is used up", got)
	}
}

// What has come back since the last request is handed over too.
func TestWhatHasComeBackIsHandedOver(t *testing.T) {
	l := rate("l", 1, 10)
	a := ask(l, "acme")
	m, home := without(t, a, l)
	m.spend((home+1)%3, a)
	m.run(4500 * ms)
	m.join(home)
	m.run(100 * ms)
	if got := len(m.load(200*ms, only((home+1)%3, 1000), a)); got < 4 || got > 5 {
		t.Errorf("%d admitted, want 4 or 5", got)
	}
}
