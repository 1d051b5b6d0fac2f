package node

import (
	"maps"
	"slices"
	"testing"
	"time"
)

func TestAnEventIsALineOfTheLog(t *testing.T) {
	e, ok := eventOf([]byte(`{"level":"warn","node":"a","region":"eu","upstream":"orders","share":0.5,"time":"2026-01-02T03:04:05Z","message":"failover began"}`))
	if !ok || e.Level != "warn" || e.Message != "failover began" || !e.Time.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("%+v", e)
	}
	if got := slices.Sorted(maps.Keys(e.Fields)); !slices.Equal(got, []string{"share", "upstream"}) || string(e.Fields["upstream"]) != `"orders"` {
		t.Errorf("fields %v", e.Fields)
	}
	for _, line := range []string{"", "{", "[]", "{}", `{"level":1,"time":"now","message":"x"}`, `{"level":"info","message":"no time"}`} {
		if e, ok := eventOf([]byte(line)); ok {
			t.Errorf("%s: %+v", line, e)
		}
	}
}
