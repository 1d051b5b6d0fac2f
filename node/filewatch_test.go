package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestEveryDirectoryOnTheWayToARouteFileIsWatched(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(root, name) }
	for _, dir := range []string{"etc", "v1"} {
		if err := os.Mkdir(at(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// As Kubernetes lays out a volume: the file leads through ..data to a version.
	for link, target := range map[string]string{"etc/routes.yaml": "..data/routes.yaml", "etc/..data": "../v1", "loop": "loop"} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := directories(at("etc/routes.yaml"), mostLinks), []string{at("v1"), at("etc"), at("etc")}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := directories(at("loop"), mostLinks); len(got) != mostLinks+1 {
		t.Errorf("a loop is followed through %d directories", len(got))
	}
}

func TestAFilesNeighboursDoNotConcernItsWatch(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, data string) {
		t.Helper()
		f, err := os.OpenFile(at(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(data)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("v1.yaml", "one")
	write("log", "one")
	if err := os.Symlink("v1.yaml", at("routes.yaml")); err != nil {
		t.Fatal(err)
	}
	w := watchFiles(zerolog.Nop())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer w.close()
	wg.Go(w.run)
	w.follow(at("routes.yaml"))
	told := func(want bool, of string) {
		t.Helper()
		wait := 10 * time.Second
		if !want {
			wait = 50 * time.Millisecond
		}
		select {
		case <-w.changed:
			if !want {
				t.Errorf("%s is told of", of)
			}
		case <-time.After(wait):
			if want {
				t.Errorf("%s is not told of", of)
			}
		}
	}
	write("log", "two")
	told(false, "a line of the log beside it")
	write("v1.yaml", "two")
	told(true, "what is written to it")
	for drained := false; !drained; { // one writing is more than one event
		select {
		case <-w.changed:
		case <-time.After(50 * time.Millisecond):
			drained = true
		}
	}
	if err := os.Symlink("v2.yaml", at("next")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(at("next"), at("routes.yaml")); err != nil {
		t.Fatal(err)
	}
	told(true, "another symlink")
}

// What is written in pieces is read once it is whole.
func TestAFileIsReadOnceNothingIsWrittenAnyMore(t *testing.T) {
	const writes = 10
	w := &fileWatch{changed: make(chan struct{}, writes)}
	for range writes {
		w.changed <- struct{}{}
	}
	begun := time.Now()
	w.settle(t.Context())
	if waited := time.Since(begun); waited < settleFile || len(w.changed) > 0 {
		t.Errorf("read after %v, with %d writes to come", waited, len(w.changed))
	}
}
