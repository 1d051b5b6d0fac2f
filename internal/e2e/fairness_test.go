package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two tenants share the connections of an upstream. One keeps half of its share
// busy, the other fifty times its own.
func TestANoisyTenantHardlySlowsAQuietOne(t *testing.T) {
	t.Parallel()
	const (
		connections = 40
		share       = connections / 2
		each        = 200 * time.Millisecond // in the mean, so that what the machine adds is little
	)
	length := 3 * time.Second
	if full() {
		length = 20 * time.Second
	}
	var all, quiet atomic.Int64 // served
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if all.Add(1); r.Header.Get("X-Tenant") == "quiet" {
			quiet.Add(1)
		}
		time.Sleep(each/2 + rand.N(each)) // lest all connections come free at once
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(slow.Close)
	w := newWorld(t)
	p := w.start("a", "--access-log", "off", "--trusted-proxies", "127.0.0.1/32")
	path := filepath.Join(w.dir, "tenants.yaml")
	doc := fmt.Sprintf(`upstreams:
  - {name: slow, endpoints: [{url: %q}], max_connections: %d, max_pending: %d}
routes:
  - {name: all, upstream: slow}
tenants:
  - {name: quiet, identify: {header: x-tenant, value: quiet}}
  - {name: noisy, identify: {header: x-tenant, value: noisy}}
`, slow.URL, connections, 60*share)
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("meshgw", "routes", "apply", path, "--admin", "http://"+p.listen.Admin)

	alone := p.keepBusy(t, "quiet", share/2, length)
	ctx, cancel := context.WithCancel(t.Context())
	var noise sync.WaitGroup
	noise.Go(func() { p.busy(ctx, "noisy", 50*share) })
	eventually(t, 20*time.Second, "the line is long", func() error {
		s, err := p.status()
		if err == nil && (len(s.Upstreams) == 0 || s.Upstreams[0].Pending < 40*share) {
			err = fmt.Errorf("%+v", s.Upstreams)
		}
		return err
	})
	p.keepBusy(t, "quiet", share/2, time.Second) // until the first connections come free
	allBefore, quietBefore := all.Load(), quiet.Load()
	beside := p.keepBusy(t, "quiet", share/2, length)
	part := float64(quiet.Load()-quietBefore) / float64(all.Load()-allBefore)
	cancel()
	noise.Wait()
	t.Logf("quiet alone: %v; beside the noisy: %v, %.0f %% of what is served", alone, beside, 100*part)
	if alone.errors+beside.errors > 0 {
		t.Errorf("%d errors alone, %d beside the noisy", alone.errors, beside.errors)
	}
	if full() && float64(beside.p99) > 1.2*float64(alone.p99) { // of a machine that has no other work
		t.Errorf("p99 %v beside the noisy, %v alone", beside.p99, alone.p99)
	}
	// However slow the machine is: a quarter is due to it, and one in a hundred stands in line.
	if part < 0.1 {
		t.Errorf("the quiet tenant gets %.0f %% of what is served", 100*part)
	}
}

// service is what a tenant got.
type service struct {
	requests, errors int
	p50, p99         time.Duration
}

// keepBusy sends one request after the other on so many connections for a while.
func (p *process) keepBusy(t *testing.T, tenant string, connections int, length time.Duration) service {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	return p.busy(ctx, tenant, connections)
}

func (p *process) busy(ctx context.Context, tenant string, connections int) (got service) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				status := p.ask(ctx, client, tenant)
				if ctx.Err() != nil {
					return // cut off by the end
				}
				mu.Lock()
				took = append(took, time.Since(began))
				if status != http.StatusOK {
					got.errors++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	if got.requests = len(took); got.requests > 0 {
		got.p50, got.p99 = took[len(took)/2], took[len(took)*99/100]
	}
	return got
}

// ask asks as a tenant and returns the status; 0 is no answer.
func (p *process) ask(ctx context.Context, client *http.Client, tenant string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.listen.HTTP+"/", nil)
	if err != nil {
		return 0
	}
	req.Header.Set("X-Tenant", tenant)
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
