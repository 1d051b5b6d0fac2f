package failover_test

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/failover"
)

// settle observes the same CPU until it is no longer smoothed.
func settle(s failover.Shedding, cpu float64) failover.Shedding {
	for range 100 {
		s = s.Observe(s.At.Add(time.Second), cpu, 0.8)
	}
	return s
}

func TestSheddingRisesAndFallsOnItsLines(t *testing.T) {
	s := failover.Shedding{At: start}
	for i, step := range []struct{ cpu, want float64 }{
		{0.5, 0},
		{0.8, 0},
		{0.875, 0.5},
		{0.95, 1},
		{1, 1},
		{0.9, 0.8}, // falls along the line from 70 % to 95 %
		{0.89, 0.76},
		{0.91, 0.76}, // between the lines: stays
		{0.8, 0.4},
		{0.75, 0.2},
		{0.78, 0.2},
		{0.7, 0},
		{0.8, 0},
	} {
		if s = settle(s, step.cpu); math.Abs(s.Severity-step.want) > 1e-6 || s.Active() != (step.want > 0) {
			t.Fatalf("step %d: severity %.4f at %v, want %v", i, s.Severity, step.cpu, step.want)
		}
	}
	if s = settle(s, 0.69); s.Active() {
		t.Error("sheds below 70 %")
	}
	if s = s.Observe(s.At.Add(time.Minute), 1, 0); s.Active() {
		t.Error("sheds when turned off")
	}
}

func TestSheddingIsSmoothedOverASecond(t *testing.T) {
	s := failover.Shedding{}.Observe(start, 0.2, 0.8)
	s = s.Observe(start.Add(100*time.Millisecond), 1, 0.8)
	if s.CPU < 0.25 || s.CPU > 0.3 {
		t.Errorf("CPU %.3f 100 ms after a jump from 0.2 to 1, want about 0.28", s.CPU)
	}
}

func TestLowestPrioritiesAreRefusedFirst(t *testing.T) {
	tests := []struct {
		share    float64
		mix      failover.Mix // critical, high, normal, low
		want     failover.Mix
		shedding failover.Mix // where critical ones are spared
	}{
		{0, failover.Mix{1, 1, 1, 1}, failover.Mix{}, failover.Mix{}},
		{0.25, failover.Mix{1, 1, 1, 1}, failover.Mix{0, 0, 0, 1}, failover.Mix{0, 0, 0, 0.75}},
		{0.5, failover.Mix{0, 0, 10, 0}, failover.Mix{0, 0, 0.5, 1}, failover.Mix{0, 0, 0.5, 1}},
		{0.5, failover.Mix{10, 0, 0, 0}, failover.Mix{0.5, 1, 1, 1}, failover.Mix{0, 0, 0.5, 1}},
		{1, failover.Mix{1, 2, 3, 4}, failover.Mix{1, 1, 1, 1}, failover.Mix{0, 1, 1, 1}},
		{0.5, failover.Mix{}, failover.Mix{0, 0, 1, 1}, failover.Mix{0, 0, 0.5, 1}},
	}
	for _, tt := range tests {
		if got := failover.Refuse(tt.share, tt.mix); got != tt.want {
			t.Errorf("Refuse(%v, %v) = %v, want %v", tt.share, tt.mix, got, tt.want)
		}
		if got := (failover.Shedding{Severity: tt.share}).Refuse(tt.mix); got != tt.shedding {
			t.Errorf("Shedding{%v}.Refuse(%v) = %v, want %v", tt.share, tt.mix, got, tt.shedding)
		}
	}
}

func TestRefusedSharesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0, 1).Draw(t, "share")
		var mix failover.Mix
		total, refused := 0.0, 0.0
		for p := range mix {
			mix[p] = rapid.Float64Range(0.001, 1000).Draw(t, "rate")
			total += mix[p]
		}
		got := failover.Refuse(share, mix)
		for p := range mix {
			refused += got[p] * mix[p]
			if p > 0 && got[p] < 1-1e-9 && got[p-1] > 1e-9 {
				t.Fatalf("%v: a higher priority is refused before a lower one", got)
			}
		}
		if math.Abs(refused-share*total) > 1e-6*total {
			t.Fatalf("%v refused of %v, want %v of it", refused, total, share)
		}
		if (failover.Shedding{Severity: share}).Refuse(mix)[failover.Critical] != 0 {
			t.Fatal("critical requests are shed")
		}
	})
}

func TestRetriesKeepToTheirBudget(t *testing.T) {
	for _, tt := range []struct{ requests, percent, want int }{
		{0, 20, 10}, {10, 20, 10}, {1000, 20, 200}, {1000, 50, 500}, {1000, 0, 0},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			b := failover.NewRetryBudget(start)
			now := start
			for range tt.requests {
				b.Request(now)
				now = now.Add(5 * time.Millisecond)
			}
			got := 0
			for range 2 * (tt.requests + 10) {
				if b.Retry(now, tt.percent) {
					got++
				}
			}
			if got != tt.want {
				t.Errorf("%d retries, want %d", got, tt.want)
			}
		})
	}
}

func TestRetryBudgetForgetsAfterTenSeconds(t *testing.T) {
	b := failover.NewRetryBudget(start)
	for range 1000 {
		b.Request(start)
	}
	spend := func(now time.Time) (n int) {
		for b.Retry(now, 20) {
			n++
		}
		return n
	}
	if got := spend(start.Add(9 * time.Second)); got != 200 {
		t.Errorf("%d retries after 9s, want 200", got)
	}
	if got := spend(start.Add(15 * time.Second)); got != 0 {
		t.Errorf("%d retries while those before count and requests no longer do, want none", got)
	}
	if got := spend(start.Add(20 * time.Second)); got != 10 {
		t.Errorf("%d retries when all is forgotten, want 10", got)
	}
}

func TestRetryBudgetUnderContention(t *testing.T) {
	b := failover.NewRetryBudget(start)
	var retries atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 5000 {
				now := start.Add(time.Duration(i) * time.Millisecond)
				b.Request(now)
				if b.Retry(now, 20) {
					retries.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := retries.Load(); n < 4000 || n > 8100 {
		t.Errorf("%d retries of 40000 requests, want about 8000 and hardly more", n)
	}
}

func TestRetryBudgetDoesNotAllocate(t *testing.T) {
	b := failover.NewRetryBudget(start)
	if n := testing.AllocsPerRun(100, func() { b.Request(start); b.Retry(start, 20) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
