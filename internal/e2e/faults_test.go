package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// recorded are n endpoints that write down what they are asked.
func (w *world) recorded(n int) []*endpoint {
	w.t.Helper()
	var all []*endpoint
	for i := range n {
		e := &endpoint{t: w.t, addr: ownAddress(), seen: filepath.Join(w.dir, fmt.Sprintf("seen-%d", i))}
		e.start()
		w.t.Cleanup(e.kill)
		all = append(all, e)
	}
	return all
}

// repeated counts the requests of a method that endpoints saw more than once.
func repeated(t *testing.T, method string, all []*endpoint) (n int) {
	t.Helper()
	times := map[string]int{}
	for _, e := range all {
		data, err := os.ReadFile(e.seen)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, method+" ") && strings.HasSuffix(line, "\n") {
				times[line]++
			}
		}
	}
	for _, count := range times {
		if count > 1 {
			n++
		}
	}
	return n
}

func TestAKilledEndpointCostsNoGetAndRepeatsNoPost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := w.recorded(3)
	a := w.start("a", "--region", "eu", "--access-log", "off", "--routes", w.upstreamFile(map[string][]*endpoint{"eu": all}))
	serve(t, a)
	gets, posts := startLoad(t, "GET", "/", scaled(2000), a), startLoad(t, "POST", "/", scaled(1000), a)
	time.Sleep(time.Second)
	before := time.Now()
	all[0].kill()
	after := time.Now()
	time.Sleep(2 * time.Second)
	if full() {
		time.Sleep(3 * time.Second)
	}
	got, posted := gets.stop(), posts.stop()
	// A POST that the endpoint may have had is not sent again: of those, some fail.
	underWay := func(r result) bool { return r.at.After(before) && r.sent().Before(after) }
	t.Logf("%d GET, %d failed; %d POST, %d failed, %d were under way as it died",
		len(got), count(got, failed), len(posted), count(posted, failed), count(posted, underWay))
	if n := count(got, failed); n > 0 {
		t.Errorf("%d of %d GET failed", n, len(got))
	}
	if n := count(posted, func(r result) bool { return failed(r) && !underWay(r) }); n > 0 {
		t.Errorf("%d of %d POST failed that the endpoint cannot have had", n, len(posted))
	}
	if n := repeated(t, "POST", all); n > 0 {
		t.Errorf("%d POST came twice", n)
	}
}

func TestAClosedPortCostsNoRequest(t *testing.T) {
	w := newWorld(t)
	all := w.recorded(3)
	all[0].kill()
	a := w.start("a", "--region", "eu", "--routes", w.upstreamFile(map[string][]*endpoint{"eu": all}))
	gets, posts := startLoad(t, "GET", "/", 100, a), startLoad(t, "POST", "/", 100, a)
	eventually(t, 5*time.Second, "the closed port is out", func() error { return out(all[0], a) })
	time.Sleep(500 * time.Millisecond)
	for method, results := range map[string][]result{"GET": gets.stop(), "POST": posts.stop()} {
		if n := count(results, failed); n > 0 {
			t.Errorf("%d of %d %s failed", n, len(results), method)
		}
		if n := repeated(t, method, all); n > 0 {
			t.Errorf("%d %s came twice", n, method)
		}
	}
}

// twoRegions is two nodes in eu and one in us, with two endpoints in each region,
// and no checks; more are lines of the upstream.
func twoRegions(t *testing.T, more ...string) (eu, us []*endpoint, eu1, eu2 *process) {
	t.Helper()
	w := newWorld(t)
	eu, us = []*endpoint{startEndpoint(t, 0), startEndpoint(t, 0)}, []*endpoint{startEndpoint(t, 0), startEndpoint(t, 0)}
	file := w.upstreamFile(map[string][]*endpoint{"eu": eu, "us": us}, more...)
	eu1 = w.start("eu-1", append(w.secured("eu-1"), "--region", "eu", "--access-log", "off", "--routes", file)...)
	eu2 = w.start("eu-2", append(w.secured("eu-2"), "--region", "eu", "--access-log", "off", "--join", eu1.listen.Gossip)...)
	us1 := w.start("us-1", append(w.secured("us-1"), "--region", "us", "--access-log", "off", "--join", eu1.listen.Gossip)...)
	allSee(t, 15*time.Second, eu1, eu2, us1)
	serve(t, eu1, eu2, us1)
	haveRoom(t, "us", eu1, eu2)
	return eu, us, eu1, eu2
}

func TestARegionWhoseEndpointsAllFreezeIsLeftWithoutChecks(t *testing.T) {
	t.Parallel()
	// By default a fifth of the requests of 10 s may be sent again: 2 s of a load
	// that has lasted that long.
	eu, _, eu1, eu2 := twoRegions(t, "retries: {budget_percent: 100}")
	l := startLoad(t, "GET", "/", 100, eu1, eu2)
	time.Sleep(time.Second)
	frozen := time.Now()
	for _, e := range eu {
		e.signal(syscall.SIGSTOP)
	}
	gone := movedTo(t, "us", eu1, eu2)
	time.Sleep(2 * time.Second)
	results := l.stop()
	for _, e := range eu {
		e.signal(syscall.SIGCONT)
	}
	left := time.Duration(0)
	for _, r := range results {
		if r.took > time.Second {
			left = max(left, r.sent().Sub(frozen))
		}
	}
	slow := count(results, func(r result) bool { return r.took > time.Second })
	t.Logf("%d requests, %d failed, %d took over a second, the last of them sent %v after the freeze", len(results), count(results, failed), slow, left.Round(10*time.Millisecond))
	if n := count(results, failed); n > 5 {
		t.Errorf("%d of %d requests failed: %v", n, len(results), byAnswer(results, failed))
	}
	if late := count(results, func(r result) bool { return r.sent().After(gone) && (failed(r) || r.region != "us") }); late > 0 {
		t.Errorf("%d requests were not served elsewhere though others were", late)
	}
}

func TestAFlappingRegionIsLeftSeldom(t *testing.T) {
	t.Parallel()
	eu, _, eu1, eu2 := twoRegions(t)
	l := startLoad(t, "GET", "/", 50, eu1, eu2)
	flaps, most := 2, 1
	if full() {
		flaps, most = 50, 4 // 5 minutes
	}
	for range flaps {
		for _, e := range eu {
			e.kill()
		}
		time.Sleep(3 * time.Second)
		for _, e := range eu {
			e.start()
		}
		time.Sleep(3 * time.Second)
	}
	results := l.stop()
	for _, p := range []*process{eu1, eu2} {
		log := p.log.String()
		began, ended := strings.Count(log, `"failover began"`), strings.Count(log, `"failover ended"`)
		t.Logf("%s: %d flaps, %d switches away, %d back; %d of %d requests failed", p.name, flaps, began, ended, count(results, failed), len(results))
		if began+ended > most {
			t.Errorf("%s switched regions %d times, want at most %d", p.name, began+ended, most)
		}
	}
	if n := count(results, failed); n > 20+5*flaps {
		t.Errorf("%d of %d requests failed", n, len(results))
	}
}

func TestAnUpstreamThatOnlyRefusesIsAskedLittleMoreThanOnce(t *testing.T) {
	t.Parallel()
	for name, breaker := range map[string]string{"with breakers": "{}", "without": "{enabled: false}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var tries atomic.Int64
			var all []*endpoint
			for range 3 {
				s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
					tries.Add(1)
					rw.WriteHeader(http.StatusServiceUnavailable)
				}))
				t.Cleanup(s.Close)
				all = append(all, &endpoint{addr: strings.TrimPrefix(s.URL, "http://")})
			}
			a := w.start("a", "--region", "eu", "--access-log", "off", "--routes",
				w.upstreamFile(map[string][]*endpoint{"eu": all}, "circuit_breaker: "+breaker, "retries: {attempts: 3}"))
			l := startLoad(t, "GET", "/", 200, a)
			time.Sleep(3 * time.Second)
			asked, answered := len(l.stop()), count(l.results, func(r result) bool { return r.status == http.StatusServiceUnavailable })
			t.Logf("%d requests, %d tries: %.2f a request", asked, tries.Load(), float64(tries.Load())/float64(asked))
			if answered != asked {
				t.Errorf("%d of %d were answered with 503", answered, asked)
			}
			// Ten more: so many may be sent again before there is a rate.
			if most := 1.2*float64(asked) + 10; float64(tries.Load()) > most || tries.Load() == 0 {
				t.Errorf("%d tries, want at most %.0f", tries.Load(), most)
			}
		})
	}
}

func TestARegionWhoseGatewaysAndEndpointsAllDieIsServedByTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	us, ap := []*endpoint{startEndpoint(t, 0), startEndpoint(t, 0)}, []*endpoint{startEndpoint(t, 0), startEndpoint(t, 0)}
	file := w.upstreamFile(map[string][]*endpoint{"us": us, "ap": ap}, "failover: {regions: [us, ap]}")
	eu1 := w.start("eu-1", append(w.secured("eu-1"), "--region", "eu", "--access-log", "off", "--routes", file)...)
	all := []*process{eu1}
	for _, name := range []string{"us-1", "us-2", "ap-1", "ap-2"} {
		all = append(all, w.start(name, append(w.secured(name), "--region", name[:2], "--access-log", "off", "--join", eu1.listen.Gossip)...))
	}
	allSee(t, 15*time.Second, all...)
	serve(t, all...)
	haveRoom(t, "us", eu1)
	haveRoom(t, "ap", eu1)
	l := startLoad(t, "GET", "/", 100, eu1)
	time.Sleep(time.Second)
	if n := count(l.soFar(), func(r result) bool { return failed(r) || r.region != "us" }); n > 0 {
		t.Errorf("%d requests failed or went past us while it was well", n)
	}
	dead := time.Now()
	for _, p := range all[1:3] {
		_ = p.cmd.Process.Kill()
	}
	for _, e := range us {
		e.kill()
	}
	gone := movedTo(t, "ap", eu1)
	time.Sleep(2 * time.Second)
	results := l.stop()
	t.Logf("%d requests, %d failed, the last %v after", len(results), count(results, failed), lastFailure(results, dead).Round(time.Millisecond))
	fewFail(t, results, 10, eu1) // five for each gateway that is gone
	if n := count(results, func(r result) bool { return r.sent().After(gone) && (failed(r) || r.region != "ap") }); n > 0 {
		t.Errorf("%d requests were not served by the next region though others were", n)
	}
}

// sumOf adds up a metric of nodes over all series that have a label; empty for
// all.
func sumOf(t *testing.T, nodes []*process, metric, label string) (sum float64) {
	t.Helper()
	for _, p := range nodes {
		resp, err := http.Get("http://" + p.listen.Admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, metric+"{") || !strings.Contains(line, label) {
				continue
			}
			n, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// gossiped is how many bytes of gossip the nodes have sent.
func gossiped(t *testing.T, nodes []*process) float64 {
	t.Helper()
	return sumOf(t, nodes, "meshgw_gossip_bytes_total", `direction="out"`)
}

func TestTenNodesCheckAHundredEndpointsTwiceEach(t *testing.T) {
	if !full() {
		t.Skip("takes half a minute of all cores; MESHGW_FULL=1 runs it")
	}
	var checks atomic.Int64
	var endpoints []*httptest.Server
	var urls []string
	for range 100 {
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" {
				checks.Add(1)
			}
		}))
		t.Cleanup(s.Close)
		endpoints, urls = append(endpoints, s), append(urls, s.URL)
	}
	nodes := tenNodes(t)
	file := nodes[0].w.routeFile("hundred.yaml", "/", urls...)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), "    endpoints:\n", "    health_check: {path: /healthz, interval: 1s, timeout: 500ms}\n    endpoints:\n", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log(nodes[0].w.run("meshgw", "routes", "apply", file, "--wait", "all", "--admin", nodes[0].listen.Admin))
	time.Sleep(5 * time.Second)

	const length = 10 * time.Second
	made, sent, used := checks.Load(), gossiped(t, nodes), cpuOf(t, nodes)
	time.Sleep(length)
	made, sent, used = checks.Load()-made, gossiped(t, nodes)-sent, cpuOf(t, nodes)-used
	t.Logf("10 nodes, 100 endpoints, a check a second: %.0f checks/s, %.1f kB/s of gossip and %.1f %% of a CPU a node",
		float64(made)/length.Seconds(), sent/1000/length.Seconds()/10, 100*used.Seconds()/length.Seconds()/10)
	if most := int64(len(nodes)*len(urls)/4) * int64(length/time.Second); made > most {
		t.Errorf("%d checks, want at most %d: a quarter of what all would do", made, most)
	}

	dead := endpoints[17]
	began := time.Now()
	dead.CloseClientConnections()
	_ = dead.Listener.Close()
	eventually(t, 5*time.Second, "the dead endpoint is out everywhere", func() error {
		return out(&endpoint{addr: strings.TrimPrefix(dead.URL, "http://")}, nodes...)
	})
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("out everywhere after %v, want 2.5 s", took)
	}
}
