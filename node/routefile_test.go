package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
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
