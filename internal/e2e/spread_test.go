package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// tenNodes is a mesh of ten.
func tenNodes(t *testing.T) []*process {
	t.Helper()
	w := newWorld(t)
	nodes := []*process{w.start("n0")}
	for i := 1; i < 10; i++ {
		nodes = append(nodes, w.launch(fmt.Sprintf("n%d", i), "--join", nodes[0].listen.Gossip))
	}
	for _, p := range nodes[1:] {
		p.waitReady()
	}
	allSee(t, 20*time.Second, nodes...)
	return nodes
}

// servedBy is when each node first answered a path with body, as its clients see
// it: asked again after every pause, each over a connection of its own.
func servedBy(ctx context.Context, nodes []*process, pause time.Duration, path, body string) ([]time.Time, error) {
	at := make([]time.Time, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, p := range nodes {
		wg.Go(func() { at[i], errs[i] = firstAnswer(ctx, pause, "http://"+p.listen.HTTP+path, body) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", nodes[i].name, err)
		}
	}
	return at, nil
}

func firstAnswer(ctx context.Context, pause time.Duration, url, body string) (time.Time, error) {
	client := &http.Client{Transport: clientTransport(2)}
	defer client.CloseIdleConnections()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return time.Time{}, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return time.Time{}, err
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return time.Time{}, err
		}
		if resp.StatusCode == http.StatusOK && string(got) == body {
			return time.Now(), nil
		}
		time.Sleep(pause)
	}
}

// everywhere applies a document at one node and returns how long after that was
// begun each node served it. The pause of who asks is long enough not to be the load.
func everywhere(t *testing.T, nodes []*process, at *process, doc []byte, pause time.Duration, path, body string) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	began := time.Now()
	applied := make(chan error, 1)
	go func() {
		_, err := at.client().Apply(ctx, doc, api.ApplyOptions{})
		applied <- err
	}()
	served, err := servedBy(ctx, nodes, pause, path, body)
	if err := <-applied; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	took := make([]time.Duration, len(served))
	for i, at := range served {
		took[i] = at.Sub(began)
	}
	return took
}

// quantile is of durations that are sorted.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(100 * time.Microsecond)
}

func TestTenNodesServeAnApplySoon(t *testing.T) {
	nodes := tenNodes(t)
	var each, last []time.Duration
	for i := range 100 {
		text := strconv.Itoa(i)
		took := everywhere(t, nodes, nodes[i%10], routeTo("r", text), 5*time.Millisecond, "/r", text)
		each, last = append(each, took...), append(last, slices.Max(took))
	}
	slices.Sort(each)
	slices.Sort(last)
	t.Logf("100 applies, from before the request to the first answer by the new table: a node p50 %v p99 %v max %v; the last of ten p50 %v p99 %v",
		quantile(each, .5), quantile(each, .99), quantile(each, 1), quantile(last, .5), quantile(last, .99))
	if p50 := quantile(each, .5); p50 > time.Second { // 50 ms on a machine of its own
		t.Errorf("p50 %v", p50)
	}
}

func TestTenNodesServeTenThousandRoutesSoon(t *testing.T) {
	nodes := tenNodes(t)
	var took []time.Duration
	rounds, count := 1, scaled(10_000)
	if full() {
		rounds = 3
	}
	for i := range rounds {
		text := "all " + strconv.Itoa(i)
		doc := manyRoutes(count, text)
		used := cpuOf(t, nodes)
		took = append(took, slices.Max(everywhere(t, nodes, nodes[3*i], doc, 25*time.Millisecond, fmt.Sprintf("/r%d", count-1), text)))
		t.Logf("a table of %d routes, %d bytes as YAML, to the last of ten nodes: %v, which used %v of CPU",
			count, len(doc), took[i].Round(time.Millisecond), (cpuOf(t, nodes) - used).Round(10*time.Millisecond))
	}
	if worst := slices.Max(took); worst > 25*time.Second { // 1 s on a machine of its own
		t.Errorf("took %v", worst)
	}
}

// manyRoutes is a route file of n routes on a thousand hosts; the last takes any.
func manyRoutes(n int, text string) []byte {
	var b bytes.Buffer
	b.WriteString("upstreams:\n  - name: u\n    endpoints: [{url: \"http://127.0.0.1:9\"}]\nroutes:\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, "  - {name: r%d, hosts: [h%d.example.com], match: [{path_prefix: /v1/s%d}], upstream: u}\n", i, i%1000, i/1000)
	}
	fmt.Fprintf(&b, "  - {name: r%d, match: [{path: /r%d}], respond: {status: 200, body: %q}}\n", n-1, n-1, text)
	return b.Bytes()
}

// cpuOf is what the processes have used so far, all together.
func cpuOf(t *testing.T, nodes []*process) (total time.Duration) {
	t.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	for _, p := range nodes {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		// After the name in parentheses: user and system time are fields 14 and 15.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		for _, field := range fields[11:13] {
			ticks, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			total += time.Duration(ticks) * tick
		}
	}
	return total
}
