//go:build root

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// settled is how long the homes of limits must have been the same until a new key
// starts with its whole burst after a split.
const settled = 4 * time.Second

// Both sides of a split use a limit by halves, and all of it once they meet again.
func TestNamespaceSplitHoldsALimitToItsParts(t *testing.T) {
	if !full() {
		t.Skip("takes a minute; MESHGW_FULL=1 runs it")
	}
	const nodes, length = 10, 20 * time.Second
	l := newLAN(t, nodes, "--access-log", "off")
	seeAlive(t, 20*time.Second, nodes, l.hosts...)
	file := filepath.Join(l.w.dir, "limits.yaml")
	doc := "routes:\n  - name: all\n    limits: [l]\n    respond: {status: 200, body: ok}\nlimits:\n  - {name: l, rate: 1000/s, burst: 100}\n"
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	apply := exec.Command("ip", "netns", "exec", l.hosts[0].ns, filepath.Join(bin, "meshgw"), "routes", "apply", file, "--wait", "all")
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	time.Sleep(settled)
	var ps []*process
	for _, h := range l.hosts {
		h.listen.HTTP = h.ip + ":8080"
		ps = append(ps, h.process)
	}
	load := offer(t, equally(2000, ps))
	load.watch(2 * time.Second)

	const cutAt, after = 3 * time.Second, 12 * time.Second
	healAt := cutAt + length
	var heal func()
	split := sync.OnceFunc(func() { heal = cut(t, l.hosts[:nodes/2], l.hosts[nodes/2:]) })
	mend := sync.OnceFunc(func() { heal() })
	c := load.watch(healAt+after, func(at time.Duration) {
		if at >= cutAt {
			split()
		}
		if at >= healAt {
			mend()
		}
	})
	load.stop()

	worst1, _ := c.off(time.Second, 1000, 100)
	worst10, _ := c.off(10*time.Second, 1000, 100)
	apart := c.between(cutAt+8*time.Second, healAt)
	apart1, _ := apart.off(time.Second, 1000, 100)
	parted, offered := apart.mean()
	whole, wholeOffered := c.between(healAt+after-3*time.Second, healAt+after).mean()
	t.Logf("worst second %.1f %% above, worst ten %.1f %%; settled apart %.1f %%, %.0f/s of %.0f/s; whole again %.0f/s of %.0f/s; %d failed",
		100*worst1, 100*worst10, 100*apart1, parted, offered, whole, wholeOffered, load.failed.Load())
	if worst1 > 0.4 || worst10 > 0.06 || apart1 > 0.03 {
		t.Error("too much is admitted")
	}
	if offered > 1200 && parted < 800 || wholeOffered > 1200 && whole < 850 {
		t.Error("too little is admitted")
	}
	if failed := load.failed.Load(); failed > 0 {
		t.Errorf("%d failed", failed)
	}
}
