package telemetry_test

import (
	"encoding/json"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/telemetry"
)

// Three nodes count, the sums are merged as JSON: each percentile is within 2 %
// of the exact one.
func TestMergedPercentilesAreExactEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exponent := rapid.Float64Range(math.Log(4e3), math.Log(500e9))
		logs := rapid.SliceOfN(exponent, 1, 300).Draw(t, "logs of ns")
		nodes := []*telemetry.Traffic{telemetry.NewTraffic(), telemetry.NewTraffic(), telemetry.NewTraffic()}
		var exact []time.Duration
		for i, l := range logs {
			d := time.Duration(math.Exp(l))
			exact = append(exact, d)
			nodes[i%3].Series("r").Add(d, false)
		}
		slices.Sort(exact)
		var merged telemetry.Count
		for _, n := range nodes {
			n.Advance()
			data, err := json.Marshal(n.Routes()["r"])
			if err != nil {
				t.Fatal(err)
			}
			var one telemetry.Count
			if err := json.Unmarshal(data, &one); err != nil {
				t.Fatal(err)
			}
			merged.Merge(one)
		}
		if merged.Requests != uint64(len(exact)) {
			t.Fatalf("%d requests, want %d", merged.Requests, len(exact))
		}
		shares := []float64{0.01, 0.5, 0.9, 0.99, 1}
		for i, got := range merged.Latency.Quantiles(shares...) {
			rank := max(1, int(math.Ceil(shares[i]*float64(len(exact)))))
			want := exact[rank-1]
			if off := math.Abs(float64(got-want)) / float64(want); off > 0.02 {
				t.Errorf("p%v = %v, exactly %v: %.1f %% off", 100*shares[i], got, want, 100*off)
			}
		}
	})
}

func TestTheWindowMovesOn(t *testing.T) {
	traffic := telemetry.NewTraffic()
	s := traffic.Series("r")
	for range 10 {
		s.Add(time.Millisecond, true)
	}
	if len(traffic.Routes()) != 0 {
		t.Error("a slot that is being filled is read")
	}
	traffic.Advance()
	if c := traffic.Routes()["r"]; c.Requests != 10 || c.Errors != 10 || c.Seconds != 2 {
		t.Errorf("got %+v", c)
	}
	for range 4 {
		traffic.Advance()
	}
	if c := traffic.Routes()["r"]; c.Requests != 10 || c.Seconds != 10 {
		t.Errorf("after a window: got %+v", c)
	}
	traffic.Advance()
	if c, ok := traffic.Routes()["r"]; ok {
		t.Errorf("after more than a window: got %+v", c)
	}
	traffic.Keep(func(string) bool { return false })
	if traffic.Series("r") == s {
		t.Error("the series of a route that is gone is kept")
	}
}

func TestTheUsualIsWhatWasBefore(t *testing.T) {
	traffic := telemetry.NewTraffic()
	s := traffic.Series("r")
	slot := func(requests, errors int) {
		for i := range requests {
			s.Add(time.Millisecond, i < errors)
		}
		traffic.Advance()
	}
	for range 30 {
		slot(20, 1)
	}
	slot(200, 100)
	slot(200, 100)
	h := traffic.History()["r"]
	if math.Abs(h.UsualRate-10) > 0.1 || math.Abs(h.UsualErrors-0.05) > 0.001 || h.Rate != 100 || h.Errors != 0.5 || h.Age != time.Minute {
		t.Errorf("got %+v", h)
	}
}

func TestARouteWithoutRequestsHasAPastOfNone(t *testing.T) {
	traffic := telemetry.NewTraffic()
	early := traffic.Series("early")
	for range 32 {
		traffic.Advance()
	}
	late := traffic.Series("late")
	for range 20 {
		early.Add(time.Millisecond, false)
		late.Add(time.Millisecond, false)
	}
	traffic.Advance()
	want, got := traffic.History()["early"], traffic.History()["late"]
	if math.Abs(got.UsualRate-want.UsualRate) > 1e-9 || got.Rate != want.Rate || got.Age != want.Age || got.Age < time.Minute {
		t.Errorf("got %+v, want that of one that was counted all the time: %+v", got, want)
	}
	traffic.Keep(func(string) bool { return true })
	traffic.Series("new").Add(time.Millisecond, false)
	traffic.Advance()
	if h := traffic.History()["new"]; h.Age > 0 {
		t.Errorf("a new route has a past: %+v", h)
	}
}

func TestCountersAddUpWhileTheyMove(t *testing.T) {
	traffic := telemetry.NewTraffic()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s := traffic.Series("r")
			for i := range 10_000 {
				s.Add(time.Duration(i)*time.Microsecond, false)
			}
		})
	}
	for range 3 {
		traffic.Advance()
		traffic.Routes()
	}
	wg.Wait()
	traffic.Advance()
	if c := traffic.Routes()["r"]; c.Requests != 40_000 {
		t.Errorf("%d of 40000 are counted", c.Requests)
	}
}

func BenchmarkCount(b *testing.B) {
	s := telemetry.NewTraffic().Series("r")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := time.Duration(0); pb.Next(); i++ {
			s.Add(i%1000*time.Microsecond, false)
		}
	})
}
