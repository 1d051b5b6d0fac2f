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
	time.Sleep(1200 * time.Millisecond) // for us to tell its room, as each node does every second
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

func TestARequestIsFoundByItsIDAtEveryHop(t *testing.T) {
	w, in, out := twoHops(t)
	count, lookups, most := 4000, 200, 2*time.Second
	if full() {
		count, lookups, most = 100_000, 1000, 200*time.Millisecond
	}
	ask(t, in, count)
	all := append(slices.Clone(in), out...)
	var took []time.Duration
	for range lookups {
		id := fmt.Sprint("req-", rand.N(count))
		began := time.Now()
		trace, err := all[rand.N(len(all))].client().Request(t.Context(), id, true)
		took = append(took, time.Since(began))
		if err == nil {
			err = bothHops(trace)
		}
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	slices.Sort(took)
	t.Logf("%d requests over two hops, %d of them looked up on five nodes: all found, p50 %v, p99 %v, max %v",
		count, lookups, quantile(took, .5), quantile(took, .99), quantile(took, 1))
	if worst := took[len(took)-1]; worst > most {
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
	text, err := w.try("meshgw", "trace", "req-17", "--admin", in[0].listen.Admin)
	if exitCode(err) != 0 {
		t.Errorf("with a node killed: exit %d", exitCode(err))
	}
	wantIn(t, "with a node killed", text, "us-1 did not answer", "mesh://us-")
	t.Log(text)
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
	printed := w.run("meshgw", "trace", got.header.Get("x-request-id"), "--admin", a.listen.Admin, "-o", "json")
	var trace api.RequestTrace
	if err := json.Unmarshal([]byte(printed), &trace); err != nil {
		t.Fatal(err)
	}
	if len(trace.Seen) != 1 || trace.Seen[0].Error != got.header.Get("x-meshgw-error") || trace.Seen[0].Detail == "" || trace.Seen[0].Attempts[0].Outcome != "connect_failure" {
		t.Errorf("got %s", printed)
	}
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
	printed := w.run("meshgw", "top", "--admin", out[0].listen.Admin)
	wantIn(t, "top", printed, "5 nodes", "eu-1 (eu)", "us-2 (us)", "orders", "P99 MS")
	t.Log(printed)
}
