package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load sends requests at a steady pace to nodes, as clients behind a load
// balancer do: one that asks each node's /readyz, sends to those that are ready,
// and tries another where a connection is refused. Alone it sends to one node.
type load struct {
	nodes  []*machine
	ready  []atomic.Bool
	method string
	path   string
	client *http.Client
	stop   func()

	mu     sync.Mutex // guards the rest
	counts counts
}

// counts is what became of the requests of some time.
type counts struct {
	sent, failed int
	took         []time.Duration // of those that were answered 200
	answers      map[string]int  // by status, or what went wrong
	by           map[string]int  // 200s by endpoint
}

func startLoad(nodes []*machine, rate int, method, path string) *load {
	l := &load{
		nodes: nodes, ready: make([]atomic.Bool, len(nodes)), method: method, path: path,
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
	for i := range l.ready {
		l.ready[i].Store(true)
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	if len(nodes) > 1 {
		for i := range nodes {
			wg.Go(func() { l.probe(i, ended) })
		}
	}
	wg.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			wg.Go(func() { l.ask(i) })
		}
	})
	l.stop = sync.OnceFunc(func() {
		close(ended)
		wg.Wait()
		l.client.CloseIdleConnections()
	})
	return l
}

// probe asks a node five times a second whether it is ready.
func (l *load) probe(i int, ended <-chan struct{}) {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for {
		resp, err := client.Get("http://" + l.nodes[i].ip + ":" + adminPort + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
		}
		l.ready[i].Store(err == nil && resp.StatusCode == http.StatusOK)
		select {
		case <-ended:
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// turn is the nodes in the order in which request i tries them.
func (l *load) turn(i int) []*machine {
	var first, last []*machine
	for k := range l.nodes {
		k = (i + k) % len(l.nodes)
		if l.ready[k].Load() {
			first = append(first, l.nodes[k])
		} else {
			last = append(last, l.nodes[k])
		}
	}
	return append(first, last...)
}

// ask sends one request and counts what became of it.
func (l *load) ask(i int) {
	began := time.Now()
	var resp *http.Response
	var err error
	for _, m := range l.turn(i) {
		var req *http.Request
		if req, err = http.NewRequest(l.method, fmt.Sprintf("http://%s%s", m.http(), l.path), nil); err != nil {
			break
		}
		if resp, err = l.client.Do(req); err == nil || !strings.Contains(err.Error(), "dial tcp") {
			break
		}
	}
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts.answers == nil {
		l.counts.answers, l.counts.by = map[string]int{}, map[string]int{}
	}
	l.counts.sent++
	switch {
	case err != nil:
		l.counts.failed++
		l.counts.answers[short(err)]++
	case resp.StatusCode != http.StatusOK:
		l.counts.failed++
		l.counts.answers[strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-Meshgw-Error")))]++
	default:
		l.counts.took = append(l.counts.took, took)
		l.counts.answers["200"]++
		l.counts.by[resp.Header.Get("X-Endpoint")]++
	}
	if err == nil {
		_ = resp.Body.Close()
	}
}

// short is the last part of an error.
func short(err error) string {
	text := err.Error()
	return text[strings.LastIndex(text, ": ")+1:]
}

// soFar is the counts since sinceLast was called.
func (l *load) soFar() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.took, c.answers, c.by = slices.Sorted(slices.Values(c.took)), maps.Clone(c.answers), maps.Clone(c.by)
	return c
}

// sinceLast is the counts since it was called last.
func (l *load) sinceLast() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	l.counts = counts{}
	slices.Sort(c.took)
	return c
}

// quantile is how long a share of the requests took at most.
func (c counts) quantile(share float64) time.Duration {
	if len(c.took) == 0 {
		return 0
	}
	return c.took[min(len(c.took)-1, int(share*float64(len(c.took))))]
}

func (c counts) String() string {
	ms := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	text := fmt.Sprintf("%d requests, %d failed, p50 %v, p99 %v, slowest %v", c.sent, c.failed, ms(c.quantile(0.5)), ms(c.quantile(0.99)), ms(c.quantile(1)))
	if c.failed > 0 {
		text += fmt.Sprintf("; %v", c.answers)
	}
	return text
}

// figure is what a scenario may demand of the counts.
func (c counts) figure(name string) (float64, error) {
	switch name {
	case "sent":
		return float64(c.sent), nil
	case "failed":
		return float64(c.failed), nil
	case "p50":
		return c.quantile(0.5).Seconds(), nil
	case "p99":
		return c.quantile(0.99).Seconds(), nil
	case "slowest":
		return c.quantile(1).Seconds(), nil
	}
	if endpoint, ok := strings.CutPrefix(name, "by:"); ok {
		return float64(c.by[endpoint]), nil
	}
	if answer, ok := strings.CutPrefix(name, "answer:"); ok {
		return float64(c.answers[answer]), nil
	}
	return 0, fmt.Errorf("no figure %q", name)
}
