package failover_test

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// try sends one request through e.
func try(now time.Time, e *failover.Endpoint, kind failover.Kind, latency time.Duration) {
	e.Begin(now.Add(-latency))
	e.End(now, failover.Outcome{Kind: kind, Latency: latency})
}

// old returns endpoints whose slow start is over at start.
func old(n int) []*failover.Endpoint {
	all := endpoints(n)
	failover.NewBalancer(failover.Random, candidates(all))
	return all
}

func status(t *testing.T, e *failover.Endpoint, now time.Time, want failover.Status) {
	t.Helper()
	if got := e.State(now); got.Status != want {
		t.Fatalf("state %v (%s), want %v", got.Status, got.Reason, want)
	}
}

func TestHalfOpenEndpointIsProbedByOneRequestAtATime(t *testing.T) {
	for name, policy := range policies() {
		t.Run(name, func(t *testing.T) {
			all := old(2)
			b := failover.NewBalancer(policy, candidates(all))
			breakOpen(start, all[0])
			status(t, all[0], start, failover.Open)
			now := start.Add(33 * time.Second) // 30 s and its jitter
			status(t, all[0], now, failover.HalfOpen)
			probes := 0
			for key := range uint64(500) {
				e, err := b.Pick(now, key, nil)
				if err != nil {
					t.Fatal(err)
				}
				if e.Begin(now); e == all[0] {
					probes++
				}
			}
			if probes != 1 {
				t.Fatalf("%d of 500 requests sent to a half-open endpoint, want 1", probes)
			}
			all[0].End(now, failover.Outcome{Kind: failover.Canceled})
			if e, err := b.Pick(now, 1, all[1:]); e != all[0] || err != nil {
				t.Fatalf("Pick = %v, %v after the probe was canceled, want another probe", e, err)
			}
			all[0].Begin(now)
			all[0].End(now, failover.Outcome{Latency: time.Nanosecond, Kind: failover.OK})
			status(t, all[0], now, failover.HalfOpen) // began before the probe: no word of it
			try(now, all[0], failover.OK, 0)
			status(t, all[0], now, failover.Closed)
		})
	}
}

func TestAProbeThatIsNotSentIsLeftToAnother(t *testing.T) {
	all := old(2)
	b := failover.NewBalancer(failover.Random, candidates(all))
	breakOpen(start, all[0])
	early, now := start.Add(20*time.Second), start.Add(33*time.Second)
	pick := func() *failover.Endpoint {
		e, _ := b.Pick(now, 1, all[1:])
		return e
	}
	if pick() != all[0] || pick() != nil {
		t.Fatal("want one probe")
	}
	all[0].Forgo(now, early) // has waited since before the probe, which is another's
	if pick() != nil {
		t.Fatal("the probe under way was given to another")
	}
	all[0].Forgo(now.Add(time.Second), now)
	if pick() != all[0] {
		t.Fatal("the probe that was not sent is missed")
	}
}

func TestConcurrentPicksShareOneProbe(t *testing.T) {
	all := old(3)
	b := failover.NewBalancer(failover.LeastRequest, candidates(all))
	for _, e := range all {
		breakOpen(start, e)
	}
	now := start.Add(34 * time.Second)
	var got atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for key := range uint64(100) {
				if _, err := b.Pick(now, key+uint64(i)<<32, nil); err == nil {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got.Load() != 3 {
		t.Errorf("%d probes sent to three endpoints, want 3", got.Load())
	}
}

func TestRequestsFromSeveralGoroutinesAreCounted(t *testing.T) {
	all := old(5)
	b := failover.NewBalancer(failover.LeastRequest, candidates(all))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			now := start
			for key := range uint64(2000) {
				now = now.Add(time.Millisecond)
				e, err := b.Pick(now, key, nil)
				if errors.Is(err, failover.ErrExhausted) {
					continue
				}
				kind := failover.OK
				if (key+uint64(i))%3 == 0 {
					kind = failover.Reset
				}
				e.Begin(now)
				e.State(now)
				e.End(now, failover.Outcome{Kind: kind, Latency: time.Millisecond})
			}
		})
	}
	wg.Wait()
	for i, e := range all {
		if e.Inflight() != 0 {
			t.Errorf("endpoint %d has %d in flight when all ended", i, e.Inflight())
		}
	}
}

func TestAnswerCountsBeforeTheEnd(t *testing.T) {
	e := endpoints(1)[0]
	e.Begin(start)
	e.Answer(start.Add(time.Second), failover.Outcome{Latency: time.Second})
	if got := e.Latency(start.Add(time.Second)); got != time.Second {
		t.Errorf("latency %v after the header came, want 1s", got)
	}
	if e.Inflight() != 1 {
		t.Errorf("%d in flight while the body streams, want 1", e.Inflight())
	}
	e.End(start.Add(time.Minute), failover.Outcome{Answered: true})
	if got := e.Inflight(); got != 0 {
		t.Errorf("%d in flight at the end, want 0", got)
	}
	for range 5 {
		e.Begin(start)
		e.Answer(start, failover.Outcome{Kind: failover.OK})
		e.End(start, failover.Outcome{Kind: failover.Reset, Answered: true})
	}
	status(t, e, start, failover.Closed) // a header between two cut bodies is a success
	for range 4 {
		try(start, e, failover.ConnectFailed, 0)
	}
	status(t, e, start, failover.Open) // the last cut body was the first of five
}

func TestNewEndpointStartsSlowlyBesideOldOnes(t *testing.T) {
	for name, policy := range policies() {
		if policy == failover.ConsistentHash {
			continue
		}
		t.Run(name, func(t *testing.T) {
			all := old(3)
			now := start.Add(time.Minute)
			all = append(all, failover.NewEndpoint(now, "http://10.0.0.99:1", "eu"))
			for _, e := range all {
				try(now, e, failover.OK, 10*time.Millisecond)
			}
			b := failover.NewBalancer(policy, candidates(all))
			for i, want := range []float64{0.1, 0.5, 1} {
				age := time.Duration(i) * 15 * time.Second
				got := picked(t, b, now.Add(age), 20000)
				want /= 3 + want
				if share := float64(got[all[3]]) / 20000; math.Abs(share-want) > 0.03 {
					t.Errorf("share %.3f after %v, want %.3f", share, age, want)
				}
			}
		})
	}
}

func TestRecoveredEndpointStartsSlowly(t *testing.T) {
	all := old(2)
	b := failover.NewBalancer(failover.Random, candidates(all))
	breakOpen(start, all[0])
	now := start.Add(40 * time.Second)
	all[0].Tried(now, failover.OK)
	got := picked(t, b, now, 10000)
	if share := float64(got[all[0]]) / 10000; math.Abs(share-0.1/1.1) > 0.02 {
		t.Errorf("share %.3f just recovered, want a tenth of the other's", share)
	}
}

func TestSlowStartOutlivesTableChangesAndDeadSiblings(t *testing.T) {
	all := old(30)
	for _, e := range all {
		e.Heed(start, failover.Decision{Checks: true, Peers: true})
	}
	all[0].Heed(start, failover.Decision{})
	now := start.Add(29999 * time.Millisecond) // the first is still in slow start, by a hair
	all[1].Heed(now, failover.Decision{})
	for name, cs := range map[string][]failover.Candidate{"two": candidates(all[:2]), "most dead": candidates(all)} {
		got := picked(t, failover.NewBalancer(failover.Random, cs), now, 10000)
		if share := float64(got[all[1]]) / 10000; math.Abs(share-0.1/1.1) > 0.02 {
			t.Errorf("%s: share %.3f just recovered, want a tenth of the other's", name, share)
		}
	}
}

func TestChecksAloneNeverCloseTheLastWay(t *testing.T) {
	all := old(2)
	b := failover.NewBalancer(failover.LeastRequest, candidates(all))
	all[0].Heed(start, failover.Decision{Checks: true, Reason: "check fails at a"})
	for key := range uint64(50) {
		if e, err := b.Pick(start, key, nil); e != all[1] || err != nil {
			t.Fatalf("Pick = %v, %v; want the healthy one", e, err)
		}
	}
	if e, err := b.Pick(start, 1, all[1:]); err == nil {
		t.Fatalf("Pick = %v for a retry while the way was open, want none", e)
	}
	all[1].Heed(start, failover.Decision{Checks: true, Reason: "check fails at a"})
	if got := picked(t, b, start, 1000); len(got) != 2 {
		t.Fatalf("%d endpoints used when checks keep all out, want 2", len(got))
	}
	if health, unchecked := b.Health(); health != 0 || unchecked != 1 {
		t.Errorf("health %v, %v; want 0, 1", health, unchecked)
	}
	breakOpen(start, all[0])
	all[1].Heed(start, failover.Decision{Peers: true, Checks: true, Reason: "breaker open at b"})
	if e, err := b.Pick(start, 1, nil); err == nil {
		t.Fatalf("Pick = %v when breakers keep all out, want none", e)
	}
	status(t, all[1], start, failover.Unhealthy)
	all[1].Heed(start, failover.Decision{})
	status(t, all[1], start, failover.Closed)
	if health, _ := b.Health(); health != 0.5 {
		t.Errorf("health %v with one of two open, want 0.5", health)
	}
}

func TestEWMAPrefersTheFast(t *testing.T) {
	all := old(3)
	b := failover.NewBalancer(failover.EWMA, candidates(all))
	now := start
	for i, e := range all {
		try(now, e, failover.OK, time.Duration(1+50*i)*time.Millisecond)
	}
	got := picked(t, b, now, 3000)
	if got[all[0]] < got[all[1]] || got[all[1]] < got[all[2]] || got[all[2]] > 30 {
		t.Errorf("chosen %d, %d, %d times; want the faster oftener and the slowest hardly", got[all[0]], got[all[1]], got[all[2]])
	}
	try(now, all[0], failover.OK, time.Second)
	if got := picked(t, b, now, 3000); got[all[0]] > 30 {
		t.Errorf("an endpoint that just took 1s was chosen %d times", got[all[0]])
	}
	if l := all[0].Latency(now.Add(time.Minute)); l > 5*time.Millisecond {
		t.Errorf("latency %v a minute after a peak, want it forgotten", l)
	}
}

func TestLeastRequestEvensOutLoadByWeight(t *testing.T) {
	all := old(3)
	b := failover.NewBalancer(failover.LeastRequest, candidates(all, 100, 100, 200))
	for key := range uint64(4000) {
		e, err := b.Pick(start, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.Begin(start)
	}
	for i, want := range []int{1000, 1000, 2000} {
		if got := all[i].Inflight(); got < want-20 || got > want+20 {
			t.Errorf("endpoint %d has %d in flight, want about %d", i, got, want)
		}
	}
}

func TestEndpointKeepsToItsSettings(t *testing.T) {
	all := old(1)
	all = append(all, failover.NewEndpoint(start, "http://10.0.0.9:1", "us"))
	if all[1].Region() != "us" || !all[1].Novice() {
		t.Errorf("region %q, novice %v", all[1].Region(), all[1].Novice())
	}
	for _, e := range all {
		e.Configure(failover.Settings{Breaker: failover.BreakerConfig{Failures: 2, OpenFor: time.Second}, SlowStart: -1})
	}
	b := failover.NewBalancer(failover.Random, candidates(all))
	if got := picked(t, b, start, 10000); got[all[1]] < 4500 {
		t.Errorf("chosen %d times of 10000 without slow start, want half", got[all[1]])
	}
	later := start.Add(time.Second)
	try(later, all[1], failover.OK, 0)
	if all[1].Novice() {
		t.Error("a novice after an answer")
	}
	try(later, all[1], failover.Reset, 0)
	try(later, all[1], failover.Reset, 0)
	if b := all[1].Breaker(); b.State(later) != failover.BreakerOpen || b.Rest > 1100*time.Millisecond {
		t.Errorf("%+v after two failures, want it open for a second", b)
	}
}

func TestWordsOfTheRouteFile(t *testing.T) {
	for name, want := range policies() {
		if got, err := failover.ParsePolicy(name); got != want || err != nil {
			t.Errorf("ParsePolicy(%q) = %v, %v", name, got, err)
		}
	}
	if got, err := failover.ParsePolicy(""); got != failover.LeastRequest || err != nil {
		t.Errorf("the default policy is %v, %v", got, err)
	}
	if _, err := failover.ParsePolicy("fastest"); err == nil {
		t.Error("an unknown policy was accepted")
	}
	for want := failover.Critical; want <= failover.Low; want++ {
		if got, err := failover.ParsePriority(want.String()); got != want || err != nil {
			t.Errorf("ParsePriority(%q) = %v, %v", want, got, err)
		}
	}
	if got, err := failover.ParsePriority(""); got != failover.Normal || err != nil {
		t.Errorf("the default priority is %v, %v", got, err)
	}
	if _, err := failover.ParsePriority("urgent"); err == nil {
		t.Error("an unknown priority was accepted")
	}
}

func TestKindsThatCountAgainstTheEndpoint(t *testing.T) {
	for kind, want := range map[failover.Kind]string{
		failover.OK: "", failover.Canceled: "", failover.ConnectFailed: "connect_failure", failover.Reset: "reset",
		failover.TimedOut: "timeout", failover.Unavailable: "unavailable", failover.Stalled: "stalled",
	} {
		e := old(1)[0]
		for range 5 {
			try(start, e, kind, 0)
		}
		if got := e.State(start); got.Reason != want || (got.Status == failover.Open) != (want != "") {
			t.Errorf("five times %v: %v, %q; want reason %q", kind, got.Status, got.Reason, want)
		}
	}
}

// BenchmarkRequest is all that a request costs here: choice, counts, statistics.
func BenchmarkRequest(b *testing.B) {
	balancer := failover.NewBalancer(failover.LeastRequest, candidates(old(100)))
	budget := failover.NewRetryBudget(start)
	key, now := uint64(0), start
	b.ReportAllocs()
	for b.Loop() {
		key += 0x9e3779b97f4a7c15
		now = now.Add(10 * time.Microsecond)
		budget.Request(now)
		e, err := balancer.Pick(now, key, nil)
		if err != nil {
			b.Fatal(err)
		}
		e.Begin(now)
		e.Answer(now, failover.Outcome{Latency: time.Millisecond})
		e.End(now, failover.Outcome{Answered: true})
	}
}

func BenchmarkNewBalancer(b *testing.B) {
	for name, policy := range policies() {
		b.Run("endpoints=100/policy="+name, func(b *testing.B) {
			all := candidates(old(100), 100, 101, 50)
			b.ReportAllocs()
			for b.Loop() {
				failover.NewBalancer(policy, all)
			}
		})
	}
}
