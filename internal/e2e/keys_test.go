package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// ownKeyring gives a node a keyring file of its own, as on a machine of its own.
func (w *world) ownKeyring(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(w.keyring)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.save(name+".keyring", data)
}

func (p *process) keys() (k api.GossipKeys) {
	p.w.t.Helper()
	out := p.w.run("meshgw", "keys", "list", "-o", "json", "--admin", "http://"+p.listen.Admin)
	if err := json.Unmarshal([]byte(out), &k); err != nil {
		p.w.t.Fatal(err)
	}
	return k
}

// keysOf waits until the node tells of so many keys, the first of which so many nodes seal
// with: it tells what the others answer in time.
func (p *process) keysOf(keys, sealing int) (k api.GossipKeys) {
	p.w.t.Helper()
	eventually(p.w.t, time.Second, fmt.Sprintf("%s tells of %d keys, %d seal with the first", p.name, keys, sealing), func() error {
		if k = p.keys(); len(k.Keys) != keys || len(k.Keys[0].Primary) != sealing {
			return fmt.Errorf("%+v", k)
		}
		return nil
	})
	return k
}

func TestKeysRotateWalksTheMeshAndWaitsForWhoLags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a", "--keyring", w.ownKeyring("a"))
	b := w.start("b", "--keyring", w.ownKeyring("b"), "--join", a.listen.Gossip)
	c := w.start("c", "--keyring", w.ownKeyring("c"), "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b, c)
	before := a.keysOf(1, 3)
	if before.Keys[0].Sealed == 0 {
		t.Fatalf("before: %+v", before)
	}
	admin := []string{"--admin", "http://" + b.listen.Admin}
	out := w.run("meshgw", append([]string{"keys", "rotate"}, admin...)...)
	after := c.keysOf(1, 3)
	if after.Keys[0].Fingerprint == before.Keys[0].Fingerprint {
		t.Fatalf("after: %+v\n%s", after, out)
	}
	var rings []string
	for _, name := range []string{"a", "b", "c"} {
		path := filepath.Join(w.dir, name+".keyring")
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
		var ring []string
		if err := json.Unmarshal([]byte(must(os.ReadFile(path))), &ring); err != nil || len(ring) != 1 {
			t.Fatalf("keyring of %s: %v", name, err)
		}
		rings = append(rings, ring[0])
	}
	if rings[0] != rings[1] || rings[1] != rings[2] || strings.Contains(out, rings[0]) {
		t.Errorf("keyrings differ, or the command tells the key: %s", out)
	}
	a.serfSays([]string{"keys", "-list"}, rings[0]+"  [3/3]")

	c.kill() // who comes back with the old key alone must be able to read
	eventually(t, 20*time.Second, "c is failed", func() error {
		if k := a.keys(); len(k.Failed) != 1 {
			return fmt.Errorf("%+v", k)
		}
		return nil
	})
	out, err := w.try("meshgw", append([]string{"keys", "rotate", "--timeout", "4s"}, admin...)...)
	if exitCode(err) != 1 || !strings.Contains(out, "out of reach") || !strings.Contains(out, ": c;") {
		t.Errorf("with a node away: %v\n%s", err, out)
	}
	if k := b.keysOf(2, 2); k.Keys[0].Fingerprint != after.Keys[0].Fingerprint {
		t.Fatalf("with a node away: %+v", k)
	}
	c = w.start("c", "--keyring", filepath.Join(w.dir, "c.keyring"), "--join", a.listen.Gossip) // with the old key alone
	allSee(t, 15*time.Second, a, b, c)
	w.run("meshgw", append([]string{"keys", "rotate"}, admin...)...)
	c.keysOf(1, 3)
	for _, wrong := range [][]string{{"use", "0000000000000000"}, {"remove", c.keys().Keys[0].Fingerprint}} {
		if out, err := w.try("meshgw", append(append([]string{"keys"}, wrong...), admin...)...); exitCode(err) != 1 {
			t.Errorf("keys %v: %v %s", wrong, err, out)
		}
	}
}
