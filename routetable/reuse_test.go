package routetable_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// world is what tables are made of, one after the other: objects never change, an
// edit replaces them.
type world struct {
	objects map[routetable.ID]routetable.Object
	stamps  map[routetable.ID]crdt.Stamp
	edits   uint64
}

func (w *world) put(o routetable.Object) {
	w.objects[o.ID()] = o
	w.stamps[o.ID()] = crdt.Stamp{Version: w.edits, Node: "a"}
}

// edit writes and deletes some of a few objects, which refer to each other.
func (w *world) edit(t *rapid.T) {
	w.edits++
	for _, name := range []string{"u0", "u1"} {
		if rapid.IntRange(0, 2).Draw(t, name) == 0 {
			url := pick(t, "url", "http://10.0.0.1", "http://10.0.0.2")
			w.put(&routetable.Upstream{Name: name, Endpoints: []routetable.Endpoint{{URL: url}}})
		}
	}
	for _, name := range []string{"l0", "l1"} {
		if rapid.IntRange(0, 2).Draw(t, name) == 0 {
			w.put(&routetable.Limit{Name: name, Concurrency: rapid.IntRange(1, 2).Draw(t, "slots")})
		}
	}
	for _, name := range []string{"r0", "r1", "r2", "r3"} {
		if rapid.Bool().Draw(t, name) {
			w.put(drawRoute(t, name))
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "deletions") {
		delete(w.objects, routetable.ParseID(pick(t, "deleted", "route/r0", "route/r1", "route/r2", "route/r3", "upstream/u0", "upstream/u1", "limit/l0", "limit/l1")))
	}
}

func drawRoute(t *rapid.T, name string) *routetable.Route {
	r := &routetable.Route{Name: name}
	for range rapid.IntRange(0, 2).Draw(t, "hosts") {
		r.Hosts = append(r.Hosts, pick(t, "host", "*", "a.io", "*.io", "B.a.io", "*.a.io"))
	}
	for range rapid.IntRange(0, 2).Draw(t, "matches") {
		r.Match = append(r.Match, drawMatch(t))
	}
	switch pick(t, "action", "respond", "upstream", "split") {
	case "respond":
		r.Respond = &routetable.Respond{Status: 200}
		return r
	case "upstream":
		r.Upstream = pick(t, "upstream", "u0", "u1")
	case "split":
		r.Split = []routetable.Split{{Upstream: "u0", Weight: rapid.IntRange(0, 1).Draw(t, "weight")}, {Upstream: "u1", Weight: 1}}
	}
	if rapid.Bool().Draw(t, "mirrored") {
		r.Mirror = &routetable.Mirror{Upstream: pick(t, "mirror", "u0", "u1"), Percent: 50}
	}
	if rapid.Bool().Draw(t, "limited") {
		r.Limits = []string{pick(t, "limit", "l0", "l1")}
	}
	return r
}

// after is the table of now, made from last.
func (w *world) after(last *routetable.Table) *routetable.Table {
	var all routetable.Objects
	for _, id := range slices.SortedFunc(maps.Keys(w.objects), routetable.ID.Compare) {
		all.Add(w.objects[id])
		if id.Kind == routetable.KindRoute {
			all.Stamps = append(all.Stamps, w.stamps[id])
		}
	}
	return last.Next(all, crdt.Stamp{Version: w.edits, Node: "a"}, "")
}

// described is all that a table says of its rules.
func described(table *routetable.Table) string {
	var b strings.Builder
	for _, r := range table.Rules() {
		fmt.Fprint(&b, r.Name, " ", r.Stamp, " ", r.Broken, " ", r.Respond, " ", r.Weight)
		for _, to := range r.Targets {
			fmt.Fprint(&b, " ", to.Weight, to.Timeouts, to.Upstream.Endpoints)
		}
		for _, l := range r.Limits {
			fmt.Fprint(&b, " ", l.Name, l.Concurrency)
		}
		if r.Mirror != nil {
			fmt.Fprint(&b, " ", r.Mirror.Upstream.Endpoints)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// wholly fails where a table refers to what another one had.
func wholly(t *rapid.T, table *routetable.Table) {
	seen := map[int]bool{}
	for _, r := range table.Rules() {
		if r.Index < 0 || r.Index >= table.Places() || seen[r.Index] || table.Rule(r.Name) != r {
			t.Fatalf("%s has index %d of %d", r.Name, r.Index, table.Places())
		}
		seen[r.Index] = true
		for _, to := range r.Targets {
			if table.Service(to.Upstream.Name) != to.Upstream {
				t.Fatalf("%s leads to an upstream of another table", r.Name)
			}
		}
		if m := r.Mirror; m != nil && table.Service(m.Upstream.Name) != m.Upstream {
			t.Fatalf("%s is copied to an upstream of another table", r.Name)
		}
		for _, l := range r.Limits {
			if table.Limits()[l.Index] != l {
				t.Fatalf("%s has a limit of another table", r.Name)
			}
		}
	}
}

func TestATableMadeFromTheLastOneIsAsOneMadeAfresh(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := world{objects: map[routetable.ID]routetable.Object{}, stamps: map[routetable.ID]crdt.Stamp{}}
		table := new(routetable.Table)
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			w.edit(t)
			table = w.after(table)
			wholly(t, table)
			afresh := w.after(new(routetable.Table))
			if got, want := described(table), described(afresh); got != want {
				t.Fatalf("got\n%swant\n%s", got, want)
			}
			for range 4 {
				alike(t, table, afresh, drawRequest(t))
			}
		}
	})
}

// alike fails where two tables answer a request differently, or by a rule that the
// first has no more.
func alike(t *rapid.T, table, afresh *routetable.Table, r *routetable.Request) {
	hit, ok := table.Match(r)
	want, wanted := afresh.Match(r)
	switch {
	case ok != wanted:
		t.Fatalf("matched %v, want %v", ok, wanted)
	case !ok:
	case !slices.Contains(table.Rules(), hit.Rule):
		t.Fatalf("%s is of another table", hit.Rule.Name)
	case hit.Rule.Name != want.Rule.Name || hit.Prefix != want.Prefix:
		t.Fatalf("got %s with prefix %d, want %s with %d", hit.Rule.Name, hit.Prefix, want.Rule.Name, want.Prefix)
	}
	if got, want := fmt.Sprint(routetable.Explain(table, r)), fmt.Sprint(routetable.Explain(afresh, r)); got != want {
		t.Fatalf("explained as %s, want %s", got, want)
	}
}
