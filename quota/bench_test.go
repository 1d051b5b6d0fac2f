package quota_test

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/quota"
)

const manyKeys = 100_000

// lone is an engine of a node by itself, and the asks of n keys.
func lone(n int, l *quota.Limit) (*quota.Engine, []quota.Ask) {
	e := quota.New(0, quota.Config{Self: 1})
	e.Configure(0, []*quota.Limit{l})
	var secret quota.Secret
	asks := make([]quota.Ask, n)
	for i := range asks {
		asks[i] = quota.Ask{Limit: l, Key: secret.Key(l, binary.BigEndian.AppendUint32(nil, uint32(i)))}
	}
	return e, asks
}

// settle uses every key and lets the engine give leases.
func settle(e *quota.Engine, asks []quota.Ask) (now time.Duration) {
	var out quota.Output
	for range 3 {
		for i := range asks {
			e.Take(now, asks[i:i+1])
		}
		for end := now + 100*time.Millisecond; now < end; now += 5 * time.Millisecond {
			e.Poll(now, &out)
		}
	}
	return now
}

func BenchmarkTake(b *testing.B) {
	fast := &quota.Limit{Name: "fast", Rate: 1e6, Burst: 1e6, Hold: quota.HoldAuto, Isolated: 0.5}
	local := &quota.Limit{Name: "local", Rate: 1e6, Burst: 1e6, Local: true}
	for _, bench := range []struct {
		name  string
		keys  int
		limit *quota.Limit
	}{{"scope=mesh/keys=1", 1, fast}, {"scope=mesh/keys=100000", manyKeys, fast}, {"scope=node/keys=100000", manyKeys, local}} {
		b.Run(bench.name, func(b *testing.B) {
			e, asks := lone(bench.keys, bench.limit)
			start := settle(e, asks)
			keys := make([]quota.Key, len(asks))
			for i, a := range asks {
				keys[i] = a.Key
			}
			began := time.Now()
			stop := make(chan struct{})
			done := make(chan struct{})
			go func() { // the control loop works meanwhile, as it does in a node
				defer close(done)
				var out quota.Output
				for {
					select {
					case <-stop:
						return
					case <-time.After(2 * time.Millisecond):
						e.Poll(start+time.Since(began), &out)
					}
				}
			}()
			var seed atomic.Uint64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(seed.Add(1), 1))
				ask := []quota.Ask{{Limit: bench.limit}}
				for pb.Next() {
					ask[0].Key = keys[r.IntN(len(keys))] // as a request has it, and not far off in memory
					e.Take(start+time.Since(began), ask)
				}
			})
			b.StopTimer()
			close(stop)
			<-done
		})
	}
}

// What one request of 25,000 a second costs where each is of another of 100,000
// keys, the control loop's part included.
func BenchmarkRareKeys(b *testing.B) {
	e, asks := lone(manyKeys, &quota.Limit{Name: "l", Rate: 1e6, Burst: 1e6, Hold: quota.HoldAuto, Isolated: 0.5})
	rng := newRand(1)
	var out quota.Output
	now := time.Duration(0)
	next := now
	b.ReportAllocs()
	for b.Loop() {
		now += 40 * time.Microsecond
		i := rng.IntN(len(asks))
		if d := e.Take(now, asks[i:i+1]); d.Flush || now >= next {
			next = e.Poll(now, &out)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	l := &quota.Limit{Name: "orders-per-tenant", Rate: 1, Burst: 1}
	var secret quota.Secret
	subject := []byte("203.0.113.77")
	b.ReportAllocs()
	for b.Loop() {
		secret.Key(l, subject)
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	l := &quota.Limit{Name: "l", Rate: 1000, Burst: 1000, Hold: 0, Isolated: 0.5}
	e, asks := lone(3, l)
	now := settle(e, asks)
	for _, n := range []int{1, 3} {
		if got := testing.AllocsPerRun(5000, func() { e.Take(now, asks[:n]) }); got > 0 {
			t.Errorf("Take of %d limits allocates %v times", n, got)
		}
	}
	if d := e.Take(now, asks[:1]); d.Verdict != quota.Deny {
		t.Fatalf("the refusing path was not measured: %v", d.Verdict)
	}
}

func TestHundredThousandActiveKeysFitIntoFortyMiB(t *testing.T) {
	l := &quota.Limit{Name: "l", Rate: 100, Burst: 100, Hold: quota.HoldAuto, Isolated: 0.5}
	before := heap()
	e, asks := lone(manyKeys, l)
	asksBytes := heap() - before
	settle(e, asks)
	used := heap() - before - asksBytes
	if s := e.Stats(); s.Keys != manyKeys || s.Homes != manyKeys {
		t.Fatalf("keys %d, homes %d, want %d of each", s.Keys, s.Homes, manyKeys)
	}
	if used > 40<<20 {
		t.Errorf("%d active keys take %.1f MiB", manyKeys, float64(used)/(1<<20))
	}
	t.Logf("%.1f MiB, %d B per key", float64(used)/(1<<20), used/manyKeys)
	runtime.KeepAlive(asks)
	runtime.KeepAlive(e)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
