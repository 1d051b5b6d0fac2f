package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

func TestDriftNamesWhoLagsAndWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	c := w.start("c", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b, c)
	if _, err := a.client().Apply(t.Context(), routeTo("r", "one"), api.ApplyOptions{Wait: "all"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "there is no drift", func() error {
		out, err := w.try("meshgw", "status", "--drift", "--admin", c.listen.Admin)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		wantIn(t, "no drift", out, "no drift: every node holds version 1")
		return nil
	})
	b.kill()
	if _, err := a.client().Apply(t.Context(), routeTo("r", "two"), api.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "b is named, with the reason", func() error {
		out, err := w.try("meshgw", "status", "--drift", "-o", "json", "--admin", c.listen.Admin)
		if exitCode(err) != 1 {
			return fmt.Errorf("exit %d: %s", exitCode(err), out)
		}
		for _, want := range []string{`"name": "b"`, `"versions_behind": 1`, "unreachable since 20"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %q in %s", want, out)
			}
		}
		return nil
	})
}

func TestEveryNodeExplainsAndTheSilentAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b)
	if _, err := a.client().Apply(t.Context(), routeTo("r", "one"), api.ApplyOptions{Wait: "all"}); err != nil {
		t.Fatal(err)
	}
	out := w.run("meshgw", "routes", "explain", "GET", "/r", "--mesh", "--admin", b.listen.Admin)
	wantIn(t, "both", out, "route r answers", "node a, b, table 1")
	if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	out, err := w.try("meshgw", "routes", "explain", "GET", "/r", "--mesh", "--admin", a.listen.Admin)
	if exitCode(err) != 1 {
		t.Errorf("exit %d", exitCode(err))
	}
	wantIn(t, "one is stopped", out, "node a, table 1", "b did not answer")
	eventually(t, 30*time.Second, "a knows that b failed", func() error { return a.sees("a") })
	out, err = w.try("meshgw", "routes", "explain", "GET", "/r", "--mesh", "--admin", a.listen.Admin)
	if exitCode(err) != 1 {
		t.Errorf("exit %d", exitCode(err))
	}
	wantIn(t, "one has failed", out, "node a, table 1", "b did not answer: not alive")
}

func TestSeveralFilesAreAppliedAsOneAndMistakesKeepTheirPlaces(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	write := func(name, text string) string {
		path := w.dir + "/" + name
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ups := write("upstreams.yaml", "upstreams:\n  - name: u\n    endpoints: [{url: \"http://${HOST}:9\"}]\n")
	routes := write("routes.yaml", "# two files\nroutes:\n  - name: r\n    upstream: u\n  - name: wrong\n    upstream: nowhere\n")
	t.Setenv("HOST", "10.9.8.7")
	out, err := w.try("meshgw", "routes", "apply", ups, routes, "--admin", a.listen.Admin)
	if exitCode(err) != 1 {
		t.Errorf("exit %d", exitCode(err))
	}
	wantIn(t, "a mistake that the node finds", out, routes+":6:15: ", "6 |     upstream: nowhere", "nowhere")
	routes = write("routes.yaml", "routes:\n  - name: r\n    upstream: u\n")
	w.run("meshgw", "routes", "apply", ups, routes, "--admin", a.listen.Admin)
	wantIn(t, "export", w.run("meshgw", "routes", "export", "--admin", a.listen.Admin), "http://10.9.8.7:9", "name: r")
	w.run("meshgw", "routes", "diff", ups, routes, "--admin", a.listen.Admin)
}
