package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestIncludedRouteFilesAreWatched(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir(filepath.Join(w.dir, "parts"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) { w.save(name, []byte(text)) }
	write("all.yaml", "include: [parts/*.yaml]\n")
	write("parts/one.yaml", string(routeTo("one", "first")))
	a := w.start("a", "--routes", filepath.Join(w.dir, "all.yaml"))
	if err := a.answers("/one", "first"); err != nil {
		t.Fatal(err)
	}
	soon := func(what string, ok func() error) { eventually(t, 10*time.Second, what, ok) }
	write("parts/one.yaml", string(routeTo("one", "second")))
	soon("a change of an included file is served", func() error { return a.answers("/one", "second") })
	write("parts/two.yaml", string(routeTo("two", "new")))
	soon("a new file is served", func() error { return a.answers("/two", "new") })
	write("parts/one.yaml", "include: [../all.yaml]\n")
	soon("a circle is told", func() error {
		s, err := a.status()
		if err == nil && !strings.Contains(fmt.Sprint(s.Routes.Pending), "includes itself, by way of") {
			err = fmt.Errorf("pending: %v", s.Routes.Pending)
		}
		return err
	})
	if err := a.answers("/one", "second"); err != nil {
		t.Errorf("a circle has changed the table: %v", err)
	}
	if err := os.Remove(filepath.Join(w.dir, "parts/one.yaml")); err != nil {
		t.Fatal(err)
	}
	soon("what no file has any more is gone", func() error {
		got, err := a.get("/one")
		if err == nil && got.status != 404 {
			err = fmt.Errorf("answered %d", got.status)
		}
		return err
	})
}
