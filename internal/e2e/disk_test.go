package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshgw/meshgw/api"
)

func TestADamagedTableIsSetAsideAndTheMeshBringsItBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a")
	where := []string{"--bind", freePort(t), "--join", a.listen.Gossip}
	b := w.start("b", where...)
	allSee(t, 10*time.Second, a, b)
	snapshot := filepath.Join(w.dir, "b", "routes.snapshot")
	rounds := 8
	if full() {
		rounds = 100
	}
	for i := range rounds {
		text := fmt.Sprintf("kept %d", i)
		if _, err := a.client().Apply(t.Context(), routeTo("r", text), api.ApplyOptions{Wait: "all"}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "b has it on disk", func() error {
			_, err := os.Stat(snapshot)
			return err
		})
		b.kill()
		how := damage(t, snapshot, i)
		b = w.start("b", where...)
		eventually(t, 10*time.Second, "b says so, "+how, func() error { return logged(b, "set aside") })
		eventually(t, 15*time.Second, "b serves it again, "+how, func() error { return b.answers("/r", text) })
	}
}

// damage cuts a file at a random length, or flips some bits of it.
func damage(t *testing.T, path string, round int) (how string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if round%2 == 0 {
		data = data[:rand.IntN(len(data))]
		how = fmt.Sprintf("cut at %d", len(data))
	} else {
		data = slices.Clone(data)
		at := rand.IntN(len(data))
		data[at] ^= byte(1 + rand.IntN(255))
		how = fmt.Sprintf("byte %d changed", at)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return how
}

// A process that may not let a file grow meets the errors of a full disk,
// without a disk to fill.
func TestADiskThatTakesNothingHarmsNoRequestAndMendsItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b)
	limit := func(bytes uint64) {
		if err := unix.Prlimit(b.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	fullDisk(t, a, b, func() { limit(0) }, func() { limit(unix.RLIM_INFINITY) })
}

// fullDisk holds b to its promises while its disk, by fill, takes nothing, and
// once it does again by free.
func fullDisk(t *testing.T, a, b *process, fill, free func()) {
	t.Helper()
	ctx := t.Context()
	if _, err := a.client().Apply(ctx, routeTo("r", "before"), api.ApplyOptions{Wait: "all"}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // what is to be on disk by itself is
	fill()
	_, err := b.client().Apply(ctx, routeTo("r", "refused"), api.ApplyOptions{})
	if p, ok := errors.AsType[*api.Problem](err); !ok || p.Status != http.StatusInsufficientStorage {
		t.Fatalf("an apply answered %v", err)
	}
	t.Log(err)
	for range 100 {
		if err := b.answers("/r", "before"); err != nil {
			t.Fatal(err)
		}
	}
	// What others apply is served, though it is not kept yet, and that is said.
	if _, err := a.client().Apply(ctx, routeTo("r", "of another"), api.ApplyOptions{Wait: "all"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "b serves what another took", func() error { return b.answers("/r", "of another") })
	eventually(t, 5*time.Second, "b says that it cannot keep it", func() error { return logged(b, "table not saved") })
	free()
	if _, err := b.client().Apply(ctx, routeTo("s", "taken"), api.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	a.kill()
	b.kill()
	b = b.w.start("b")
	for path, body := range map[string]string{"/r": "of another", "/s": "taken"} {
		if err := b.answers(path, body); err != nil {
			t.Error(err)
		}
	}
}

// A pipe in the place of each file to be written is a disk that does not answer: who
// opens it waits until somebody reads from it.
func TestADiskThatDoesNotAnswerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behind := []string{"--trusted-proxies", "127.0.0.1/32"}
	a := w.start("a", behind...)
	b := w.start("b", append(behind, "--join", a.listen.Gossip)...)
	allSee(t, 10*time.Second, a, b)
	table := func(status int) string {
		return w.save("routes.yaml", fmt.Appendf(nil, `routes: [{name: all, limits: [paced, long], respond: {status: %d}}]
limits: [{name: paced, rate: 20/s, burst: 1, wait: 500ms}, {name: long, rate: 100000/d}]
`, status))
	}
	w.run("meshgw", "routes", "apply", table(200), "--admin", "http://"+a.listen.Admin, "--wait", "all")
	answersFor(t, "192.0.2.1", 200, a, b)
	pipes := w.stall(b)
	// What is charged to the long limit is saved every ten seconds, all by itself.
	for began := time.Now(); time.Since(began) < 12*time.Second; time.Sleep(50 * time.Millisecond) {
		if status, err := b.statusFor("192.0.2.1"); err != nil || status != 200 && status != 429 {
			t.Fatalf("status %d, %v", status, err)
		}
	}
	for _, client := range []string{"192.0.2.7", "192.0.2.8"} { // the second comes while the first is saved
		w.run("meshgw", "ban", "add", client, "--for", "1h", "--admin", "http://"+a.listen.Admin)
		answersFor(t, client, 403, b)
	}
	w.run("meshgw", "routes", "apply", table(201), "--admin", "http://"+a.listen.Admin)
	answersFor(t, "192.0.2.1", 201, b)
	if _, err := b.status(); err != nil {
		t.Error(err)
	}
	for _, pipe := range pipes {
		answer(t, pipe)
	}
	eventually(t, 20*time.Second, "all is on disk", func() error {
		for _, name := range stalled() {
			if data, err := os.ReadFile(filepath.Join(w.dir, "b", name)); err != nil || len(data) == 0 {
				return fmt.Errorf("%s: %d bytes, %w", name, len(data), err)
			}
		}
		return nil
	})
}

func stalled() []string {
	return []string{"routes.snapshot", "bans.snapshot", "limits.snapshot"}
}

// stall makes what p writes to disk wait. It returns on what.
func (w *world) stall(p *process) (pipes []string) {
	w.t.Helper()
	for _, name := range stalled() {
		path := filepath.Join(w.dir, p.name, name)
		_ = os.Remove(path)
		if err := unix.Mkfifo(path+".new", 0o600); err != nil {
			w.t.Fatal(err)
		}
		pipes = append(pipes, path+".new")
	}
	return pipes
}

// answer lets go who waits on a pipe, and those who come after it find a file.
func answer(t *testing.T, pipe string) {
	t.Helper()
	reader, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		err = errors.Join(os.Remove(pipe), reader.Close())
	}
	if err != nil {
		t.Error(err)
	}
}
