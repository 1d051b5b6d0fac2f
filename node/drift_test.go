package node

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/roster"
)

func TestDriftIsAListBeforeAnybodyHasLooked(t *testing.T) {
	if got := new(driftWatch).now(); got.Nodes == nil {
		t.Error("no list of nodes")
	}
}

func TestDriftNamesWhoLagsBehindTheNewestAndSinceWhen(t *testing.T) {
	var d driftWatch
	start := time.Unix(1000, 0)
	d.look(start, []holder{
		{name: "a", alive: true, version: 7, digest: "x"},
		{name: "b", alive: true, version: 5, digest: "y"},
		{name: "c", version: 6, digest: "z"},
		{name: "d", alive: true, version: 7, digest: "x"},
	})
	d.look(start.Add(time.Second), []holder{
		{name: "a", alive: true, version: 8, digest: "w"},
		{name: "b", alive: true, version: 5, digest: "y"},
		{name: "c", version: 6, digest: "z"},
		{name: "d", alive: true, version: 8, digest: "w"},
	})
	got := d.now()
	if got.MaxVersionsBehind != 3 || len(got.Nodes) != 2 {
		t.Fatalf("%+v", got)
	}
	b, c := got.Nodes[0], got.Nodes[1]
	if b.Name != "b" || b.VersionsBehind != 3 || !b.Since.Equal(start) || b.Reason != "not received yet" {
		t.Errorf("b: %+v", b)
	}
	if c.Name != "c" || c.VersionsBehind != 2 || c.Reason != "unreachable since 1970-01-01T00:16:40Z" {
		t.Errorf("c: %+v", c)
	}
}

func TestDriftLastsSinceTheFirstInSightLags(t *testing.T) {
	var d driftWatch
	start := time.Unix(1000, 0)
	for i, step := range []struct {
		holders []holder
		lasts   time.Duration
	}{
		{[]holder{{name: "a", alive: true, version: 7}, {name: "c", version: 6}}, 0}, // out of sight
		{[]holder{{name: "a", alive: true, version: 7}, {name: "b", alive: true, version: 6}}, 0},
		{[]holder{{name: "a", alive: true, version: 9}, {name: "b", alive: true, version: 8}}, time.Second},
		{[]holder{{name: "a", alive: true, version: 9}, {name: "b", alive: true, version: 9}}, 0},
	} {
		now := start.Add(time.Duration(i) * time.Second)
		d.look(now, step.holders)
		if got := d.lasts(now); got != step.lasts {
			t.Errorf("step %d: %v, want %v", i, got, step.lasts)
		}
	}
}

func TestOneVersionWithTwoDigestsIsDrift(t *testing.T) {
	var d driftWatch
	d.look(time.Unix(0, 0), []holder{{name: "a", alive: true, version: 5, digest: "x"}, {name: "b", alive: true, version: 5, digest: "y"}})
	if got := d.now(); len(got.Nodes) != 1 || got.Nodes[0].Name != "a" || got.MaxVersionsBehind != 0 {
		t.Errorf("%+v", got)
	}
}

func TestDriftTellsWhatANodeSaysIsInItsWay(t *testing.T) {
	var d driftWatch
	d.look(time.Unix(0, 0), []holder{
		{name: "a", alive: true, version: 7, digest: "x"},
		{name: "b", alive: true, version: 5, digest: "y", why: "refused: too_big"},
		{name: "c", alive: true, version: 7, digest: "x", held: 1, why: "held back: route/r"},
		{name: "d", version: 7, digest: "x", held: 1, why: "held back: route/r"}, // as it last said
	})
	got := d.now()
	if len(got.Nodes) != 2 || got.Nodes[0].Reason != "refused: too_big" || got.Nodes[1].Name != "c" || got.Nodes[1].Reason != "held back: route/r" {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsHeldBackEverywhereIsNoDrift(t *testing.T) {
	var d driftWatch
	d.look(time.Unix(0, 0), []holder{
		{name: "a", alive: true, version: 7, digest: "x", held: 1, why: "held back: route/r"},
		{name: "b", alive: true, version: 7, digest: "x", held: 1, why: "held back: route/r"},
	})
	if got := d.now(); len(got.Nodes) != 0 {
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
