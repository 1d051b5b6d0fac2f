package failover_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/failover"
)

// twin is a breaker told step by step, with its state spelled out and a timer
// that somebody has to fire.
type twin struct {
	state    string
	failures int
	openings int
	rest     time.Duration
	until    time.Time // open: end of the rest; half_open: end of the probe's lease
	closed   time.Time
	probing  bool
	probe    time.Time
}

func (w *twin) tick(now time.Time) {
	if w.state == "open" && !now.Before(w.until) {
		w.state, w.probing = "half_open", false
	}
}

func (w *twin) open(now time.Time, jitter float64) {
	if w.state == "closed" && now.Sub(w.closed) > w.rest {
		w.openings = 0
	}
	w.openings++
	w.rest = []time.Duration{30, 60, 120, 240, 300}[min(w.openings, 5)-1] * time.Second
	w.rest = min(5*time.Minute, time.Duration(float64(w.rest)*(0.9+0.2*jitter)))
	w.state, w.failures, w.until, w.probing = "open", 0, now.Add(w.rest), false
}

func (w *twin) claim(now time.Time) bool {
	switch w.state {
	case "closed":
		return true
	case "half_open":
		if !w.probing || !now.Before(w.until) {
			w.probing, w.probe, w.until = true, now, now.Add(30*time.Second)
			return true
		}
	}
	return false
}

func (w *twin) report(now, began time.Time, kind failover.Kind, jitter float64) {
	bad := kind != failover.OK
	switch {
	case w.state == "closed" && kind != failover.Canceled && !began.Before(w.closed):
		if w.failures++; !bad {
			w.failures = 0
		}
		if w.failures == 5 {
			w.open(now, jitter)
		}
	case w.state == "half_open" && w.probing && !began.Before(w.probe):
		switch {
		case kind == failover.Canceled:
			w.probing = false
		case bad:
			w.open(now, jitter)
		default:
			w.state, w.closed = "closed", now
		}
	}
}

func TestBreakerDoesWhatItsTwinDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b failover.Breaker
		w, now, began := twin{state: "closed"}, start, []time.Time{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 100, 5_000, 40_000, 400_000}).Draw(t, "ms")) * time.Millisecond)
			w.tick(now)
			jitter := rapid.Float64Range(0, 0.999).Draw(t, "jitter")
			if rapid.Bool().Draw(t, "ask") {
				next, ok := b.Claim(now)
				if want := w.claim(now); ok != want {
					t.Fatalf("Claim = %v in state %v, want %v", ok, b.State(now), want)
				}
				if b = next; ok {
					began = append(began, now)
				}
			} else if len(began) > 0 {
				i := rapid.IntRange(0, len(began)-1).Draw(t, "which")
				kind := rapid.SampledFrom([]failover.Kind{failover.OK, failover.Canceled, failover.Reset, failover.TimedOut, failover.Reset}).Draw(t, "kind")
				b = b.Report(now, began[i], kind, failover.BreakerConfig{}, jitter)
				w.report(now, began[i], kind, jitter)
				began = append(began[:i], began[i+1:]...)
			}
			if got := b.State(now).String(); got != w.state {
				t.Fatalf("state %s, want %s", got, w.state)
			}
			if b.Failures != w.failures {
				t.Fatalf("%d failures counted, want %d", b.Failures, w.failures)
			}
		}
	})
}

func TestBreakerRestsLongerEachTime(t *testing.T) {
	var b failover.Breaker
	now := start
	for _, want := range []time.Duration{30, 60, 120, 240, 300, 300} {
		b = b.Open(now, failover.BreakerConfig{}, 0.5)
		if b.Rest != want*time.Second {
			t.Fatalf("rest %v, want %v", b.Rest, want*time.Second)
		}
		now = now.Add(b.Rest)
		b = b.Close(now)
		now = now.Add(b.Rest) // not long enough to be forgiven
	}
	if b = b.Open(now.Add(time.Nanosecond), failover.BreakerConfig{}, 0.5); b.Rest != 30*time.Second {
		t.Errorf("rest %v after a quiet time, want 30s", b.Rest)
	}
}

func TestBreakerKeepsToItsConfig(t *testing.T) {
	var b failover.Breaker
	for range 100 {
		b = b.Report(start, start, failover.Reset, failover.BreakerConfig{Off: true}, 0)
	}
	if b.State(start) != failover.BreakerClosed {
		t.Error("a breaker that is off opened")
	}
	c := failover.BreakerConfig{Failures: 2, OpenFor: time.Second}
	b = b.Report(start, start, failover.Reset, c, 0.5).Report(start, start, failover.Reset, c, 0.5)
	if b.State(start) != failover.BreakerOpen || b.State(start.Add(time.Second)) != failover.BreakerHalfOpen {
		t.Errorf("after two failures of two and one second: %v, then %v", b.State(start), b.State(start.Add(time.Second)))
	}
}
