package gossip_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/gossip"
)

// BenchmarkMesh runs whole meshes in this process over real sockets, encrypted,
// and reports how soon all see all after a joint start, how soon news is
// everywhere, what a node costs when nothing happens and while 20 edits a second
// are made, and how soon all know that a node is dead and that it is back. Run it
// alone:
//
//	go test -run '^$' -bench Mesh -benchtime 1x ./gossip
func BenchmarkMesh(b *testing.B) {
	for _, count := range []int{10, 50, 100, 200} {
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) { benchMesh(b, count) })
	}
}

// rounds is how often news of a size is spread: 20 times, of a megabyte four times.
func rounds(size int) int {
	if size >= 1<<20 {
		return 4
	}
	return 20
}

func benchMesh(b *testing.B, count int) {
	b.Helper()
	keys := filepath.Join(b.TempDir(), "keyring")
	data, err := json.Marshal([]string{base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(keys, data, 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()

	meshes, states := make([]*gossip.Mesh, count), make([]words, count)
	victim := &mortal{}
	for i := range count {
		states[i] = newWords()
		cfg := gossip.Config{
			Name: fmt.Sprintf("n%d", i), ID: fmt.Sprintf("id-%d", i), Region: "eu",
			Bind: "127.0.0.1:0", KeyringFile: keys,
		}
		if i > 0 {
			cfg.Seeds = []string{meshes[0].Addr()}
		}
		if i == count-1 {
			cfg.Network = victim
		}
		if meshes[i], err = gossip.New(cfg, map[string]gossip.State{"words": states[i]}, zerolog.Nop()); err != nil {
			b.Fatal(err)
		}
		if err := meshes[i].Listen(); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	for _, m := range meshes {
		wg.Go(func() {
			if err := m.Run(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	until(b, 200*time.Microsecond, func() bool {
		return !slices.ContainsFunc(meshes, func(m *gossip.Mesh) bool { return alive(m) != count })
	})
	b.ReportMetric(time.Since(began).Seconds(), "s/join")
	time.Sleep(3 * time.Second) // what the join has stirred up settles

	costs(b, meshes, "idle", func() { time.Sleep(10 * time.Second) })
	costs(b, meshes, "edited", func() {
		for i := range 100 {
			origin := i % count
			states[origin].Put(fmt.Sprintf("edit-%d", i), 0, make([]byte, 200))
			meshes[origin].Push("words")
			time.Sleep(50 * time.Millisecond)
		}
	})

	for _, size := range []int{200, 100 << 10, 1 << 20} {
		var took []time.Duration
		for round := range rounds(size) {
			took = append(took, spread(b, meshes, states, round, size)...)
		}
		slices.Sort(took)
		ms := func(q float64) float64 {
			return float64(took[min(len(took)-1, int(q*float64(len(took))))].Microseconds()) / 1000
		}
		name := fmt.Sprintf("%dB", size)
		b.ReportMetric(ms(0.5), "ms-p50/"+name)
		b.ReportMetric(ms(0.99), "ms-p99/"+name)
		b.ReportMetric(ms(1), "ms-max/"+name)
	}

	victim.dead.Store(true)
	took := firsts(b, count-1, 20*time.Millisecond, func(i int) bool { return alive(meshes[i]) == count-1 })
	b.ReportMetric(slices.Min(took).Seconds(), "s/detect-first")
	b.ReportMetric(slices.Max(took).Seconds(), "s/detect-all")
	victim.dead.Store(false)
	took = firsts(b, count, 20*time.Millisecond, func(i int) bool { return alive(meshes[i]) == count })
	b.ReportMetric(slices.Max(took).Seconds(), "s/back-all")
}

// costs reports what a node sends and the CPU it takes while f runs.
func costs(b *testing.B, meshes []*gossip.Mesh, when string, f func()) {
	b.Helper()
	bytes, cpu := traffic(meshes)
	began := time.Now()
	f()
	per := time.Since(began).Seconds() * float64(len(meshes))
	bytesAfter, cpuAfter := traffic(meshes)
	b.ReportMetric(float64(bytesAfter-bytes)/per, "B/s/node-"+when)
	b.ReportMetric(100*(cpuAfter-cpu).Seconds()/per, "%core/node-"+when)
}

// firsts returns when each of count first had ok, asking again after pause.
func firsts(b *testing.B, count int, pause time.Duration, ok func(i int) bool) []time.Duration {
	b.Helper()
	took := make([]time.Duration, count)
	began := time.Now()
	missing := count
	until(b, pause, func() bool {
		for i := range took {
			if took[i] == 0 && ok(i) {
				took[i] = time.Since(began)
				missing--
			}
		}
		return missing == 0
	})
	return took
}

// mortal is a network whose node can die as its machine does: from then on
// nothing leaves it and nothing reaches it.
type mortal struct {
	gossip.Sockets
	dead atomic.Bool
}

func (m *mortal) Listen(addr string) (net.PacketConn, net.Listener, error) {
	p, l, err := m.Sockets.Listen(addr)
	return mortalPackets{p, m}, mortalStreams{l, m}, err
}

func (m *mortal) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if m.dead.Load() {
		return nil, syscall.EHOSTUNREACH
	}
	return m.Sockets.Dial(ctx, addr)
}

type mortalStreams struct {
	net.Listener
	of *mortal
}

func (s mortalStreams) Accept() (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		if err != nil || !s.of.dead.Load() {
			return c, err
		}
		_ = c.Close()
	}
}

type mortalPackets struct {
	net.PacketConn
	of *mortal
}

func (p mortalPackets) WriteTo(data []byte, to net.Addr) (int, error) {
	if p.of.dead.Load() {
		return len(data), nil
	}
	return p.PacketConn.WriteTo(data, to)
}

// spread writes at one node and returns how long each other node took to hold it.
func spread(b *testing.B, meshes []*gossip.Mesh, states []words, round, size int) []time.Duration {
	b.Helper()
	key, value := fmt.Sprintf("%d-%d", size, round), string(make([]byte, size))
	origin := round % len(meshes)
	states[origin].Put(key, 0, []byte(value))
	meshes[origin].Push("words")
	took := firsts(b, len(meshes), 200*time.Microsecond, func(i int) bool {
		_, ok := states[i].Get(key)
		return ok
	})
	return append(took[:origin:origin], took[origin+1:]...)
}

func until(b *testing.B, pause time.Duration, ok func() bool) {
	b.Helper()
	for began := time.Now(); !ok(); time.Sleep(pause) {
		if time.Since(began) > time.Minute {
			b.Fatal("not within a minute")
		}
	}
}

func traffic(meshes []*gossip.Mesh) (bytes uint64, cpu time.Duration) {
	for _, m := range meshes {
		s := m.Stats()
		bytes += s.PacketBytesOut + s.StreamBytesOut
	}
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return bytes, time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
