package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// ask sends count requests over two hops, from several clients, each with an id
// of its own.
func ask(t *testing.T, nodes []*process, count int) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: clientTransport(16)}
	defer client.CloseIdleConnections()
	const clients = 8
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := c; i < count; i += clients {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+nodes[i%len(nodes)].listen.HTTP+"/orders", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("x-request-id", fmt.Sprint("req-", i))
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("request %d: status %d", i, resp.StatusCode)
					return
				}
			}
		})
	}
	wg.Wait()
}

// twoHops is a mesh whose requests come in at three nodes of one region and are
// answered in another, which has two.
func twoHops(t *testing.T) (w *world, in, out []*process) {
	t.Helper()
	w = newWorld(t)
	file := w.upstreamFile(map[string][]*endpoint{"us": {startEndpoint(t, 0)}})
	us := w.start("us-1", append(w.secured("us-1"), "--region", "us", "--routes", file)...)
	start := func(name, region string) *process {
		return w.start(name, append(w.secured(name), "--region", region, "--join", us.listen.Gossip)...)
	}
	out = []*process{us, start("us-2", "us")}
	in = []*process{start("eu-1", "eu"), start("eu-2", "eu"), start("eu-3", "eu")}
	allSee(t, 15*time.Second, append(slices.Clone(in), out...)...)
	serve(t, in...)
	haveRoom(t, "us", in...)
	return w, in, out
}

// bothHops reports an error unless a trace is of two hops of one trace id.
func bothHops(trace api.RequestTrace) error {
	if len(trace.Seen) != 2 || len(trace.Unanswered) != 0 {
		return fmt.Errorf("seen %d times, %v did not answer", len(trace.Seen), trace.Unanswered)
	}
	first, second := trace.Seen[0], trace.Seen[1]
	switch {
	case first.Via != "" || second.Via != first.Node || first.TraceID != second.TraceID:
		return fmt.Errorf("hops %+v and %+v", first, second)
	case len(first.Attempts) == 0 || first.Attempts[len(first.Attempts)-1].Endpoint != "mesh://"+second.Node || first.Status != 200 || second.Status != 200:
		return fmt.Errorf("tries %+v and %+v", first.Attempts, second.Attempts)
	}
	return nil
}

// lookUp finds both hops of a request, asking any of the nodes, and returns how long that
// took. A node that does not answer in time is named, and asked again.
func lookUp(t *testing.T, nodes []*process, id string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		last := time.Since(began) > patience
		trace, err := nodes[rand.N(len(nodes))].client().Request(t.Context(), id, true)
		if err == nil {
			err = bothHops(trace)
		}
		switch {
		case err == nil:
			return time.Since(began)
		case last:
			t.Fatalf("%s: %v", id, err)
		}
		t.Logf("%s: %v", id, err)
	}
}

func TestARequestIsFoundByItsIDAtEveryHop(t *testing.T) {
	w, in, out := twoHops(t)
	count, lookups := 4000, 200
	if full() {
		count, lookups = 100_000, 1000
	}
	ask(t, in, count)
	all := append(slices.Clone(in), out...)
	var took []time.Duration
	for range lookups {
		id := fmt.Sprint("req-", rand.N(count))
		took = append(took, lookUp(t, all, id))
	}
	slices.Sort(took)
	t.Logf("%d requests over two hops, %d of them looked up on five nodes: all found, p50 %v, p99 %v, max %v",
		count, lookups, quantile(took, .5), quantile(took, .99), quantile(took, 1))
	if worst := took[len(took)-1]; full() && worst > 200*time.Millisecond { // of a machine that has no other work
		t.Errorf("a lookup took %v", worst)
	}

	printed := w.run("meshgw", "trace", "req-17", "--admin", out[1].listen.Admin)
	wantIn(t, "the timeline", printed, "GET ", "/orders", "route orders of table 1", "mesh://us-", "sent on by eu-", "answered 200")
	t.Log(printed)
	if text, err := w.try("meshgw", "trace", "no-such", "--admin", in[0].listen.Admin); exitCode(err) != 1 || !strings.Contains(text, "no node remembers") {
		t.Errorf("an unknown id: exit %d, %s", exitCode(err), text)
	}
	if text, err := w.try("meshgw", "trace", "x", "--admin", "127.0.0.1:9"); exitCode(err) != 2 {
		t.Errorf("out of reach: exit %d, %s", exitCode(err), text)
	}

	out[0].kill()
	eventually(t, time.Second, "with a node killed it is found at the others", func() error {
		text, err := w.try("meshgw", "trace", "req-17", "--admin", in[0].listen.Admin)
		if err != nil || !strings.Contains(text, "us-1 did not answer") || !strings.Contains(text, "mesh://us-") {
			return fmt.Errorf("%w: %s", err, text)
		}
		return nil
	})
}

func TestARequestThatFailedSaysWhy(t *testing.T) {
	w := newWorld(t)
	dead := startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"eu": {dead}})
	a := w.start("a", "--region", "eu", "--routes", file)
	serve(t, a)
	dead.kill()
	got, err := a.get("/orders")
	if err != nil || got.status < 500 {
		t.Fatalf("got %+v, %v", got, err)
	}
	eventually(t, time.Second, "it is traced", func() error { // remembered a moment after it was answered
		printed, err := w.try("meshgw", "trace", got.header.Get("x-request-id"), "--admin", a.listen.Admin, "-o", "json")
		var trace api.RequestTrace
		if err == nil {
			err = json.Unmarshal([]byte(printed), &trace)
		}
		if err != nil || len(trace.Seen) != 1 || trace.Seen[0].Error != got.header.Get("x-meshgw-error") || trace.Seen[0].Detail == "" || trace.Seen[0].Attempts[0].Outcome != "connect_failure" {
			return fmt.Errorf("%w: %s", err, printed)
		}
		return nil
	})
}

func TestTopShowsTheTrafficOfAllNodes(t *testing.T) {
	w, in, out := twoHops(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				ask(t, in, 60)
				time.Sleep(50 * time.Millisecond)
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	eventually(t, 15*time.Second, "every node's traffic is seen at another", func() error {
		traffic, err := out[1].client().Traffic(t.Context(), true)
		if err != nil {
			return err
		}
		if len(traffic.Nodes) != 5 || len(traffic.Routes) == 0 || traffic.Routes[0].Route != "orders" {
			return fmt.Errorf("got %+v", traffic)
		}
		for _, n := range traffic.Nodes {
			if (n.RPS > 0) != (n.Region == "eu") { // those of clients, not those sent on
				return fmt.Errorf("%s has %v requests/s", n.Node, n.RPS)
			}
		}
		return nil
	})
	eventually(t, time.Second, "top shows it", func() error {
		printed := w.run("meshgw", "top", "--admin", out[0].listen.Admin)
		for _, want := range []string{"5 nodes", "eu-1 (eu)", "us-2 (us)", "orders", "P99 MS"} {
			if !strings.Contains(printed, want) {
				return fmt.Errorf("no %q in %s", want, printed)
			}
		}
		return nil
	})
}
