package node

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/roster"
)

func TestDriftNamesWhoLagsBehindTheNewestAndSinceWhen(t *testing.T) {
	var d driftWatch
	start := time.Unix(1000, 0)
	d.look(start, []holder{{"a", true, 7, "x"}, {"b", true, 5, "y"}, {"c", false, 6, "z"}, {"d", true, 7, "x"}})
	d.look(start.Add(time.Second), []holder{{"a", true, 8, "w"}, {"b", true, 5, "y"}, {"c", false, 6, "z"}, {"d", true, 8, "w"}})
	got := d.now()
	if got.MaxVersionsBehind != 3 || len(got.Nodes) != 2 {
		t.Fatalf("%+v", got)
	}
	b, c := got.Nodes[0], got.Nodes[1]
	if b.Name != "b" || b.VersionsBehind != 3 || !b.Since.Equal(start) || b.Reason != "not received yet" {
		t.Errorf("b: %+v", b)
	}
	if c.Name != "c" || c.VersionsBehind != 2 || c.Reason != "not reachable" {
		t.Errorf("c: %+v", c)
	}
}

func TestOneVersionWithTwoDigestsIsDrift(t *testing.T) {
	var d driftWatch
	d.look(time.Unix(0, 0), []holder{{"a", true, 5, "x"}, {"b", true, 5, "y"}})
	if got := d.now(); len(got.Nodes) != 1 || got.Nodes[0].Name != "a" || got.MaxVersionsBehind != 0 {
		t.Errorf("%+v", got)
	}
}

func TestLoadIsSmoothedOverASecond(t *testing.T) {
	var m meter
	now := time.Unix(0, 0)
	m.measure(now, 0, 0, 0)
	var load roster.Load
	for i := range 50 { // ten seconds at 100 requests a second
		now = now.Add(200 * time.Millisecond)
		load = m.measure(now, 0, uint64(i+1)*20, 3)
	}
	if load.RequestsPerSecond < 99 || load.RequestsPerSecond > 101 || load.Inflight != 3 || load.CPU != 0 {
		t.Errorf("%+v", load)
	}
	if worthTelling(load, load) {
		t.Error("an unchanged load is worth telling")
	}
	if !worthTelling(roster.Load{}, load) {
		t.Error("a hundred requests a second are not")
	}
}
