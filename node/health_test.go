package node

import (
	"bytes"
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

func TestHealthTravels(t *testing.T) {
	a, b := newHealth("a", 1, "eu"), newHealth("b", 1, "eu")
	down := []failover.Verdict{{Upstream: "orders", URL: "http://10.0.0.1", Check: failover.CheckDown, Reason: "status 500"}}
	if !a.tellVerdicts(down) {
		t.Error("the first verdicts are no news")
	}
	if a.tellVerdicts(down) {
		t.Error("the same verdicts again are news")
	}
	began := time.Now()
	a.beat(began)
	a.tellLoads([]failover.Load{{Upstream: "orders", Headroom: 100}})
	exchange(t, a, b)
	said := b.of("a")
	if len(said.verdicts.Verdicts) != 1 || said.verdicts.Verdicts[0].Check != failover.CheckDown || said.loads.Loads[0].Headroom != 100 {
		t.Errorf("b heard %+v", said)
	}
	if said.heard.Before(began) {
		t.Errorf("heard at %v, before it was said at %v", said.heard, began)
	}
}

func TestABeatIsASignOfLife(t *testing.T) {
	a, b := newHealth("a", 1, "eu"), newHealth("b", 1, "eu")
	a.beat(time.Now())
	exchange(t, a, b)
	first := b.of("a").heard
	time.Sleep(time.Millisecond)
	a.beat(time.Now())
	exchange(t, a, b)
	if again := b.of("a").heard; !again.After(first) {
		t.Errorf("heard at %v and then at %v", first, again)
	}
}

func TestCalmIsNotTold(t *testing.T) {
	a, b := newHealth("a", 1, "eu"), newHealth("b", 1, "eu")
	loads := func(demand float64) []failover.Load { return []failover.Load{{Upstream: "orders", Demand: demand}} }
	a.tellLoads(loads(1000))
	exchange(t, a, b)
	before := a.Digest()
	a.tellLoads(loads(1100))
	if !bytes.Equal(a.Digest(), before) {
		t.Error("a tenth more is news")
	}
	a.tellLoads(loads(1400))
	exchange(t, a, b)
	if got := b.of("a").loads.Loads[0].Demand; got != 1400 {
		t.Errorf("b heard of %v requests/s, want 1400", got)
	}
	b.forget("a")
	exchange(t, b, a)
	a.tellLoads(loads(1400))
	exchange(t, a, b)
	if said := b.of("a").loads.Loads; len(said) != 1 {
		t.Errorf("b holds %v of a node that was forgotten and came back", said)
	}
}

func TestARestartOutbidsWhatWasSaidBefore(t *testing.T) {
	old, b := newHealth("a", 1, "eu"), newHealth("b", 1, "eu")
	for i := range 5 {
		old.tellVerdicts([]failover.Verdict{{Upstream: "orders", URL: "http://10.0.0.1", Since: int64(i), Open: true}})
	}
	exchange(t, old, b)
	restarted := newHealth("a", 2, "eu")
	restarted.tellVerdicts(nil)
	exchange(t, restarted, b)
	exchange(t, old, b)
	if said := b.of("a").verdicts; said.Incarnation != 2 || len(said.Verdicts) != 0 {
		t.Errorf("b holds %+v of a dead incarnation", said)
	}
}

func TestForgottenNodesSayNothing(t *testing.T) {
	a, b := newHealth("a", 1, "eu"), newHealth("b", 1, "eu")
	a.tellVerdicts(nil)
	a.tellLoads([]failover.Load{{Upstream: "orders"}})
	a.beat(time.Now())
	exchange(t, a, b)
	b.forget("a")
	if said := b.of("a"); said.verdicts.Incarnation != 0 || said.loads.Incarnation != 0 || len(b.said) != 0 {
		t.Errorf("b holds %+v", b.said)
	}
}

func TestWhereAPeersListenerIsReached(t *testing.T) {
	for _, tt := range []struct{ listen, gossip, want string }{
		{"127.0.0.1:7443", "127.0.0.1:7946", "127.0.0.1:7443"},
		{"[::]:7443", "10.0.0.7:7946", "10.0.0.7:7443"},
		{"0.0.0.0:7443", "[fd00::1]:7946", "[fd00::1]:7443"},
		{"", "10.0.0.7:7946", ""},
		{"0.0.0.0:7443", "nonsense", ""},
		{"127.0.0.1:7443", "10.0.0.7:7946", ""},
	} {
		if got := reachable(tt.listen, tt.gossip); got != tt.want {
			t.Errorf("reachable(%q, %q) = %q, want %q", tt.listen, tt.gossip, got, tt.want)
		}
	}
}

func FuzzHealthMerge(f *testing.F) {
	a := newHealth("a", 1, "eu")
	a.tellVerdicts([]failover.Verdict{{Upstream: "orders", URL: "http://10.0.0.1", Check: failover.CheckUp}})
	a.tellLoads([]failover.Load{{Upstream: "orders", Demand: 3}})
	whole, err := a.Delta(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		h, twin := newHealth("b", 1, "eu"), newHealth("c", 1, "eu")
		if h.Merge(data) != nil {
			if len(h.said) != 0 {
				t.Fatalf("refused, and holds %+v", h.said)
			}
			return
		}
		exchange(t, h, twin)
		if !bytes.Equal(h.Digest(), twin.Digest()) {
			t.Error("a copy of what was accepted differs")
		}
	})
}

// exchange gives to what from holds and to lacks.
func exchange(tb testing.TB, from, to *health) {
	tb.Helper()
	delta, err := from.Delta(to.Digest())
	if err == nil {
		err = to.Merge(delta)
	}
	if err != nil {
		tb.Fatal(err)
	}
}
