package gossip_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/internal/meshtest"
)

// words is a State of plain values, whatever they mean.
type words struct{ *crdt.Map }

func newWords() words {
	return words{crdt.NewMap(crdt.Bounds{Entries: 1000, Graves: 100, Key: 64, Value: 4 << 20}, func(string, []byte) error { return nil })}
}

func (w words) Merge(data []byte) error {
	_, err := w.Map.Merge(data)
	return err
}

// lab is a mesh in a bubble.
type lab struct {
	t     *testing.T
	net   *meshtest.Network
	keys  string
	nodes []*labNode
	wg    sync.WaitGroup
}

type labNode struct {
	*gossip.Mesh
	cfg   gossip.Config
	host  *meshtest.Host
	words words
	stop  context.CancelFunc
	ended chan struct{}
	err   error // of Run; valid when ended is closed
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, net: meshtest.NewNetwork(1), keys: filepath.Join(t.TempDir(), "keyring")}
	data, err := json.Marshal([]string{base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.keys, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l.net.Delay(time.Millisecond, time.Millisecond)
	return l
}

// start runs a node on its own host. change may alter its settings.
func (l *lab) start(name, ip string, change func(*gossip.Config)) *labNode {
	l.t.Helper()
	n := &labNode{host: l.net.Host(ip), words: newWords(), ended: make(chan struct{})}
	n.cfg = gossip.Config{
		Name: name, ID: "id-" + name, Region: "eu", Bind: ip + ":7946", Seeds: []string{"10.0.0.1:7946"},
		KeyringFile: l.keys, Network: n.host,
	}
	if change != nil {
		change(&n.cfg)
	}
	var err error
	if n.Mesh, err = gossip.New(n.cfg, map[string]gossip.State{"words": n.words}, zerolog.New(zerolog.NewTestWriter(l.t)).Level(zerolog.InfoLevel)); err != nil {
		l.t.Fatal(err)
	}
	if err := n.Listen(); err != nil {
		l.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(l.t.Context())
	n.stop = stop
	l.wg.Go(func() {
		n.err = n.Run(ctx)
		close(n.ended)
	})
	l.nodes = append(l.nodes, n)
	return n
}

// mesh starts count nodes and waits until all see all.
func (l *lab) mesh(count int) []*labNode {
	l.t.Helper()
	for i := range count {
		l.start(fmt.Sprintf("n%d", i+1), fmt.Sprintf("10.0.0.%d", i+1), nil)
	}
	l.within(10*time.Second, "all see all", func() bool { return l.allSee(count) })
	return l.nodes
}

func (l *lab) allSee(count int) bool {
	for _, n := range l.nodes {
		if alive(n.Mesh) != count {
			return false
		}
	}
	return true
}

func alive(m *gossip.Mesh) (count int) {
	for _, member := range m.Members() {
		if member.Status == "alive" {
			count++
		}
	}
	return count
}

// within waits until ok holds, and fails the test when it does not in time.
func (l *lab) within(limit time.Duration, what string, ok func() bool) {
	l.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			for _, n := range l.nodes {
				l.t.Logf("%s sees %+v", n.cfg.Name, n.Members())
			}
			l.t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(time.Millisecond)
	}
	l.t.Logf("%s after %v", what, time.Since(began))
}

// end stops all nodes and lets the bubble drain.
func (l *lab) end() {
	for _, n := range l.nodes {
		n.stop()
	}
	l.wg.Wait()
	time.Sleep(time.Minute) // timers of memberlist run out
}

func (n *labNode) has(key, value string) bool {
	got, ok := n.words.Get(key)
	return ok && string(got) == value
}

func allHave(nodes []*labNode, key, value string) func() bool {
	return func() bool {
		for _, n := range nodes {
			if !n.has(key, value) {
				return false
			}
		}
		return true
	}
}

func bubble(t *testing.T, f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		t.Cleanup(l.end)
		f(l)
	})
}

func TestNodesThatStartTogetherFindEachOther(t *testing.T) {
	bubble(t, func(l *lab) {
		for i := range 5 {
			l.start(fmt.Sprintf("n%d", i+1), fmt.Sprintf("10.0.0.%d", i+1), nil)
		}
		l.within(4*time.Second, "five see five", func() bool { return l.allSee(5) })
	})
}

func TestANodeStartedBeforeItsSeedsJoinsWhenTheyCome(t *testing.T) {
	bubble(t, func(l *lab) {
		l.start("n2", "10.0.0.2", nil)
		time.Sleep(time.Minute)
		l.start("n1", "10.0.0.1", nil)
		l.within(5*time.Second, "two see two", func() bool { return l.allSee(2) })
	})
}

func TestSmallNewsIsEverywhereAtOnce(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := l.mesh(10)
		nodes[3].words.Put("k", 0, []byte("v"))
		nodes[3].Push("words")
		l.within(300*time.Millisecond, "ten have it", allHave(nodes, "k", "v"))
	})
}

func TestLargeNewsIsFetched(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := l.mesh(10)
		large := string(make([]byte, 1<<20))
		nodes[3].words.Put("k", 0, []byte(large))
		nodes[3].Push("words")
		l.within(time.Second, "ten have 1 MB", allHave(nodes, "k", large))
	})
}

func TestUnhurriedNewsTravelsWithTheLazyRounds(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := l.mesh(5)
		nodes[0].words.Put("k", 0, []byte("v"))
		l.within(2*time.Second, "five have it", allHave(nodes, "k", "v"))
	})
}

func TestNewsSurvivesALossOfAThird(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := l.mesh(10)
		l.net.Lose(0.3, 0.05)
		for i := range 20 {
			key := fmt.Sprint(i)
			nodes[i%10].words.Put(key, 0, []byte("v"))
			nodes[i%10].Push("words")
			l.within(5*time.Second, "ten have "+key, allHave(nodes, key, "v"))
		}
	})
}

func TestAPeerThatCannotBeReachedHoldsUpNoOther(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := l.mesh(3)
		l.net.Cut(nodes[1].host, nodes[2].host) // what n3 has is announced to n2, which cannot fetch it there
		large := string(make([]byte, 10_000))
		nodes[2].words.Put("k", 0, []byte(large))
		nodes[2].Push("words")
		l.within(7*time.Second, "n2 has it by way of n1", allHave(nodes, "k", large))
	})
}

func TestWhoHoldsAMemberForLeavingHearsThatItIsNot(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := l.mesh(4)
		// As when n1 hears late from a third of a leave from which n4 is long back.
		l.net.Lose(1, 0)
		_ = nodes[0].HoldForLeaving("n4") // which cannot be told to others
		time.Sleep(1500 * time.Millisecond)
		l.net.Lose(0, 0)
		l.within(5*time.Second, "four see four", func() bool { return l.allSee(4) })
	})
}

func TestAMemberThatCameBackAfterALeaveIsSeenAlive(t *testing.T) {
	for range 20 { // Serf's news of the two come in any order
		bubble(t, func(l *lab) {
			nodes := l.mesh(6)
			_ = nodes[0].HoldForLeaving("n7") // the leave is known before the member
			time.Sleep(time.Second)
			l.start("n7", "10.0.0.7", nil)
			l.within(3*time.Second, "seven see seven", func() bool { return l.allSee(7) })
		})
	}
}

func TestAPartitionLongerThanSerfRemembersHeals(t *testing.T) {
	bubble(t, func(l *lab) {
		for i := range 6 {
			l.start(fmt.Sprintf("n%d", i+1), fmt.Sprintf("10.0.0.%d", i+1), func(c *gossip.Config) { c.ReconnectTimeout = 20 * time.Second })
		}
		nodes := l.nodes
		l.within(10*time.Second, "all see all", func() bool { return l.allSee(6) })
		var left, right []*meshtest.Host
		for i, n := range nodes {
			if i < 2 {
				left = append(left, n.host)
			} else {
				right = append(right, n.host)
			}
		}
		l.net.Split(left, right)
		time.Sleep(time.Minute)
		if alive(nodes[0].Mesh) != 2 || alive(nodes[5].Mesh) != 4 {
			l.t.Errorf("in the split: %d and %d alive, want 2 and 4", alive(nodes[0].Mesh), alive(nodes[5].Mesh))
		}
		nodes[0].words.Put("left", 0, []byte("v"))
		nodes[5].words.Put("right", 0, []byte("v"))
		l.net.Heal()
		l.within(5*time.Second, "views whole", func() bool { return l.allSee(6) })
		l.within(5*time.Second, "left's word everywhere", allHave(nodes, "left", "v"))
		l.within(5*time.Second, "right's word everywhere", allHave(nodes, "right", "v"))
	})
}

func TestIsolationIsSeenByTheSmallerSideAlone(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := l.mesh(5)
		l.net.Split([]*meshtest.Host{nodes[0].host}, []*meshtest.Host{nodes[1].host, nodes[2].host, nodes[3].host, nodes[4].host})
		l.within(time.Minute, "n1 isolated", nodes[0].Isolated)
		if nodes[1].Isolated() {
			l.t.Error("four of five are isolated")
		}
		l.net.Heal()
		l.within(5*time.Second, "n1 back", func() bool { return !nodes[0].Isolated() })
	})
}

// die ends a node as kill -9 does: nothing it sends arrives any more.
func (l *lab) die(n *labNode) {
	l.t.Helper()
	for i, other := range l.nodes {
		if other == n {
			l.nodes = append(l.nodes[:i:i], l.nodes[i+1:]...)
			break
		}
	}
	for _, other := range l.nodes {
		l.net.Split([]*meshtest.Host{n.host}, []*meshtest.Host{other.host})
	}
	n.stop()
	<-n.ended
}

func TestANodeComesBackUnderItsNameAtAnotherAddress(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := append([]*labNode(nil), l.mesh(3)...)
		l.die(nodes[2])
		// At once: the others still believe the old address alive.
		l.start("n3", "10.0.0.33", nil)
		l.within(15*time.Second, "three see three", func() bool { return l.allSee(3) })
		for _, n := range l.nodes {
			select {
			case <-n.ended:
				l.t.Errorf("%s ended: %v", n.cfg.Name, n.err)
			default:
			}
		}
	})
}

func TestWhoWasCutOffWhileAMemberMovedFindsItSoon(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := append([]*labNode(nil), l.mesh(6)...)
		var rest []*meshtest.Host
		for _, n := range nodes[:5] {
			rest = append(rest, n.host)
		}
		l.net.Split([]*meshtest.Host{nodes[5].host}, rest)
		nodes[3].host.Kill()
		nodes[3].stop()
		l.nodes = append(nodes[:3:3], nodes[4])
		l.start("n4", "10.0.0.44", nil)
		l.within(15*time.Second, "five see n4 where it is now", func() bool { return l.allSee(5) })
		l.net.Heal()
		l.nodes = append(l.nodes, nodes[5])
		l.within(20*time.Second, "six see six", func() bool { return l.allSee(6) && l.allSeeAt("n4", "10.0.0.44:7946") })
		<-nodes[3].ended
	})
}

func (l *lab) allSeeAt(name, addr string) bool {
	for _, n := range l.nodes {
		for _, member := range n.Members() {
			if member.Name == name && member.Addr != addr {
				return false
			}
		}
	}
	return true
}

func TestANameInUseIsRefusedAndItsHolderUndisturbed(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := append([]*labNode(nil), l.mesh(3)...)
		for _, seed := range []string{"10.0.0.1:7946", "10.0.0.3:7946"} {
			impostor := l.start("n3", "10.0.0.99", func(c *gossip.Config) {
				c.ID, c.Seeds = "another", []string{seed}
			})
			<-impostor.ended
			if !errors.Is(impostor.err, gossip.ErrNameInUse) {
				l.t.Errorf("by seed %s: got %v, want ErrNameInUse", seed, impostor.err)
			}
			l.nodes = l.nodes[:3]
			if !l.allSee(3) {
				l.t.Error("the mesh was disturbed")
			}
			if addr := nodes[2].Addr(); addr != "10.0.0.3:7946" {
				l.t.Errorf("the holder is at %s", addr)
			}
		}
	})
}

func TestAWrongKeyIsKeptOutAndKeepsTrying(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := append([]*labNode(nil), l.mesh(2)...)
		other := filepath.Join(l.t.TempDir(), "other")
		data, _ := json.Marshal([]string{base64.StdEncoding.EncodeToString([]byte("ffffffffffffffffffffffffffffffff"))})
		if err := os.WriteFile(other, data, 0o600); err != nil {
			l.t.Fatal(err)
		}
		stranger := l.start("n3", "10.0.0.3", func(c *gossip.Config) { c.KeyringFile = other })
		time.Sleep(time.Minute)
		if got := alive(nodes[0].Mesh); got != 2 {
			l.t.Errorf("the mesh sees %d, want 2", got)
		}
		if got := alive(stranger.Mesh); got != 1 {
			l.t.Errorf("the stranger sees %d, want itself", got)
		}
		select {
		case <-stranger.ended:
			l.t.Errorf("the stranger gave up: %v", stranger.err)
		default:
		}
	})
}

func TestLeavingIsSeenAsLeaving(t *testing.T) {
	bubble(t, func(l *lab) {
		nodes := append([]*labNode(nil), l.mesh(3)...)
		nodes[2].stop()
		<-nodes[2].ended
		l.nodes = nodes[:2]
		l.within(time.Second, "n3 left", func() bool {
			for _, member := range nodes[0].Members() {
				if member.Name == "n3" {
					return member.Status == "left"
				}
			}
			return false
		})
	})
}

func TestThirtyRoundsOfStartAndStopLeaveNothingBehind(t *testing.T) {
	for range 30 { // a goroutine left behind fails the bubble
		bubble(t, func(l *lab) { l.mesh(2) })
	}
}
