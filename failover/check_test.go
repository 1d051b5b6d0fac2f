package failover_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/failover"
)

var pace = failover.CheckConfig{Interval: time.Second, Rise: 2, Fall: 3}

func failure(ok bool) string {
	if ok {
		return ""
	}
	return "refused"
}

func TestChecksRiseAndFall(t *testing.T) {
	tests := []struct {
		results string // + success, - failure
		want    failover.CheckVerdict
	}{
		{"", failover.CheckUnknown},
		{"+", failover.CheckUnknown},
		{"++", failover.CheckUp},
		{"--", failover.CheckUnknown},
		{"---", failover.CheckDown},
		{"+-+-+-+-", failover.CheckUnknown},
		{"++--", failover.CheckUp},
		{"++--+--", failover.CheckUp},
		{"++---", failover.CheckDown},
		{"---+", failover.CheckDown},
		{"---+-+", failover.CheckDown},
		{"---++", failover.CheckUp},
	}
	for _, tt := range tests {
		var c failover.Check
		for _, r := range tt.results {
			c = c.Observe(start, failure(r == '+'), pace, 0)
		}
		if c.Verdict != tt.want {
			t.Errorf("%q: %v, want %v", tt.results, c.Verdict, tt.want)
		}
	}
}

func TestDoubtfulEndpointsAreCheckedFourTimesAsOften(t *testing.T) {
	c := failover.Check{Verdict: failover.CheckUp}
	for _, tt := range []struct {
		ok     bool
		jitter float64
		want   time.Duration
	}{
		{true, 0, time.Second},
		{true, 0.5, 950 * time.Millisecond},
		{false, 0, 250 * time.Millisecond},
		{false, 0, 250 * time.Millisecond},
		{true, 0, time.Second},
		{false, 0, 250 * time.Millisecond},
		{false, 0, 250 * time.Millisecond},
		{false, 0, time.Second},
	} {
		c = c.Observe(start, failure(tt.ok), pace, tt.jitter)
		if got := c.Next.Sub(start); got != tt.want {
			t.Fatalf("next after %v, want %v", got, tt.want)
		}
		if c.Due(c.Next.Add(-1)) || !c.Due(c.Next) {
			t.Fatal("not due exactly at Next")
		}
	}
}

func TestCheckersAreTheSameForAllAndMoveLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,6}`), 0, 12, rapid.ID).Draw(t, "nodes")
		got := failover.Checkers(nodes, "orders", "http://a")
		if len(got) != min(3, len(nodes)) {
			t.Fatalf("%d checkers of %d nodes", len(got), len(nodes))
		}
		if other := failover.Checkers(rapid.Permutation(nodes).Draw(t, "order"), "orders", "http://a"); !slices.Equal(got, other) {
			t.Fatalf("%v or %v, by the order of nodes", got, other)
		}
		without := slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return len(got) > 0 && n == got[0] })
		if next := failover.Checkers(without, "orders", "http://a"); len(got) > 1 && !slices.Equal(got[1:], next[:len(got)-1]) {
			t.Fatalf("%v became %v when the first left", got, next)
		}
	})
}

func TestChecksAreSpreadOverTheNodes(t *testing.T) {
	var nodes []string
	for i := range 10 {
		nodes = append(nodes, fmt.Sprint("node-", i))
	}
	load := map[string]int{}
	for m := range 100 {
		for _, id := range failover.Checkers(nodes, "orders", fmt.Sprint("http://10.0.0.", m))[:2] {
			load[id]++
		}
	}
	for _, id := range nodes {
		if load[id] < 8 || load[id] > 35 {
			t.Errorf("%s checks %d of 100 endpoints, want about 20", id, load[id])
		}
	}
}

// TestDeadEndpointIsOutSoon plays a region of nodes that check one endpoint each
// second and hear of each other 100 ms late, with and without one of the
// checkers frozen at the moment the endpoint dies.
func TestDeadEndpointIsOutSoon(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		t.Run(fmt.Sprint("frozen=", frozen), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				r := newRegion(rapid.IntRange(2, 6).Draw(t, "nodes"), rapid.Uint64().Draw(t, "seed"))
				dies := start.Add(10*time.Second + time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms"))*time.Millisecond)
				if frozen {
					r.freeze = dies
				}
				out := time.Duration(-1)
				for now := start; now.Before(dies.Add(4 * time.Second)); now = now.Add(20 * time.Millisecond) {
					r.step(now, now.Before(dies))
					if r.outEverywhere(now) {
						out = now.Sub(dies)
						break
					}
				}
				if out < 0 || out > 2500*time.Millisecond {
					t.Fatalf("out after %v, want within 2.5s", out)
				}
			})
		})
	}
}

// region is a model of the nodes of a region that check one endpoint.
type region struct {
	ids      []string
	checkers []string
	checks   map[string]failover.Check
	heard    map[string][]told // by each, in time
	freeze   time.Time         // when the second checker freezes; zero = never
	rng      uint64
}

type told struct {
	at      time.Time
	verdict failover.CheckVerdict
}

func newRegion(nodes int, seed uint64) *region {
	r := &region{checks: map[string]failover.Check{}, heard: map[string][]told{}, rng: seed}
	for i := range nodes {
		r.ids = append(r.ids, fmt.Sprint("n", i))
	}
	r.checkers = failover.Checkers(r.ids, "orders", "http://a")
	return r
}

func (r *region) frozen(now time.Time, id string) bool {
	return !r.freeze.IsZero() && !now.Before(r.freeze) && id == r.checkers[1]
}

// witnesses is what everybody knows at now: what was told until 100 ms ago.
func (r *region) witnesses(now time.Time) []failover.Witness {
	var all []failover.Witness
	for _, id := range r.ids {
		w := failover.Witness{ID: id, Silent: r.frozen(now.Add(-2*pace.Interval), id)}
		for _, h := range r.heard[id] {
			if h.at.Before(now.Add(-100 * time.Millisecond)) {
				w.Check = h.verdict
			}
		}
		all = append(all, w)
	}
	return all
}

func (r *region) step(now time.Time, up bool) {
	all := r.witnesses(now)
	for i, id := range r.checkers {
		if r.frozen(now, id) || !r.checks[id].Due(now) {
			continue
		}
		if i == 2 && !failover.ThirdNeeded(r.find(all, 0), r.find(all, 1)) {
			r.checks[id] = failover.Check{}
			continue
		}
		r.rng = r.rng*6364136223846793005 + 1442695040888963407
		before := r.checks[id].Verdict
		r.checks[id] = r.checks[id].Observe(now, failure(up), pace, float64(r.rng>>40)/(1<<24))
		if after := r.checks[id].Verdict; after != before {
			r.heard[id] = append(r.heard[id], told{now, after})
		}
	}
}

func (r *region) find(all []failover.Witness, i int) failover.Witness {
	return all[slices.IndexFunc(all, func(w failover.Witness) bool { return w.ID == r.checkers[i] })]
}

func (r *region) outEverywhere(now time.Time) bool {
	all := r.witnesses(now)
	return !slices.ContainsFunc(r.ids, func(id string) bool {
		return !r.frozen(now, id) && !failover.Decide(id, false, all, r.checkers).Checks
	})
}

func TestDecide(t *testing.T) {
	const (
		up   = failover.CheckUp
		down = failover.CheckDown
	)
	w := func(id string, check failover.CheckVerdict, open, silent bool) failover.Witness {
		return failover.Witness{ID: id, Check: check, Open: open, Silent: silent, Reason: "reset"}
	}
	tests := []struct {
		name          string
		self          string
		novice        bool
		witnesses     []failover.Witness
		peers, checks bool
	}{
		{"nobody", "a", false, nil, false, false},
		{"all well", "a", false, []failover.Witness{w("a", up, false, false), w("b", up, false, false)}, false, false},
		{"own path broken", "a", false, []failover.Witness{w("a", 0, true, false), w("b", 0, false, false)}, false, false},
		{"the other's path broken", "b", false, []failover.Witness{w("a", 0, true, false), w("b", 0, false, false)}, false, false},
		{"two broken, for the third", "c", false, []failover.Witness{w("a", 0, true, false), w("b", 0, true, false), w("c", 0, false, false)}, true, false},
		{"two broken, for themselves", "a", false, []failover.Witness{w("a", 0, true, false), w("b", 0, true, false), w("c", 0, false, false)}, false, false},
		{"the only one's, seen from elsewhere", "x", false, []failover.Witness{w("a", 0, true, false)}, true, false},
		{"one of two, seen from elsewhere", "x", false, []failover.Witness{w("a", 0, true, false), w("b", 0, false, false)}, false, false},
		{"a novice takes over from the only other", "b", true, []failover.Witness{w("a", 0, true, false), w("b", 0, false, false)}, true, false},
		{"a novice does not from one of two", "c", true, []failover.Witness{w("a", 0, true, false), w("b", 0, false, false), w("c", 0, false, false)}, false, false},
		{"checks agree", "c", false, []failover.Witness{w("a", down, false, false), w("b", down, false, false)}, false, true},
		{"checks disagree", "c", false, []failover.Witness{w("a", down, false, false), w("b", up, false, false)}, false, false},
		{"the third is yet to say", "c", false, []failover.Witness{w("a", down, false, false), w("b", up, false, false), w("c", 0, false, false)}, false, false},
		{"two of three", "c", false, []failover.Witness{w("a", down, false, false), w("b", up, false, false), w("c", down, false, false)}, false, true},
		{"the other is silent", "a", false, []failover.Witness{w("a", down, false, false), w("b", up, false, true)}, false, true},
		{"who does not check does not count", "a", false, []failover.Witness{w("a", down, false, false), w("b", up, false, false), w("d", down, false, false)}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := failover.Decide(tt.self, tt.novice, tt.witnesses, []string{"a", "b", "c"})
			if got.Peers != tt.peers || got.Checks != tt.checks || got.Out() == (got.Reason == "") {
				t.Errorf("%+v, want peers %v, checks %v", got, tt.peers, tt.checks)
			}
		})
	}
}
