package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/routetable"
)

// oneUp picks a machine whose node runs; nil when none does.
func (w *world) oneUp(r *rand.Rand) *machine {
	up := w.up()
	if len(up) == 0 {
		return nil
	}
	return up[r.IntN(len(up))]
}

// edit writes a few routes, some of which need an upstream, at a random node. Now
// and then part of the table is deleted at once, while the write still travels.
func (w *world) edit(r *rand.Rand) {
	m := w.oneUp(r)
	if m == nil {
		return
	}
	m.write(r)
	if r.IntN(3) == 0 {
		w.remove(r)
	}
}

func (m *machine) write(r *rand.Rand) {
	spec := randomSpec(r)
	var names []string
	for _, route := range spec.Routes {
		names = append(names, route.Name)
	}
	m.apply("write "+strings.Join(names, " "), func(ctx context.Context, c *api.Client, o api.ApplyOptions) (api.Applied, error) {
		doc, err := json.Marshal(spec)
		if err != nil {
			return api.Applied{}, err
		}
		return c.Apply(ctx, doc, o)
	})
}

// randomSpec writes 1 to 3 of 8 routes. What it writes was never written before.
func randomSpec(r *rand.Rand) *routetable.Spec {
	spec := new(routetable.Spec)
	mark := fmt.Sprintf("%x", r.Uint64())
	for _, i := range r.Perm(8)[:1+r.IntN(3)] {
		name := fmt.Sprintf("r%d", i+1)
		route := routetable.Route{Name: name, Match: []routetable.Match{{PathPrefix: "/" + name}}}
		if i%3 == 0 {
			url := fmt.Sprintf("http://10.1.0.1:%d", 1024+r.IntN(60_000))
			up := routetable.Upstream{Name: "u" + name, Endpoints: []routetable.Endpoint{{URL: url}}}
			route.Upstream = up.Name
			route.ResponseHeaders = &routetable.HeaderOps{Set: map[string]string{"x-mark": mark}}
			spec.Upstreams = append(spec.Upstreams, up)
		} else {
			route.Respond = &routetable.Respond{Status: http.StatusOK, Body: mark}
		}
		spec.Routes = append(spec.Routes, route)
	}
	return spec
}

// remove takes the table of a node, drops part of it, and puts it back, as
// users delete: the rest must not have changed meanwhile.
func (w *world) remove(r *rand.Rand) {
	m := w.oneUp(r)
	if m == nil {
		return
	}
	m.apply("prune", func(ctx context.Context, c *api.Client, o api.ApplyOptions) (api.Applied, error) {
		doc, etag, err := c.Document(ctx, "", true)
		if err != nil {
			return api.Applied{}, err
		}
		var spec, kept routetable.Spec
		if err := json.Unmarshal(doc, &spec); err != nil {
			return api.Applied{}, err
		}
		needed := map[string]bool{}
		for _, route := range spec.Routes {
			if r.IntN(2) == 0 {
				kept.Routes = append(kept.Routes, route)
				needed[route.Upstream] = true
			}
		}
		for _, up := range spec.Upstreams {
			if needed[up.Name] || r.IntN(2) == 0 {
				kept.Upstreams = append(kept.Upstreams, up)
			}
		}
		if doc, err = json.Marshal(kept); err != nil {
			return api.Applied{}, err
		}
		o.Prune, o.IfMatch = true, etag
		return c.Apply(ctx, doc, o)
	})
}

// rollBack goes back to some version that a node remembers.
func (w *world) rollBack(r *rand.Rand) {
	m := w.oneUp(r)
	if m == nil {
		return
	}
	history, err := m.boot.history()
	if err != nil || len(history) == 0 {
		return
	}
	to := history[r.IntN(len(history))].stamp.String()
	m.apply("roll back to "+to, func(ctx context.Context, c *api.Client, o api.ApplyOptions) (api.Applied, error) {
		return c.Rollback(ctx, to, o)
	})
}

// burst has several nodes edited at the same time.
func (w *world) burst(r *rand.Rand) {
	var all sync.WaitGroup
	for _, m := range w.up() {
		if r.IntN(2) == 0 {
			own := rand.New(rand.NewPCG(r.Uint64(), 0))
			all.Go(func() { m.write(own) })
		}
	}
	all.Wait()
}

// weather changes how the network treats everybody.
func (w *world) weather(r *rand.Rand) {
	delay := time.Duration(r.Int64N(int64(80 * time.Millisecond)))
	jitter := time.Duration(r.Int64N(int64(200 * time.Millisecond)))
	loss, twice := r.Float64()*0.4, r.Float64()*0.3
	w.net.Delay(delay, jitter)
	w.net.Lose(loss, twice)
	w.story.tell("weather: delay %v + %v, loss %.0f %%, repeats %.0f %%", delay, jitter, 100*loss, 100*twice)
}

// cut stops what one machine sends to some others.
func (w *world) cut(r *rand.Rand) {
	from := r.IntN(len(w.machines))
	for to := range w.machines {
		if to != from && r.IntN(2) == 0 {
			w.cuts[[2]int{from, to}] = true
			w.story.tell("cut: %s to %s", w.machines[from].name, w.machines[to].name)
		}
	}
	w.recut()
}

// split parts the mesh in two.
func (w *world) split(r *rand.Rand) {
	var left []string
	side := make([]bool, len(w.machines))
	for i := range side {
		if side[i] = r.IntN(2) == 0; side[i] {
			left = append(left, w.machines[i].name)
		}
	}
	for i := range side {
		for j := range side {
			if side[i] != side[j] {
				w.cuts[[2]int{i, j}] = true
			}
		}
	}
	w.story.tell("split: %v from the rest", left)
	w.recut()
}

// heal ends all cuts.
func (w *world) heal(*rand.Rand) {
	if len(w.cuts) == 0 {
		return
	}
	clear(w.cuts)
	for _, m := range w.machines {
		if m.off {
			w.isolate(m)
		}
	}
	w.recut()
	w.story.tell("all cuts healed")
}

// isolate has nobody answer at the address of a machine that is gone.
func (w *world) isolate(m *machine) {
	for i := range w.machines {
		if i != m.index {
			w.cuts[[2]int{i, m.index}], w.cuts[[2]int{m.index, i}] = true, true
		}
	}
}

// die kills a node.
func (w *world) die(r *rand.Rand) {
	if m := w.oneUp(r); m != nil {
		m.kill(r)
	}
}

// editAndDie kills a node that is being edited.
func (w *world) editAndDie(r *rand.Rand) {
	m := w.oneUp(r)
	if m == nil {
		return
	}
	var edit sync.WaitGroup
	own := rand.New(rand.NewPCG(r.Uint64(), 0))
	edit.Go(func() { m.write(own) })
	time.Sleep(time.Duration(r.Int64N(int64(8 * time.Millisecond))))
	m.kill(r)
	edit.Wait()
}

// kill ends the node as kill -9 does, or as a machine does that loses power. What
// is on disk at this moment is all that remains, and it may be damaged.
func (m *machine) kill(r *rand.Rand) {
	w, b := m.world, m.boot
	m.mendDisk()
	synctest.Wait() // nobody is within a write
	b.killed.Store(true)
	next := filepath.Join(w.dir, fmt.Sprintf("%s.%d", m.name, m.boots))
	if err := os.CopyFS(next, os.DirFS(m.dir)); err != nil {
		w.t.Fatal(err)
	}
	m.dir = next
	b.host.Kill()
	b.stop()
	m.boot = nil
	how := "the process"
	if r.IntN(2) == 0 {
		how, m.off = "the machine", true
		w.isolate(m)
		w.recut()
	}
	w.story.tell("%s dies: %s", m.name, how)
	m.damage(r)
}

// damage spoils the disk of a machine that is down, or not.
func (m *machine) damage(r *rand.Rand) {
	kinds := []func(*rand.Rand) (string, error){m.wipe, m.truncateTable, m.flipTable, m.tearNew, m.spoilIdentity, m.spoilPeers}
	i := r.IntN(2 * len(kinds))
	if i >= len(kinds) {
		return
	}
	what, err := kinds[i](r)
	if err != nil {
		m.world.t.Fatal(err)
	}
	m.world.story.tell("disk of %s: %s", m.name, what)
	if i < 3 {
		m.mu.Lock()
		m.acked = nil
		m.mu.Unlock()
		m.world.excuse()
	}
}

func (m *machine) wipe(*rand.Rand) (string, error) { return "all gone", os.RemoveAll(m.dir) }

func (m *machine) truncateTable(r *rand.Rand) (string, error) {
	return m.spoil(tableFile, func(data []byte) []byte { return data[:r.IntN(len(data))] })
}

func (m *machine) flipTable(r *rand.Rand) (string, error) {
	return m.spoil(tableFile, func(data []byte) []byte {
		data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		return data
	})
}

// tearNew leaves a write that was under way.
func (m *machine) tearNew(*rand.Rand) (string, error) {
	return "a torn write left behind", os.WriteFile(filepath.Join(m.dir, tableFile+".new"), []byte("meshgw ro"), 0o600)
}

func (m *machine) spoilIdentity(r *rand.Rand) (string, error) {
	return m.spoil(identityFile, func(data []byte) []byte { return data[:r.IntN(len(data))] })
}

func (m *machine) spoilPeers(r *rand.Rand) (string, error) {
	return m.spoil(peersFile, func(data []byte) []byte { return data[:r.IntN(len(data))] })
}

func (m *machine) spoil(file string, how func([]byte) []byte) (string, error) {
	path := filepath.Join(m.dir, file)
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return "no " + file, nil //nolint:nilerr // a node that had nothing to write yet
	}
	return file + " damaged", os.WriteFile(path, how(data), 0o600)
}

// excuse lets those edits be lost that no disk has any more.
func (w *world) excuse() {
	held := map[string]bool{}
	for _, m := range w.machines {
		for _, r := range m.stored().History() {
			held[r.Message] = true
		}
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	for message := range w.ledger.acked {
		if !held[message] && !w.ledger.excused[message] {
			w.ledger.excused[message] = true
			w.story.tell("%s is on no disk any more", message)
		}
	}
}

// leave stops a node as an operator does.
func (w *world) leave(r *rand.Rand) {
	m := w.oneUp(r)
	if m == nil {
		return
	}
	m.mendDisk()
	w.story.tell("%s is told to stop", m.name)
	m.boot.stop()
	select {
	case <-m.boot.ended:
	case <-time.After(30 * time.Second):
		w.story.fail("%s does not stop", m.name)
	}
	m.boot = nil
}

// revive starts a node that is down, some of them at another address.
func (w *world) revive(r *rand.Rand) {
	var down []*machine
	for _, m := range w.machines {
		if m.boot == nil {
			down = append(down, m)
		}
	}
	if len(down) == 0 {
		return
	}
	m := down[r.IntN(len(down))]
	if m.index >= w.seeds() && r.IntN(2) == 0 {
		m.ip = fmt.Sprintf("10.0.%d.%d", m.boots, m.index+1)
	}
	w.raise(m)
}

// raise starts a machine; what its absence cut is whole again.
func (w *world) raise(m *machine) {
	if m.off {
		for pair := range w.cuts {
			if pair[0] == m.index || pair[1] == m.index {
				delete(w.cuts, pair)
			}
		}
	}
	m.start()
	w.recut()
}

// slow makes a machine late with all it sends.
func (w *world) slow(r *rand.Rand) {
	m := w.machines[r.IntN(len(w.machines))]
	m.slow = time.Duration(r.Int64N(int64(300 * time.Millisecond)))
	m.at().Slow(m.slow)
	w.story.tell("%s is slow by %v", m.name, m.slow)
}

// jump sets a machine's wall clock, by years if need be.
func (w *world) jump(r *rand.Rand) {
	m := w.machines[r.IntN(len(w.machines))]
	by := time.Duration(r.Int64N(int64(20*365*24*time.Hour))) - 10*365*24*time.Hour
	m.clock.Store(int64(by))
	w.story.tell("clock of %s is off by %v", m.name, by)
}

// loseDisk has all writes of a node fail.
func (w *world) loseDisk(r *rand.Rand) {
	m := w.oneUp(r)
	if m == nil || m.away {
		return
	}
	synctest.Wait()
	if err := os.Rename(m.dir, m.dir+".away"); err != nil {
		w.t.Fatal(err)
	}
	m.away = true
	w.story.tell("disk of %s fails", m.name)
}

// mendDisk ends that.
func (w *world) mendDisk(r *rand.Rand) {
	w.machines[r.IntN(len(w.machines))].mendDisk()
}

func (m *machine) mendDisk() {
	if !m.away {
		return
	}
	synctest.Wait()
	if err := os.Rename(m.dir+".away", m.dir); err != nil {
		m.world.t.Fatal(err)
	}
	m.away = false
	m.world.story.tell("disk of %s works again", m.name)
}
