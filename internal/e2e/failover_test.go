package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// upstreamFile writes a route file of one route to upstream orders: endpoints by
// region, and more lines of the upstream.
func (w *world) upstreamFile(endpoints map[string][]*endpoint, more ...string) string {
	w.t.Helper()
	var b strings.Builder
	b.WriteString("upstreams:\n  - name: orders\n    endpoints:\n")
	for region, all := range endpoints {
		for _, e := range all {
			fmt.Fprintf(&b, "      - {url: \"http://%s\", region: %s}\n", e.addr, region)
		}
	}
	for _, line := range more {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	b.WriteString("routes:\n  - name: orders\n    upstream: orders\n")
	return w.save("routes.yaml", []byte(b.String()))
}

// secured returns the flags of a node's mesh link, with certificates of the
// world's own CA.
func (w *world) secured(node string) []string {
	w.t.Helper()
	ca, caKey := filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "ca-key.pem")
	if _, err := os.Stat(ca); errors.Is(err, os.ErrNotExist) {
		w.run("meshgw", "cert", "ca", "--out", ca, "--out-key", caKey)
	}
	cert, key := filepath.Join(w.dir, node+".pem"), filepath.Join(w.dir, node+"-key.pem")
	w.run("meshgw", "cert", "node", node, "--ca", ca, "--ca-key", caKey, "--out", cert, "--out-key", key)
	return []string{"--mesh", "127.0.0.1:0", "--mesh-ca", ca, "--mesh-cert", cert, "--mesh-key", key}
}

// endpointState returns how a node sees an endpoint.
func (p *process) endpointState(e *endpoint) (api.Endpoint, error) {
	s, err := p.status()
	if err != nil {
		return api.Endpoint{}, err
	}
	for _, u := range s.Upstreams {
		for _, state := range u.Endpoints {
			if state.URL == "http://"+e.addr {
				return state, nil
			}
		}
	}
	return api.Endpoint{}, fmt.Errorf("%s does not know %s", p.name, e.addr)
}

// out reports an error unless all nodes hold e for unusable.
func out(e *endpoint, nodes ...*process) error {
	for _, p := range nodes {
		if state, err := p.endpointState(e); err != nil || state.Healthy {
			return fmt.Errorf("%s: %+v, %w", p.name, state, err)
		}
	}
	return nil
}

// serve waits until every node answers with 200.
func serve(t *testing.T, nodes ...*process) {
	t.Helper()
	for _, p := range nodes {
		eventually(t, 10*time.Second, p.name+" serves", func() error {
			got, err := p.get("/")
			if err == nil && got.status != 200 {
				err = fmt.Errorf("status %d: %s", got.status, got.body)
			}
			return err
		})
	}
}

func TestADeadEndpointIsOutEverywhereByChecksAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := startEndpoint(t, 0), startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"eu": {one, two}},
		"health_check: {path: /healthz, interval: 1s, timeout: 500ms}")
	a := w.start("a", "--region", "eu", "--routes", file)
	nodes := []*process{a}
	for _, name := range []string{"b", "c", "d"} {
		nodes = append(nodes, w.start(name, "--region", "eu", "--join", a.listen.Gossip))
	}
	allSee(t, 15*time.Second, nodes...)
	serve(t, nodes...)
	time.Sleep(2 * time.Second) // the checkers are chosen anew as nodes come
	one.kill()
	eventually(t, 4*time.Second, "the killed endpoint is out everywhere", func() error { return out(one, nodes...) })
	eventually(t, 2*time.Second, "a tells why", func() error {
		state, err := a.endpointState(one)
		down := 0 // two of the three who check are enough: the other may find it later
		for _, v := range state.Verdicts {
			if v.Check == "down" && v.Reason != "" {
				down++
			}
		}
		if err == nil && (state.State != "unhealthy" || down < 2) {
			err = fmt.Errorf("%+v", state)
		}
		return err
	})
	two.signal(syscall.SIGSTOP)
	eventually(t, 6*time.Second, "the frozen endpoint is out everywhere", func() error { return out(two, nodes...) })
	two.signal(syscall.SIGCONT)
	one.start()
	eventually(t, 10*time.Second, "both are back everywhere", func() error {
		for _, p := range nodes {
			for _, e := range []*endpoint{one, two} {
				if state, err := p.endpointState(e); err != nil || !state.Healthy {
					return fmt.Errorf("%s: %+v, %w", p.name, state, err)
				}
			}
		}
		return nil
	})
}

// A node that is frozen has its timers run out as it goes on. That says nothing of
// the endpoints, which have answered meanwhile.
func TestANodeThatStoodStillBlamesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := startEndpoint(t, 100*time.Millisecond)
	// So long that the endpoint, which may have no CPU for a second, is not blamed for
	// that, and shorter than the node is frozen.
	const timeout, standstill = "3s", 4 * time.Second
	a := w.start("a", "--region", "eu", "--routes", w.upstreamFile(map[string][]*endpoint{"eu": {one}},
		"timeouts: {connect: "+timeout+", response: "+timeout+", request: 30s}"))
	serve(t, a)
	l := startLoad(t, "GET", "/", 200, a)
	for range 2 {
		time.Sleep(time.Second)
		if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(standstill)
		_ = a.cmd.Process.Signal(syscall.SIGCONT)
	}
	time.Sleep(time.Second)
	results := l.stop()
	if n := count(results, failed); n > 0 {
		t.Errorf("%d of %d requests failed", n, len(results))
	}
	if opened := strings.Count(a.log.String(), "circuit_open"); opened > 0 {
		t.Errorf("%d words of open breakers in the log:\n%s", opened, a.log.String())
	}
}

func TestAKilledAndAFrozenEndpointCostNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two, three := startEndpoint(t, 0), startEndpoint(t, 0), startEndpoint(t, 0)
	a := w.start("a", "--region", "eu", "--routes", w.upstreamFile(map[string][]*endpoint{"eu": {one, two, three}}, "retries: {budget_percent: 100}")) // see below
	serve(t, a)
	l := startLoad(t, "GET", "/", 200, a)
	time.Sleep(time.Second)
	one.kill()
	time.Sleep(time.Second)
	frozen := time.Now()
	two.signal(syscall.SIGSTOP)
	eventually(t, 2*time.Second, "the frozen endpoint is out", func() error { return out(two, a) })
	time.Sleep(2 * time.Second)
	results := l.stop()
	two.signal(syscall.SIGCONT)
	if n := count(results, failed); n > 0 {
		t.Errorf("%d of %d requests failed", n, len(results))
	}
	slow := count(results, func(r result) bool { return r.took > time.Second && r.at.Sub(frozen) > 3*time.Second })
	t.Logf("%d requests took over a second 3 s after the freeze and later", slow)
	if full() && slow > 3 { // of a machine that has no other work
		t.Errorf("%d requests still waited at the frozen endpoint after 2 s", slow)
	}
}

func TestWithEverythingDownAnswersAreQuickAndComeBackSoon(t *testing.T) {
	w := newWorld(t)
	one, two := startEndpoint(t, 0), startEndpoint(t, 0)
	a := w.start("a", "--region", "eu", "--routes", w.upstreamFile(map[string][]*endpoint{"eu": {one, two}}))
	serve(t, a)
	one.kill()
	two.kill()
	eventually(t, 5*time.Second, "both breakers are open", func() error {
		_, _ = a.get("/")
		return errors.Join(out(one, a), out(two, a))
	})
	var took []time.Duration
	for range 20 {
		began := time.Now()
		if got, err := a.get("/"); err != nil || got.status != 503 {
			t.Errorf("%v: %+v", err, got)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("a refusal takes %v, at most %v", took[10], took[19])
	if took[10] > 250*time.Millisecond { // half of what a try to connect may take; 1 ms on a machine of its own
		t.Errorf("most refusals take over %v", took[10])
	}
	one.start()
	eventually(t, 2*time.Second, "the first 200", func() error { // 1 s on a machine of its own
		got, err := a.get("/")
		if err == nil && got.status != 200 {
			err = fmt.Errorf("status %d", got.status)
		}
		return err
	})
}

func TestARegionsOutageMovesItsTrafficOverTheLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eu, us := []*endpoint{startEndpoint(t, 0), startEndpoint(t, 0)}, []*endpoint{startEndpoint(t, 0), startEndpoint(t, 0)}
	file := w.upstreamFile(map[string][]*endpoint{"eu": eu, "us": us})
	eu1 := w.start("eu-1", append(w.secured("eu-1"), "--region", "eu", "--routes", file)...)
	eu2 := w.start("eu-2", append(w.secured("eu-2"), "--region", "eu", "--join", eu1.listen.Gossip)...)
	us1 := w.start("us-1", append(w.secured("us-1"), "--region", "us", "--join", eu1.listen.Gossip)...)
	us2 := w.start("us-2", append(w.secured("us-2"), "--region", "us", "--join", eu1.listen.Gossip)...)
	allSee(t, 15*time.Second, eu1, eu2, us1, us2)
	serve(t, eu1, eu2, us1, us2)
	haveRoom(t, "us", eu1, eu2)

	l := startLoad(t, "GET", "/", 100, eu1, eu2)
	time.Sleep(2 * time.Second)
	if n := count(l.soFar(), func(r result) bool { return failed(r) || r.region != "eu" }); n > 0 {
		t.Errorf("%d requests failed or left the region while all was well", n)
	}
	dead := time.Now()
	for _, e := range eu {
		e.kill()
	}
	gone := movedTo(t, "us", eu1, eu2)
	time.Sleep(2 * time.Second)
	results := l.stop()
	fewFail(t, results, 10, eu1, eu2) // five for each endpoint
	if n := count(results, func(r result) bool { return r.sent().After(gone) && (failed(r) || r.region != "us") }); n > 0 {
		t.Errorf("%d requests were not served elsewhere though others were", n)
	}
	byNode := map[string]int{}
	for _, r := range results {
		if r.region == "us" {
			byNode[r.header.Get("x-meshgw-node")]++
			if via := r.header.Get("x-meshgw-via"); via != r.node {
				t.Fatalf("x-meshgw-via %q, want %s", via, r.node)
			}
		}
	}
	if byNode["us-1"] == 0 || byNode["us-2"] == 0 {
		t.Errorf("the gateways of us served %v", byNode)
	}
	t.Logf("%d requests, %d failed, the last %v after the outage, served by us: %v", len(results), count(results, failed), lastFailure(results, dead), byNode)

	// One gateway of us dies: the other is the way.
	us1.kill()
	l = startLoad(t, "GET", "/", 100, eu1, eu2)
	movedTo(t, "us", eu1, eu2)
	t.Logf("%d of %d requests failed until all went by the other gateway", count(l.soFar(), failed), len(l.soFar()))
	us2.terminate() // and the last one leaves
	us2.end(10 * time.Second)
	results = l.stop()
	if n := count(results, func(r result) bool { return r.status == 0 }); n > 0 {
		t.Errorf("%d requests got no answer", n)
	}
}

func TestAWeightIsChangedAtOneNodeAndKnownAtTheOthers(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 15*time.Second, a, b)
	if out := w.run("meshgw", "weight", "300", "--admin", a.listen.Admin); out != "a has weight 300\n" {
		t.Errorf("it prints %q", out)
	}
	eventually(t, 5*time.Second, "b knows the weight of a", func() error {
		s, err := b.status()
		if err == nil && (s.Members[0].Weight != 300 || s.Members[1].Weight != 100) {
			err = fmt.Errorf("the members of b: %+v", s.Members)
		}
		return err
	})
}

func TestARegionsOutageMovesItsTrafficDirectly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eu, us := startEndpoint(t, 0), startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"eu": {eu}, "us": {us}}, "failover: {via: direct}")
	a := w.start("a", "--region", "eu", "--routes", file)
	serve(t, a)
	l := startLoad(t, "GET", "/", 100, a)
	time.Sleep(time.Second)
	dead := time.Now()
	eu.kill()
	gone := movedTo(t, "eu", a) // by the node itself, whose region is no other
	time.Sleep(time.Second)
	results := l.stop()
	t.Logf("%d requests, %d failed, the last %v after the outage", len(results), count(results, failed), lastFailure(results, dead))
	fewFail(t, results, 5, a)
	if n := count(results, func(r result) bool { return r.sent().After(gone) && failed(r) }); n > 0 {
		t.Errorf("%d requests failed though others were served elsewhere", n)
	}
}

// haveRoom waits until nodes know that the gateways of a region can take requests: each
// tells that once a second, and until then is sent none.
func haveRoom(t *testing.T, region string, nodes ...*process) {
	t.Helper()
	for _, p := range nodes {
		eventually(t, 5*time.Second, p.name+" knows of room in "+region, func() error {
			s, err := p.status()
			if err != nil {
				return err
			}
			for _, u := range s.Upstreams {
				if !slices.ContainsFunc(u.Regions, func(r api.RegionShare) bool { return r.Region == region && r.Room > 0 }) {
					return fmt.Errorf("%s: %+v", u.Name, u.Regions)
				}
			}
			return nil
		})
	}
}

// movedTo waits until requests to each of the nodes are served in a region, twenty in a
// row, and returns since when.
func movedTo(t *testing.T, region string, nodes ...*process) time.Time {
	t.Helper()
	for _, p := range nodes {
		eventually(t, time.Second, fmt.Sprintf("requests to %s are served in %s", p.name, region), func() error {
			for range 20 {
				got, err := p.get("/")
				if by := got.header.Get("x-meshgw-region"); err != nil || got.status != 200 || by != region {
					return fmt.Errorf("%d from %q: %s, %w", got.status, by, got.body, err)
				}
			}
			return nil
		})
	}
	return time.Now()
}

// fewFail holds each node to no more requests in a row that fail, one asked for after the
// other was answered: so many find out that something is dead. How many were under way
// just then is chance.
func fewFail(t *testing.T, results []result, most int, nodes ...*process) {
	t.Helper()
	for _, p := range nodes {
		all := slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.node != p.name || !failed(r) })
		slices.SortFunc(all, func(a, b result) int { return a.at.Compare(b.at) })
		row, last := 0, time.Time{}
		for _, r := range all {
			if r.sent().After(last) {
				row, last = row+1, r.at
			}
		}
		if row > most {
			t.Errorf("%d requests to %s failed, %d of them one after the other, want at most %d", len(all), p.name, row, most)
		}
	}
}

func TestAFrozenCheckerDoesNotHoldTheOthersUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := startEndpoint(t, 0), startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"eu": {one, two}},
		"health_check: {path: /healthz, interval: 1s, timeout: 500ms}")
	a := w.start("a", "--region", "eu", "--routes", file)
	nodes := map[string]*process{"a": a}
	for _, name := range []string{"b", "c", "d"} {
		nodes[name] = w.start(name, "--region", "eu", "--join", a.listen.Gossip)
	}
	allSee(t, 15*time.Second, nodes["a"], nodes["b"], nodes["c"], nodes["d"])
	var checkers []string
	eventually(t, 10*time.Second, "two nodes check the endpoint", func() error {
		state, err := a.endpointState(one)
		checkers = nil
		for _, v := range state.Verdicts {
			if v.Check == "up" {
				checkers = append(checkers, v.Node)
			}
		}
		if err == nil && len(checkers) != 2 {
			err = fmt.Errorf("%v check", checkers)
		}
		return err
	})
	frozen := nodes[checkers[0]]
	_ = frozen.cmd.Process.Signal(syscall.SIGSTOP)
	delete(nodes, checkers[0])
	one.kill()
	eventually(t, 5*time.Second, "the dead endpoint is out at the others", func() error {
		for _, p := range nodes {
			if err := out(one, p); err != nil {
				return err
			}
		}
		return nil
	})
	_ = frozen.cmd.Process.Signal(syscall.SIGCONT)
}

func TestAFrozenGatewayIsLeftSoon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	us := []*endpoint{startEndpoint(t, 0), startEndpoint(t, 0)}
	// By default a fifth of the requests of 10 s may be sent again: how many wait at the
	// frozen one until it is found is a matter of CPU.
	file := w.upstreamFile(map[string][]*endpoint{"us": us}, "retries: {budget_percent: 100}")
	eu1 := w.start("eu-1", append(w.secured("eu-1"), "--region", "eu", "--routes", file)...)
	us1 := w.start("us-1", append(w.secured("us-1"), "--region", "us", "--join", eu1.listen.Gossip)...)
	us2 := w.start("us-2", append(w.secured("us-2"), "--region", "us", "--join", eu1.listen.Gossip)...)
	allSee(t, 15*time.Second, eu1, us1, us2)
	serve(t, eu1, us1, us2)
	haveRoom(t, "us", eu1)
	l := startLoad(t, "GET", "/", 100, eu1)
	eventually(t, 3*time.Second, "us-1 serves some", func() error {
		if n := count(l.soFar(), func(r result) bool { return r.header.Get("x-meshgw-node") == "us-1" }); n < 100 {
			return fmt.Errorf("%d of %d", n, len(l.soFar()))
		}
		return nil
	})
	_ = us1.cmd.Process.Signal(syscall.SIGSTOP)
	frozen := time.Now()
	time.Sleep(4 * time.Second)
	results := l.stop()
	_ = us1.cmd.Process.Signal(syscall.SIGCONT)
	if n := count(results, failed); n > len(results)/50 || full() && n > 0 { // those that the other has no CPU for just then go nowhere else
		t.Errorf("%d of %d requests failed", n, len(results))
	}
	slow := count(results, func(r result) bool { return r.at.Sub(frozen) > 3*time.Second && r.took > time.Second })
	t.Logf("%d requests took over a second 3 s after the freeze and later", slow)
	if full() && slow > 3 { // of a machine that has no other work
		t.Errorf("%d requests still waited for the frozen gateway after 2 s", slow)
	}
}
