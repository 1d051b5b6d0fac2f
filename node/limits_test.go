package node

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/quota"
)

// limitNet joins limits of several nodes in memory, with a millisecond of delay.
type limitNet struct {
	mu    sync.Mutex
	nodes []*limitNode
}

// limitNode is one of them.
type limitNode struct {
	*limits
	net     *limitNet
	name    string
	id      datadir.Identity
	founder bool
	gone    bool
}

func (n *limitNode) limitMembers() (all []limitMember) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	for _, other := range n.net.nodes {
		m := limitMember{name: other.name, addr: other.name, Member: quota.Member{ID: nodeID(other.id.ID), Incarnation: 1, State: quota.Alive}}
		if other.gone {
			m.State = quota.Vanished
		}
		all = append(all, m)
	}
	return all
}

func (n *limitNode) sendLimits(member string, data []byte) {
	data = bytes.Clone(data)
	time.AfterFunc(time.Millisecond, func() {
		n.net.mu.Lock()
		defer n.net.mu.Unlock()
		for _, other := range n.net.nodes {
			if other.name == member && !other.gone {
				other.receive(data)
			}
		}
	})
}

func (n *limitNode) refusesGossip(context.Context, string) bool { return true }

func (n *limitNode) mayFound(waited time.Duration) bool { return n.founder || waited > foundAfter }

// pushLimits is what gossip does: the states become the same.
func (n *limitNode) pushLimits() {
	whole, err := n.state.Delta(nil)
	if err != nil {
		panic(err)
	}
	n.net.mu.Lock()
	others := slices.Clone(n.net.nodes)
	n.net.mu.Unlock()
	for _, other := range others {
		if other != n {
			time.AfterFunc(time.Millisecond, func() { _ = other.state.Merge(whole) })
		}
	}
}

func openTestDir(t *testing.T) *datadir.Dir {
	t.Helper()
	dir, err := datadir.Open(t.TempDir(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	return dir
}

func (net *limitNet) add(t *testing.T, name string, dir *datadir.Dir) *limitNode {
	t.Helper()
	state, err := openLimitState(dir, World{}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	n := &limitNode{net: net, name: name, id: datadir.Identity{ID: name, Incarnation: 1}, founder: len(net.nodes) == 0}
	n.limits = newLimits(n.id, n, state, zerolog.Nop())
	net.nodes = append(net.nodes, n)
	return n
}

// start runs the control loops until stop is called, which waits for their ends.
func (net *limitNet) start(limits ...*quota.Limit) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, n := range net.nodes {
		wg.Go(func() { n.run(ctx) })
	}
	time.Sleep(settledAfter)
	for _, n := range net.nodes {
		n.Configure(limits)
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// settledAfter is when homes have been the same for long enough to be believed.
const settledAfter = 5 * time.Second

// offer asks for one request and reports whether it was allowed in the end.
func (n *limitNode) offer(l *quota.Limit) bool {
	asks := []quota.Ask{{Limit: l, Key: n.Key(l, nil)}}
	d := n.Take(asks)
	if d.Verdict == quota.Wait {
		d = n.Wait(d.Ticket, func() bool { return false })
	}
	return d.Verdict == quota.Allow
}

func TestLimitsOfTwoNodesAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &limitNet{}
		a, b := net.add(t, "a", openTestDir(t)), net.add(t, "b", openTestDir(t))
		l := &quota.Limit{Name: "l", Rate: 100, Burst: 10, Hold: quota.HoldAuto, Isolated: 0.5}
		stop := net.start(l)
		var allowed atomic.Int64
		var clients sync.WaitGroup
		began := time.Now()
		for range 5000 { // 10 s, 1,000/s, whoever waits
			for _, n := range []*limitNode{a, b} {
				clients.Go(func() {
					if n.offer(l) {
						allowed.Add(1)
					}
				})
			}
			time.Sleep(2 * time.Millisecond)
		}
		clients.Wait()
		if took, n := time.Since(began).Seconds(), float64(allowed.Load()); n < 95*took || n > 103*took+10 {
			t.Errorf("%v allowed in %.1f s, want about 100/s", n, took)
		}
		if *a.state.secret.Load() != *b.state.secret.Load() {
			t.Error("the nodes hash with different secrets")
		}
		stop()
		for _, n := range net.nodes {
			for k := range n.engine.Keys(n.now()) {
				if k.Leased {
					t.Errorf("%s still holds a lease: %+v", n.name, k)
				}
			}
		}
	})
}

func TestATinyLimitWaitsForItsHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &limitNet{}
		a, b := net.add(t, "a", openTestDir(t)), net.add(t, "b", openTestDir(t))
		l := &quota.Limit{Name: "l", Rate: 1.0 / 3600, Burst: 3, Hold: quota.HoldAuto, Isolated: 0.5}
		stop := net.start(l)
		allowed := 0
		for range 4 {
			for _, n := range []*limitNode{a, b} {
				if n.offer(l) {
					allowed++
				}
			}
		}
		stop()
		if allowed != 3 {
			t.Errorf("%d allowed, want 3", allowed)
		}
	})
}

func TestABurstIsThereAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &limitNet{}
		a := net.add(t, "a", openTestDir(t))
		l := &quota.Limit{Name: "l", Rate: 5, Burst: 5, Hold: quota.HoldAuto, Isolated: 0.5}
		stop := net.start(l)
		allowed := 0
		for range 8 { // within 200 ms, in which one more flows in
			if a.offer(l) {
				allowed++
			}
			time.Sleep(10 * time.Millisecond)
		}
		stop()
		if allowed < 5 || allowed > 6 {
			t.Errorf("%d allowed, want the burst of 5", allowed)
		}
	})
}

func TestAWaitIsCancelledWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &limitNet{}
		a := net.add(t, "a", openTestDir(t))
		net.add(t, "b", openTestDir(t))
		l := &quota.Limit{Name: "l", Slots: 1, Hold: 500 * time.Millisecond, Isolated: 0.5}
		stop := net.start(l)
		defer stop()
		net.mu.Lock()
		net.nodes[1].gone = true // whatever is its to lease is not answered
		net.mu.Unlock()
		for i := range 20 {
			asks := []quota.Ask{{Limit: l, Key: a.Key(l, []byte{byte(i)})}}
			d := a.Take(asks)
			if d.Verdict != quota.Wait {
				continue
			}
			began := time.Now()
			if d = a.Wait(d.Ticket, func() bool { return true }); d.Verdict == quota.Allow {
				a.Release(asks)
			}
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("took %v", took)
			}
		}
		if len(a.waiting)+len(a.early) > 0 {
			t.Errorf("left behind: %d waiting, %d early", len(a.waiting), len(a.early))
		}
	})
}

func TestLongQuotasOutliveTheirNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := openTestDir(t)
		l := &quota.Limit{Name: "l", Rate: 5.0 / 86400, Burst: 5, Hold: quota.HoldAuto, Isolated: 0.5}
		for life, want := range []int{3, 2, 0} {
			net := &limitNet{}
			a := net.add(t, "a", dir)
			a.limits = newLimits(datadir.Identity{ID: "a", Incarnation: uint32(life + 1)}, a, a.state, zerolog.Nop())
			stop := net.start(l)
			allowed := 0
			for range 3 {
				if a.offer(l) {
					allowed++
				}
			}
			stop()
			if allowed != want {
				t.Errorf("life %d: %d allowed, want %d", life+1, allowed, want)
			}
		}
	})
}

func TestOldRecordsAreForgotten(t *testing.T) {
	s, err := openLimitState(openTestDir(t), World{}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	old := quota.Record{Key: 1, Home: 1, Incarnation: 1, Charged: 1, Taken: 1, At: now.Add(-2 * recordMost)}
	useful, unknown := old, old
	useful.Key = 2
	unknown.Key, unknown.At = 3, now
	s.tell([]quota.Record{old, useful, unknown})
	s.prune([]quota.Record{useful})
	var left []quota.Key
	for r := range s.records() {
		left = append(left, r.Key)
	}
	if !slices.Equal(left, []quota.Key{2, 3}) {
		t.Errorf("left %v, want 2 and 3", left)
	}
}

func FuzzLimitState(f *testing.F) {
	s := newLimitState(nil, World{})
	s.Put(secretKey, 0, make([]byte, 16))
	s.tell([]quota.Record{{Key: 1, Limit: 2, Home: 3, Incarnation: 4, Charged: 5, Taken: 6, At: time.Unix(7, 0)}})
	whole, _ := s.Delta(nil)
	f.Add(whole)
	f.Add(s.Digest())
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := newLimitState(nil, World{}), newLimitState(nil, World{})
		if a.Merge(data) != nil {
			return
		}
		for range a.fresh() {
		}
		whole, err := a.Delta(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Merge(whole); err != nil || !bytes.Equal(a.Digest(), b.Digest()) {
			t.Errorf("what was accepted cannot be passed on: %v", err)
		}
	})
}

// A node whose parts end all at once, since one of them has failed, ends: whoever
// waits for a limit that nobody serves any more is refused.
func TestWhoWaitsWhenLimitsHaveEndedIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &limitNet{}
		n := net.add(t, "a", openTestDir(t))
		l := &quota.Limit{Name: "l", Rate: 1, Burst: 1, Hold: quota.HoldAuto, Isolated: 0.5}
		net.start(l)()
		for n.Take([]quota.Ask{{Limit: l, Key: n.Key(l, nil)}}).Verdict == quota.Allow {
		}
		if n.offer(l) {
			t.Error("allowed")
		}
	})
}
