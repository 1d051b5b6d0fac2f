package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	demoRegionHeader = "x-demo-region"
	demoPatience     = 10 * time.Second // of one request of the load
	demoAtOnce       = 256              // requests in flight: a slow mesh slows the load
)

// demoUpstreams are the services behind the mesh, two per region.
type demoUpstreams struct {
	servers []*http.Server
	urls    map[string][]string // by region
}

func startUpstreams() (*demoUpstreams, error) {
	u := &demoUpstreams{urls: map[string][]string{}}
	for _, region := range demoRegions() {
		for i := range 2 {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				u.close()
				return nil, fmt.Errorf("listen for an upstream: %w", err)
			}
			name := fmt.Sprintf("hello-%s-%d", region, i+1)
			server := &http.Server{ReadHeaderTimeout: demoPatience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(demoRegionHeader, region)
				say(w, "%s in %s answers %s %s\n", name, region, r.Method, r.URL.Path)
			})}
			u.servers = append(u.servers, server)
			u.urls[region] = append(u.urls[region], "http://"+ln.Addr().String())
			go func() { _ = server.Serve(ln) }() // until close
		}
	}
	return u, nil
}

func (u *demoUpstreams) close() {
	for _, s := range u.servers {
		_ = s.Close()
	}
}

// routeFile is one upstream everywhere and one route to it.
func (u *demoUpstreams) routeFile() []byte {
	var b strings.Builder
	b.WriteString("upstreams:\n  - name: hello\n    endpoints:\n")
	for _, region := range demoRegions() {
		for _, url := range u.urls[region] {
			say(&b, "      - {url: %q, region: %s}\n", url, region)
		}
	}
	b.WriteString("routes:\n  - name: hello\n    match: [{path_prefix: /}]\n    upstream: hello\n")
	return []byte(b.String())
}

// demoLoad asks every node in turn, at a steady rate.
type demoLoad struct {
	nodes   []*demoNode
	windows []*demoWindow // one per node
	client  *http.Client

	mu       sync.Mutex // guards the rest
	requests int
	failed   int
	example  error
}

func newDemoLoad(nodes []*demoNode) *demoLoad {
	l := &demoLoad{nodes: nodes, client: &http.Client{
		Timeout:   demoPatience,
		Transport: &http.Transport{MaxIdleConnsPerHost: demoAtOnce},
	}}
	for range nodes {
		l.windows = append(l.windows, &demoWindow{})
	}
	return l
}

// run asks until ctx is done and every answer is in.
func (l *demoLoad) run(ctx context.Context, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	defer l.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, demoAtOnce)
	finish := context.WithoutCancel(ctx) // what was asked is waited for
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			l.ask(finish, i%len(l.nodes))
		})
	}
}

func (l *demoLoad) ask(ctx context.Context, i int) {
	began := time.Now()
	region, err := l.request(ctx, l.nodes[i].listen.HTTP)
	l.windows[i].add(time.Since(began), region, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if err != nil {
		l.failed++
		l.example = err
	}
}

// request makes one request and returns the region of who answered.
func (l *demoLoad) request(ctx context.Context, addr string) (region string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/hello", nil)
	if err != nil {
		return "", err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status + ": " + strings.TrimSpace(string(body)))
	}
	return resp.Header.Get(demoRegionHeader), nil
}

func (l *demoLoad) total() (requests, failed int, example error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests, l.failed, l.example
}

// demoWindow is what one node did since it was last looked at.
type demoWindow struct {
	mu  sync.Mutex // guards the rest
	sum demoSum
}

type demoSum struct {
	requests, errors int
	took             []time.Duration
	by               map[string]int // answers by region
}

func (w *demoWindow) add(took time.Duration, region string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sum.requests++
	w.sum.took = append(w.sum.took, took)
	if err != nil {
		w.sum.errors++
		return
	}
	if w.sum.by == nil {
		w.sum.by = map[string]int{}
	}
	w.sum.by[region]++
}

// take returns the window and begins a new one.
func (w *demoWindow) take() demoSum {
	w.mu.Lock()
	defer w.mu.Unlock()
	sum := w.sum
	w.sum = demoSum{}
	return sum
}

func (s demoSum) p50() time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	slices.Sort(s.took)
	return s.took[len(s.took)/2]
}

// regions names who answered, as in eu 40, us 2.
func (s demoSum) regions() string {
	var all []string
	for _, region := range slices.Sorted(maps.Keys(s.by)) {
		all = append(all, fmt.Sprintf("%s %d", region, s.by[region]))
	}
	return strings.Join(all, ", ")
}
