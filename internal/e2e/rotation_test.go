package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reload has every node read its files again, and waits until all have.
func reload(t *testing.T, nodes []*process) {
	t.Helper()
	said := func(p *process) int { return strings.Count(p.log.String(), `"msg":"reloaded"`) }
	before := map[*process]int{}
	for _, p := range nodes {
		before[p] = said(p)
		_ = p.cmd.Process.Signal(syscall.SIGHUP)
	}
	eventually(t, 10*time.Second, "all have reloaded", func() error {
		for _, p := range nodes {
			if said(p) == before[p] {
				return errors.New(p.name)
			}
		}
		return nil
	})
}

// certify gives every node a new certificate of a CA.
func (w *world) certify(ca, caKey string, nodes []*process) {
	w.t.Helper()
	for _, p := range nodes {
		cert, key := filepath.Join(w.dir, p.name+".pem"), filepath.Join(w.dir, p.name+"-key.pem")
		w.run("meshgw", "cert", "node", p.name, "--ca", ca, "--ca-key", caKey, "--out", cert+".new", "--out-key", key+".new")
		for _, path := range []string{cert, key} {
			if err := os.Rename(path+".new", path); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// Half of the requests go to nodes of a region without endpoints, and so over the
// mesh link.
func TestKeysLeavesAndCAAreChangedUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"us": {e}})
	nodes := []*process{w.start("eu-1", append(w.secured("eu-1"), "--region", "eu", "--keyring", w.ownKeyring("eu-1"), "--access-log", "errors", "--routes", file)...)}
	for _, name := range []string{"eu-2", "us-1", "us-2", "us-3"} {
		nodes = append(nodes, w.start(name, append(w.secured(name), "--region", name[:2], "--keyring", w.ownKeyring(name), "--access-log", "errors", "--join", nodes[0].listen.Gossip)...))
	}
	allSee(t, 15*time.Second, nodes...)
	serve(t, nodes...)
	haveRoom(t, "us", nodes[:2]...)
	late := w.secured("us-4") // for a node that begins when all is done
	rate := 30
	if full() {
		rate = 400
	}
	perSecond := map[*process]int{}
	for _, p := range nodes {
		perSecond[p] = rate
	}
	began := time.Now()
	l := offer(t, perSecond)
	admin := "http://" + nodes[3].listen.Admin

	w.run("meshgw", "keys", "rotate", "--admin", admin)

	ca, caKey := filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "ca-key.pem")
	w.certify(ca, caKey, nodes)
	reload(t, nodes)

	next, nextKey := filepath.Join(w.dir, "next.pem"), filepath.Join(w.dir, "next-key.pem")
	w.run("meshgw", "cert", "ca", "--out", next, "--out-key", nextKey)
	old, fresh := must(os.ReadFile(ca)), must(os.ReadFile(next))
	w.save("ca.pem", []byte(old+fresh))
	reload(t, nodes)
	w.certify(next, nextKey, nodes)
	reload(t, nodes)
	w.save("ca.pem", []byte(fresh))
	reload(t, nodes)

	// A node that begins now knows the new key and the new CA alone.
	w.certify(next, nextKey, []*process{{name: "us-4"}})
	last := w.start("us-4", append(late, "--region", "us", "--keyring", filepath.Join(w.dir, "eu-1.keyring"), "--join", nodes[0].listen.Gossip)...)
	w.run("meshgw", "routes", "apply", w.save("more.yaml", []byte("routes: [{name: more, match: [{path: /more}], respond: {status: 200}}]\n")), "--wait", "all", "--admin", admin)
	eventually(t, 15*time.Second, "every node answers over streams", func() error {
		if out, err := w.try("meshgw", "routes", "explain", "GET", "http://h/more", "--mesh", "--admin", admin); err != nil {
			return errors.New(out)
		}
		return nil
	})
	l.stop()
	t.Logf("%d requests in %v, %d failed", l.offered(), time.Since(began).Round(time.Millisecond), l.failed.Load())
	if l.failed.Load() > 0 || l.allowed.Load() < 100 {
		t.Errorf("%d requests failed, %d did not", l.failed.Load(), l.allowed.Load())
	}
	allSee(t, 5*time.Second, append(nodes, last)...)
	for _, p := range nodes {
		if strings.Contains(p.log.String(), "not reloaded") {
			t.Errorf("%s could not reload", p.name)
		}
	}
}

// Whoever holds the key and no certificate of the mesh opens no stream.
func TestANodeWithoutACertificateOfTheMeshIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", w.secured("a")...)
	b := w.start("b", append(w.secured("b"), "--join", a.listen.Gossip)...)
	allSee(t, 10*time.Second, a, b)
	other := newWorld(t)
	other.keyring = w.keyring
	for name, flags := range map[string][]string{
		"without":  {"--insecure"},
		"stranger": other.secured("stranger"),
	} {
		c := other.start(name, append(flags, "--join", a.listen.Gossip)...)
		eventually(t, 10*time.Second, name+" is refused", func() error {
			if got := a.metric(`meshgw_gossip_refused_total{reason="greeting",what="stream"}`); got == 0 {
				return errors.New("no stream was refused")
			}
			return nil
		})
		if err := a.sees("a", "b"); err != nil {
			t.Errorf("%s got in: %v", name, err)
		}
		c.kill()
	}
	if out, err := w.try("meshgw", append([]string{"agent", "--node", "c", "--data-dir", w.dir + "/c", "--admin", "127.0.0.1:0", "--http", "127.0.0.1:0", "--bind", "127.0.0.1:0", "--rpc", "127.0.0.1:0"}, w.secured("b2")[2:]...)...); exitCode(err) != 1 {
		t.Errorf("a certificate of another name: %v %s", err, out)
	}
}
