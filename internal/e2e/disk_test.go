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
	w := newWorld(t)
	a := w.start("a")
	where := []string{"--bind", freePort(t), "--join", a.listen.Gossip}
	b := w.start("b", where...)
	allSee(t, 10*time.Second, a, b)
	snapshot := filepath.Join(w.dir, "b", "routes.snapshot")
	for i := range 20 {
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
