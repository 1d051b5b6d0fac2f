package quota

import (
	"testing"
	"time"
)

func TestWhatIsAdmittedBeyondALimitIsCounted(t *testing.T) {
	l := &Limit{Name: "l", Rate: 100, Burst: 50, Hold: HoldAuto, Isolated: 0.5}
	for _, tt := range []struct {
		name     string
		admitted []int64 // by one node, reported each half a second
		beyond   float64
	}{
		{"nothing", []int64{0, 0, 0}, 0},
		{"rate", []int64{0, 50, 50, 50, 50}, 0},
		{"burst and rate", []int64{0, 100, 50, 50}, 0},
		{"a moment too much", []int64{0, 130, 50, 50}, 30},
		{"always twice as much", []int64{0, 100, 100, 100, 100}, 150},
		{"too much, then less", []int64{0, 130, 0, 100}, 30},
	} {
		s := quiet(3)
		h := newHome(0, l, 0, s)
		count := int64(0)
		for i, n := range tt.admitted {
			count += n
			h.report(time.Duration(i)*500*time.Millisecond, 2, 1, &report{Key: 1, Seq: int64(i + 1), Born: 1, Count: count, Demand: 100, Want: 1}, s)
		}
		if got := s.audit.beyond[l.id()]; got < tt.beyond-0.1 || got > tt.beyond+0.1 {
			t.Errorf("%s: %v beyond the limit, want %v", tt.name, got, tt.beyond)
		}
		if a := s.audit.ages; a.Count != uint64(len(tt.admitted)-1) || a.UpTo[1] != 0 || a.UpTo[2] != a.Count {
			t.Errorf("%s: ages %+v, want all of half a second", tt.name, a)
		}
	}
}

func TestWhoIsHeardOfAgainCountsAsOld(t *testing.T) {
	s := quiet(3)
	h := newHome(0, &Limit{Name: "l", Rate: 100, Burst: 50, Isolated: 0.5}, 0, s)
	for i, at := range []time.Duration{0, time.Second, 10 * time.Second} {
		h.report(at, 2, 1, &report{Key: 1, Seq: int64(i + 1), Born: 1, Demand: 100, Want: 1}, s)
	}
	if a := s.audit.ages; a.Count != 2 || a.UpTo[len(a.UpTo)-1] != 1 || a.Sum != 10*time.Second {
		t.Errorf("ages %+v, want one of a second and one of nine", a)
	}
}
