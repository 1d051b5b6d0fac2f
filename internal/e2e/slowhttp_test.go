//go:build root

package e2e

import (
	"os/exec"
	"regexp"
	"testing"
)

// slowhttptest (Debian has it) attacks a node in its three ways, and asks from
// beside whether the service is there. `make check` runs it.
func TestSlowHTTPTestFindsTheServiceAvailable(t *testing.T) {
	t.Parallel()
	colour := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	available := regexp.MustCompile(`service available:\s+(\w+)`)
	for name, attack := range map[string][]string{
		"slow headers": {"-H", "-i", "2"},
		"slow bodies":  {"-B", "-i", "2", "-s", "8192"},
		"slow reads":   {"-X", "-w", "10", "-y", "20", "-n", "2", "-z", "8", "-k", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := startEndpoint(t, 0)
			a := w.start("a", "--access-log", "off", "--routes", w.routeFile("routes.yaml", "/", "http://"+e.addr))
			serve(t, a)
			args := append(attack, "-c", "2000", "-r", "1000", "-l", "8", "-p", "3", "-u", "http://"+a.listen.HTTP+"/")
			out, err := exec.Command("slowhttptest", args...).CombinedOutput()
			out = colour.ReplaceAll(out, nil)
			seen := available.FindAllSubmatch(out, -1)
			if err != nil || len(seen) == 0 {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, m := range seen {
				if string(m[1]) != "YES" {
					t.Errorf("not available\n%s", out)
				}
			}
		})
	}
}
