package sim

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// TestLimitSeeds plays scenarios and then holds the mesh to a limit: whatever
// was broken before, what all nodes admit together adds up to it.
func TestLimitSeeds(t *testing.T) {
	for seed := range seeds(t, 2) {
		s := draw(seed)
		bubble(t, s, func(w *world) {
			for i, step := range s.steps {
				w.step(i, step)
				if w.failed() {
					return
				}
			}
			w.settle()
			if !w.failed() {
				w.addsUp()
			}
		})
	}
}

const (
	limitRate  = 20 // requests/s of the whole mesh, and the burst
	limitLasts = 10 * time.Second
)

// addsUp asks all nodes for three times what a limit admits.
func (w *world) addsUp() {
	doc := fmt.Sprintf(`{"limits":[{"name":"l","rate":"%d/s","burst":%d,"key":["none"]}],`+
		`"routes":[{"name":"limited","match":[{"path":"/limited"}],"limits":["l"],"respond":{"status":200}}]}`, limitRate, limitRate)
	ctx, cancel := w.ask()
	defer cancel()
	if _, err := w.machines[0].boot.client.Apply(ctx, []byte(doc), api.ApplyOptions{}); err != nil {
		w.story.fail("the limit is not applied: %v", err)
		return
	}
	if !w.within(5*time.Second, "all tables are equal", w.equalTables) {
		return
	}
	time.Sleep(5 * time.Second) // each has its lease
	var asked sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for began, i := time.Now(), 0; time.Since(began) < limitLasts; i++ {
		m := w.machines[i%len(w.machines)]
		asked.Go(func() {
			status := w.get(m, "/limited")
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
		time.Sleep(time.Second / (3 * limitRate))
	}
	asked.Wait()
	admitted, most := answers[http.StatusOK], limitRate*int(limitLasts/time.Second)+limitRate
	w.story.tell("a limit of %d/s: %v in %v", limitRate, answers, limitLasts)
	if admitted > most*11/10 || admitted < (most-limitRate)*7/10 {
		w.story.fail("a limit of %d/s admitted %d in %v, with a burst %d at most: %v", limitRate, admitted, limitLasts, most, answers)
	}
}

// get asks a node as a client does, and returns the status; 0 for none.
func (w *world) get(m *machine, path string) int {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return w.operator.Dial(ctx, addr) },
	}}
	resp, err := client.Get("http://" + net.JoinHostPort(m.ip, httpPort) + path)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
