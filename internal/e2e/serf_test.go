package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serf runs the stock CLI against the node's RPC.
func (p *process) serf(command string, args ...string) string {
	p.w.t.Helper()
	return p.w.run("serf", append([]string{command, "-rpc-addr=" + p.listen.RPC}, args...)...)
}

// serfSays waits until the stock CLI succeeds and prints all of that: it tells what nodes
// answer in time.
func (p *process) serfSays(command []string, want ...string) {
	p.w.t.Helper()
	args := append([]string{command[0], "-rpc-addr=" + p.listen.RPC}, command[1:]...)
	eventually(p.w.t, 15*time.Second, "serf "+strings.Join(command, " "), func() error {
		out, err := p.w.try("serf", args...)
		for _, text := range want {
			if err == nil && !strings.Contains(out, text) {
				err = fmt.Errorf("no %q", text)
			}
		}
		if err != nil {
			err = fmt.Errorf("%w in: %s", err, out)
		}
		return err
	})
}

func wantIn(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(got, text) {
			t.Errorf("%s: no %q in\n%s", what, text, got)
		}
	}
}

func TestTheStockSerfCLIWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.start("a", "--region", "us"), w.start("b", "--region", "eu"), w.start("c", "--region", "apac")
	wantIn(t, "join", b.serf("join", a.listen.Gossip), "Successfully joined cluster by contacting 1 nodes")
	c.serf("join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b, c)

	wantIn(t, "members", a.serf("members", "-detailed"), "a ", "b ", "c ", "alive", "role=meshgw", "region=eu", "pv=1", "Protocol Version: 5")
	wantIn(t, "event", a.serf("event", "-coalesce=false", "deploy", "v2"), "dispatched")
	a.serfSays([]string{"query", "-timeout=2s", "meshgw-version"}, "Total Acks: 3", "Total Responses: 3", `"version":0`, `"digest":"e3b0c44298fc`)
	a.serfSays([]string{"query", "-timeout=2s", "meshgw-load"}, "Total Responses: 3", `"cpu":`, `"inflight":0`)
	a.serfSays([]string{"query", "-timeout=2s", "meshgw-health", "orders"}, "Total Responses: 3", "no upstream orders")
	a.serfSays([]string{"reachability"}, "Successfully contacted all live nodes")
	wantIn(t, "info", a.serf("info"), "name = a", "encrypted = true")
	a.serfSays([]string{"rtt", "b", "c"}, "Estimated b <-> c rtt")

	monitor := exec.CommandContext(t.Context(), filepath.Join(bin, "serf"), "monitor", "-log-level=DEBUG", "-rpc-addr="+a.listen.RPC)
	var seen logBuffer
	monitor.Stdout, monitor.Stderr = &seen, &seen
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "monitor shows an event", func() error {
		a.serf("event", "-coalesce=false", "shown-in-monitor")
		if !strings.Contains(seen.String(), "shown-in-monitor") {
			return fmt.Errorf("%q", seen.String())
		}
		return nil
	})
	_ = monitor.Process.Kill()
	_ = monitor.Wait()

	wantIn(t, "leave", c.serf("leave"), "Graceful leave complete")
	if code := c.end(15 * time.Second); code != 0 {
		t.Errorf("after serf leave: exit code %d, want 0\n%s", code, c.log.String())
	}
	allSee(t, 5*time.Second, a, b)

	b.kill()
	eventually(t, 20*time.Second, "b has failed", func() error {
		if out := a.serf("members", "-status=failed"); !strings.Contains(out, "b ") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	a.serf("force-leave", "b")
	eventually(t, 5*time.Second, "b has left", func() error {
		if out := a.serf("members", "-status=left"); !strings.Contains(out, "b ") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

func TestSerfKeysRotatesTheKeyringUnderAWorkingMesh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Each node has a keyring file of its own, as on machines of their own.
	ring := func(name string) string {
		path := filepath.Join(w.dir, name+".keyring")
		data, err := os.ReadFile(w.keyring)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := w.start("a", "--keyring", ring("a"))
	b := w.start("b", "--keyring", ring("b"), "--join", a.listen.Gossip)
	c := w.start("c", "--keyring", ring("c"), "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b, c)
	key := strings.TrimSpace(w.run("meshgw", "keygen"))
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 32 {
		t.Fatalf("keygen printed %q", key)
	}
	var old []string
	if err := json.Unmarshal([]byte(must(os.ReadFile(w.keyring))), &old); err != nil {
		t.Fatal(err)
	}
	a.serfSays([]string{"keys", "-install=" + key}, "Successfully installed")
	a.serfSays([]string{"keys", "-use=" + key}, "Successfully changed")
	a.serfSays([]string{"keys", "-remove=" + old[0]}, "Successfully removed")
	a.serfSays([]string{"keys", "-list"}, key+"  [3/3]")
	for _, name := range []string{"a", "b", "c"} {
		if got := must(os.ReadFile(filepath.Join(w.dir, name+".keyring"))); !strings.Contains(got, key) || strings.Contains(got, old[0]) {
			t.Errorf("keyring file of %s: %s", name, got)
		}
	}
	// The state streams follow the new key too: a change reaches everybody.
	one := upstream(t, "one")
	d := w.start("d", "--keyring", filepath.Join(w.dir, "a.keyring"), "--join", b.listen.Gossip, "--routes", w.routeFile("late.yaml", "/", one.URL))
	allSee(t, 10*time.Second, a, b, c, d)
	eventually(t, 15*time.Second, "c serves what d brought", func() error {
		got, err := c.get("/x")
		if err == nil && got.status != 200 {
			err = fmt.Errorf("status %d", got.status)
		}
		return err
	})
}

func must(data []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestAStockSerfAgentIsAPlainMemberAndHarmsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b)
	var keys []string
	if err := json.Unmarshal([]byte(must(os.ReadFile(w.keyring))), &keys); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stock := exec.CommandContext(ctx, filepath.Join(bin, "serf"), "agent", "-node=stock", "-bind="+freePort(t), "-rpc-addr="+freePort(t), "-encrypt="+keys[0], "-join="+a.listen.Gossip)
	var log logBuffer
	stock.Stdout, stock.Stderr = &log, &log
	stock.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := stock.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = stock.Wait() })
	eventually(t, 10*time.Second, "both see the stock agent", func() error {
		for _, p := range []*process{a, b} {
			if err := p.sees("a", "b", "stock"); err != nil {
				return fmt.Errorf("%w\n%s", err, log.String())
			}
		}
		return nil
	})
	// State still travels between the nodes, and nobody takes the agent for one.
	one := upstream(t, "one")
	c := w.start("c", "--join", a.listen.Gossip, "--routes", w.routeFile("late.yaml", "/", one.URL))
	eventually(t, 15*time.Second, "a serves what c brought", func() error {
		got, err := a.get("/x")
		if err == nil && got.status != 200 {
			err = fmt.Errorf("status %d", got.status)
		}
		return err
	})
	if err := c.sees("a", "b", "c", "stock"); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "[ERR]") {
		t.Errorf("the stock agent has errors:\n%s", log.String())
	}
}
