package quota_test

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/quota"
)

func TestFields(t *testing.T) {
	for _, c := range []struct {
		limit        quota.Limit
		policy, rate string
	}{
		{quota.Limit{Name: "a", Rate: 100, Burst: 200}, `"a";q=200;w=2`, `"a";r=42;t=17`},
		{quota.Limit{Name: "a", Rate: 10. / 60, Burst: 10, Window: time.Minute}, `"a";q=10;w=60`, `"a";r=42;t=17`},
		{quota.Limit{Name: "a", Rate: 0.001, Burst: 1}, `"a";q=1;w=1000`, `"a";r=42;t=17`},
		{quota.Limit{Name: "a", Slots: 50}, `"a";q=50;qu="concurrent-requests"`, `"a";r=42`},
		{quota.Limit{Name: "q\"\\é", Rate: 1, Burst: 1}, `"q\"\\?";q=1;w=1`, `"q\"\\?";r=42;t=17`},
	} {
		if got := string(c.limit.AppendPolicy(nil)); got != c.policy {
			t.Errorf("%s, want %s", got, c.policy)
		}
		d := quota.Decision{Limit: &c.limit, Remaining: 42, Reset: 16500 * time.Millisecond}
		if got := string(d.AppendRateLimit(nil)); got != c.rate {
			t.Errorf("%s, want %s", got, c.rate)
		}
	}
	if d := (quota.Decision{}); len(d.AppendRateLimit(nil)) > 0 {
		t.Error("a field of no limit")
	}
}

func TestRetryAfterIsAtLeastASecondAndAFifthMoreAtMost(t *testing.T) {
	for _, c := range []struct {
		after  time.Duration
		random float64
		want   int64
	}{{0, 0, 1}, {time.Second, 0, 1}, {1100 * ms, 0, 2}, {10 * time.Second, 0.999, 12}, {1 << 62, 1, 4611686019}} {
		d := quota.Decision{RetryAfter: c.after}
		if got := d.RetryAfterSeconds(c.random); got != c.want {
			t.Errorf("%v, %v: %d, want %d", c.after, c.random, got, c.want)
		}
	}
}
