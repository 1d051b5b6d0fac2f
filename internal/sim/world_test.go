package sim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/meshgw/meshgw/internal/meshtest"
)

// world is a mesh and all that can be done to it. One goroutine, the driver,
// owns it; watchers of nodes touch only what guards itself.
type world struct {
	t        *testing.T
	scenario scenario
	dir      string
	keys     string
	story    *story
	ledger   *ledger
	net      *meshtest.Network
	operator *meshtest.Host
	machines []*machine
	cuts     map[[2]int]bool // one way, between machines by index
	boots    sync.WaitGroup  // of every node ever started, and its watcher
}

func newWorld(t *testing.T, dir string, s scenario) *world {
	t.Helper()
	w := &world{
		t: t, scenario: s, dir: dir, keys: filepath.Join(dir, "keyring.json"),
		story: &story{began: time.Now()}, ledger: newLedger(),
		net: meshtest.NewNetwork(s.seed), cuts: map[[2]int]bool{},
	}
	w.operator = w.net.Host("10.9.9.9")
	if err := os.WriteFile(w.keys, []byte(`["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range s.nodes {
		w.machines = append(w.machines, &machine{
			world: w, index: i, name: fmt.Sprintf("n%d", i+1), ip: fmt.Sprintf("10.0.0.%d", i+1),
			dir: filepath.Join(dir, fmt.Sprintf("n%d.0", i+1)),
		})
	}
	return w
}

// begin starts all nodes at once and waits until all see all.
func (w *world) begin() bool {
	w.calm()
	for _, m := range w.machines {
		m.start()
	}
	return w.within(20*time.Second, "all see all", w.wholeViews)
}

func (w *world) step(i int, s step) {
	time.Sleep(s.after)
	w.story.mu.Lock()
	w.story.add("step %d", i+1)
	w.story.mu.Unlock()
	s.do(w, s.rng)
}

// calm is the weather of a good day.
func (w *world) calm() {
	w.net.Delay(time.Millisecond, time.Millisecond)
	w.net.Lose(0, 0)
}

func (w *world) failed() bool { return w.story.broken() != "" }

// end stops all nodes, lets the bubble drain, and tells what went wrong.
func (w *world) end() {
	for _, m := range w.machines {
		if m.boot != nil {
			m.boot.stop()
		}
	}
	w.boots.Wait()
	time.Sleep(time.Minute) // timers of memberlist run out
	if w.failed() {
		w.t.Errorf("seed %d, %d nodes: %s\n%s", w.scenario.seed, w.scenario.nodes, w.story.broken(), w.story)
	} else if testing.Verbose() {
		w.t.Log("\n" + w.story.String())
	}
}

// within waits until what holds; a reason why it does not is the story's end
// when time is up.
func (w *world) within(limit time.Duration, what string, why func() error) bool {
	began := time.Now()
	for err := why(); err != nil; err = why() {
		if time.Since(began) > limit {
			w.story.fail("not within %v: %s: %v", limit, what, err)
		}
		if w.failed() {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.story.tell("%s after %v", what, time.Since(began))
	return true
}

// up returns the machines whose node runs.
func (w *world) up() (up []*machine) {
	for _, m := range w.machines {
		if m.boot != nil {
			up = append(up, m)
		}
	}
	return up
}

// recut gives the network the cuts of now: by machine, wherever it is.
func (w *world) recut() {
	w.net.Heal()
	for pair := range w.cuts {
		a, b := w.machines[pair[0]], w.machines[pair[1]]
		w.net.Cut(a.at(), b.at())
	}
}

// ask bounds what a client of the admin API waits.
func (w *world) ask() (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.t.Context(), 5*time.Second)
}
