package routetable_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/routetable"
)

// drawEdit writes or deletes some of a few objects, which refer to each other.
func drawEdit(t *rapid.T) routetable.Edit {
	if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
		return routetable.Edit{Delete: []string{pick(t, "deleted", "route/r0", "route/r1", "route/r2", "route/r3", "upstream/u0", "upstream/u1", "limit/l0", "limit/l1")}}
	}
	spec := new(routetable.Spec)
	for _, name := range []string{"u0", "u1"} {
		if rapid.IntRange(0, 2).Draw(t, name) == 0 {
			url := pick(t, "url", "http://10.0.0.1", "http://10.0.0.2")
			spec.Upstreams = append(spec.Upstreams, routetable.Upstream{Name: name, Endpoints: []routetable.Endpoint{{URL: url}}})
		}
	}
	for _, name := range []string{"l0", "l1"} {
		if rapid.IntRange(0, 2).Draw(t, name) == 0 {
			spec.Limits = append(spec.Limits, routetable.Limit{Name: name, Concurrency: rapid.IntRange(1, 2).Draw(t, "slots")})
		}
	}
	for _, name := range []string{"r0", "r1", "r2", "r3"} {
		if rapid.Bool().Draw(t, name) {
			spec.Routes = append(spec.Routes, drawRoute(t, name))
		}
	}
	return routetable.Edit{Spec: spec, Prune: rapid.IntRange(0, 4).Draw(t, "prune") == 0}
}

func drawRoute(t *rapid.T, name string) routetable.Route {
	r := routetable.Route{Name: name}
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
		stores := []*routetable.Store{routetable.NewStore("a"), routetable.NewStore("b")}
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			i := rapid.IntRange(0, 1).Draw(t, "at")
			if rapid.IntRange(0, 3).Draw(t, "pull") == 0 {
				pull(t, stores[i], stores[1-i])
			} else if p, err := stores[i].Prepare(drawEdit(t)); err != nil {
				continue // it refers to what is not there
			} else if err := stores[i].Commit(p); err != nil {
				t.Fatal(err)
			}
			table := stores[i].Table()
			wholly(t, table)
			restored := routetable.NewStore("c")
			if err := restored.Restore(stores[i].Snapshot()); err != nil {
				t.Fatal(err)
			}
			afresh := restored.Table()
			if got, want := described(table), described(afresh); got != want || table.Digest() != afresh.Digest() || table.Stamp() != afresh.Stamp() {
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

func TestAnEditLeavesTheRulesOfOtherRoutesAsTheyAre(t *testing.T) {
	t.Parallel()
	s := routetable.NewStore("a")
	apply(t, s, routetable.Edit{Spec: bigSpec(1000)})
	before := s.Table()
	apply(t, s, routetable.Edit{Spec: spec("a-new-one", "route-00007"), Delete: []string{"route/route-00500"}})
	kept := 0
	for _, r := range s.Table().Rules() {
		if before.Rule(r.Name) == r {
			kept++
		}
	}
	if kept != 998 {
		t.Errorf("%d of 998 rules were kept", kept)
	}
}
