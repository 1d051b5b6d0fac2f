package node

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestAnEditHasSpreadWhenAllWhoLiveServeIt(t *testing.T) {
	s := newSpread(prometheus.NewRegistry())
	begun := time.Now()
	at := func(after time.Duration, versions ...uint64) time.Time {
		holders := []holder{{name: "dead", version: 1}}
		for _, v := range versions {
			holders = append(holders, holder{alive: true, version: v})
		}
		return s.look(begun.Add(after), holders)
	}
	s.made(2, begun)
	s.made(3, begun.Add(time.Second))
	for _, step := range []struct {
		after    time.Duration
		versions []uint64
		oldest   time.Time // zero: all have spread
		measured float64   // seconds, in all
	}{
		{time.Second, []uint64{2, 1}, begun, 0},
		{2 * time.Second, []uint64{2, 2}, begun.Add(time.Second), 2},
		{3 * time.Second, []uint64{3, 2}, begun.Add(time.Second), 2},
		{5 * time.Second, []uint64{4, 3}, time.Time{}, 6}, // a newer one has it too
	} {
		if got := at(step.after, step.versions...); !got.Equal(step.oldest) {
			t.Errorf("after %v: the oldest is of %v, want %v", step.after, got, step.oldest)
		}
		var m dto.Metric
		if err := s.seconds.Write(&m); err != nil {
			t.Fatal(err)
		}
		if got := m.GetHistogram().GetSampleSum(); got != step.measured {
			t.Errorf("after %v: %v s measured, want %v", step.after, got, step.measured)
		}
	}
}
