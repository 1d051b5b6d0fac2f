package gossip_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/gossip"
)

// BenchmarkMesh runs whole meshes in this process over real sockets, encrypted,
// and reports how soon all see all after a joint start, how soon news is
// everywhere, and what a node costs when nothing happens. Run it alone:
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
	for i := range count {
		states[i] = newWords()
		cfg := gossip.Config{
			Name: fmt.Sprintf("n%d", i), ID: fmt.Sprintf("id-%d", i), Region: "eu",
			Bind: "127.0.0.1:0", KeyringFile: keys,
		}
		if i > 0 {
			cfg.Seeds = []string{meshes[0].Addr()}
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
	until(b, func() bool {
		return !slices.ContainsFunc(meshes, func(m *gossip.Mesh) bool { return alive(m) != count })
	})
	b.ReportMetric(time.Since(began).Seconds(), "s/join")
	time.Sleep(3 * time.Second) // what the join has stirred up settles

	bytes, cpu := traffic(meshes)
	const idle = 10 * time.Second
	time.Sleep(idle)
	bytesAfter, cpuAfter := traffic(meshes)
	b.ReportMetric(float64(bytesAfter-bytes)/idle.Seconds()/float64(count), "B/s/node-idle")
	b.ReportMetric(100*(cpuAfter-cpu).Seconds()/idle.Seconds()/float64(count), "%core/node-idle")

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
}

// spread writes at one node and returns how long each other node took to hold it.
func spread(b *testing.B, meshes []*gossip.Mesh, states []words, round, size int) []time.Duration {
	b.Helper()
	key, value := fmt.Sprintf("%d-%d", size, round), string(make([]byte, size))
	origin := round % len(meshes)
	took := make([]time.Duration, len(meshes))
	began := time.Now()
	states[origin].Put(key, 0, []byte(value))
	meshes[origin].Push("words")
	missing := len(meshes)
	until(b, func() bool {
		for i := range states {
			if _, ok := states[i].Get(key); ok && took[i] == 0 {
				took[i] = time.Since(began)
				missing--
			}
		}
		return missing == 0
	})
	return append(took[:origin:origin], took[origin+1:]...)
}

func until(b *testing.B, ok func() bool) {
	b.Helper()
	for began := time.Now(); !ok(); time.Sleep(200 * time.Microsecond) {
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
