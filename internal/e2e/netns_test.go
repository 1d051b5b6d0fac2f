//go:build root

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// These tests put each node into a network namespace of its own, on one bridge,
// and cut them by blackhole routes. They need root and iproute2:
//
//	go test -tags root -run Namespace ./internal/e2e

// A host is a node in its own network namespace.
type host struct {
	*process
	ns, ip string
}

// A lan is hosts that reach each other.
type lan struct {
	w     *world
	hosts []*host
	args  []string // of every agent besides
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

var lans atomic.Int32 // so far

func newLAN(t *testing.T, count int, args ...string) *lan {
	t.Helper()
	l := &lan{w: newWorld(t), args: args}
	n := lans.Add(1)
	id := fmt.Sprintf("%d-%d", os.Getpid()%10000, n)
	subnet := fmt.Sprintf("10.77.%d.", 30+n)
	bridge := "mgb" + id
	ip(t, "link", "add", bridge, "type", "bridge")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", bridge).Run() })
	ip(t, "addr", "add", subnet+"254/24", "dev", bridge) // of the test itself, which no cut touches
	ip(t, "link", "set", bridge, "up")
	for i := range count {
		h := &host{ns: fmt.Sprintf("mg%s-%d", id, i), ip: fmt.Sprintf("%s%d", subnet, i+1)}
		outer, inner := fmt.Sprintf("mgo%s-%d", id, i), fmt.Sprintf("mgi%s-%d", id, i)
		ip(t, "netns", "add", h.ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", h.ns).Run() })
		ip(t, "link", "add", outer, "type", "veth", "peer", "name", inner)
		ip(t, "link", "set", outer, "master", bridge, "up")
		ip(t, "link", "set", inner, "netns", h.ns)
		ip(t, "-n", h.ns, "addr", "add", h.ip+"/24", "dev", inner)
		ip(t, "-n", h.ns, "link", "set", inner, "up")
		ip(t, "-n", h.ns, "link", "set", "lo", "up")
		l.hosts = append(l.hosts, h)
		l.start(h)
	}
	return l
}

// start runs the agent of a host on its default ports, seeded by the first host.
func (l *lan) start(h *host) {
	t := l.w.t
	t.Helper()
	h.process = &process{w: l.w, name: h.ns, ended: make(chan struct{})}
	ready := filepath.Join(l.w.dir, h.ns+".ready")
	args := append([]string{
		"netns", "exec", h.ns, filepath.Join(bin, "meshgw"), "agent", "--node", h.ns,
		"--data-dir", filepath.Join(l.w.dir, h.ns), "--ready-file", ready, "--keyring", l.w.keyring,
		"--bind", h.ip + ":7946", "--join", l.hosts[0].ip, "--log-format", "json", "--config", l.w.settings(),
	}, l.args...)
	h.cmd = exec.Command("ip", args...)
	h.cmd.Stdout, h.cmd.Stderr = &h.log, &h.log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := h.process
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.name, p.log.String())
		}
	})
	p.waitReady()
}

// status asks from within the namespace: admin listens on its loopback.
func (h *host) status() (s api.Status, err error) {
	out, err := exec.Command("ip", "netns", "exec", h.ns, filepath.Join(bin, "meshgw"), "status", "-o", "json").Output()
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

func (h *host) apply(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join(h.w.dir, name+".yaml")
	if err := os.WriteFile(file, routeTo(name, name), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ip", "netns", "exec", h.ns, filepath.Join(bin, "meshgw"), "routes", "apply", file).CombinedOutput()
	if err != nil {
		t.Fatalf("apply at %s: %v\n%s", h.ns, err, out)
	}
}

// seeAlive waits until every host sees exactly count members alive.
func seeAlive(t *testing.T, within time.Duration, count int, hosts ...*host) time.Duration {
	t.Helper()
	return eventually(t, within, fmt.Sprintf("%d hosts see %d alive", len(hosts), count), func() error {
		for _, h := range hosts {
			s, err := h.status()
			if err != nil {
				return err
			}
			alive := 0
			for _, m := range s.Members {
				if m.Status == api.MemberAlive {
					alive++
				}
			}
			if alive != count {
				return fmt.Errorf("%s sees %d", h.ns, alive)
			}
		}
		return nil
	})
}

func sameTable(hosts ...*host) func() error {
	return func() error {
		var first api.Status
		for i, h := range hosts {
			s, err := h.status()
			if err != nil {
				return err
			}
			if i == 0 {
				first = s
			}
			if s.Routes.Digest != first.Routes.Digest || s.Routes.Version != first.Routes.Version {
				return fmt.Errorf("%s holds %d %.12s, %s %d %.12s", h.ns, s.Routes.Version, s.Routes.Digest, hosts[0].ns, first.Routes.Version, first.Routes.Digest)
			}
		}
		return nil
	}
}

// cut drops what goes from one group of hosts to the other, both ways.
func cut(t *testing.T, as, bs []*host) (heal func()) {
	t.Helper()
	each := func(action string) {
		for _, a := range as {
			for _, b := range bs {
				ip(t, "-n", a.ns, "route", action, "blackhole", b.ip)
				ip(t, "-n", b.ns, "route", action, "blackhole", a.ip)
			}
		}
	}
	each("add")
	return func() { each("del") }
}

func TestNamespaceOfALinkThatIsCut(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	seeAlive(t, 15*time.Second, 3, l.hosts...)
	doctor := func(h *host) (string, error) {
		out, err := exec.Command("ip", "netns", "exec", h.ns, filepath.Join(bin, "meshgw"), "doctor").CombinedOutput()
		return string(out), err
	}
	a, b, c := l.hosts[0], l.hosts[1], l.hosts[2]
	finds := func(what string) {
		t.Helper()
		eventually(t, 60*time.Second, "doctor finds that "+what, func() error {
			out, err := doctor(c)
			if exitCode(err) != 1 || !strings.Contains(out, what) {
				return fmt.Errorf("exit %d: %s", exitCode(err), out)
			}
			t.Log(out)
			return nil
		})
	}
	heal := cut(t, []*host{a}, []*host{b})
	finds(fmt.Sprintf("packets of %s and %s do not reach each other", a.ns, b.ns))
	heal()
	ip(t, "-n", a.ns, "route", "add", "blackhole", b.ip)
	finds(fmt.Sprintf("packets of %s do not reach %s, those of %s reach %s: the link works one way", a.ns, b.ns, b.ns, a.ns))
	seeAlive(t, 15*time.Second, 3, l.hosts...) // who reaches a third is alive
}

func TestNamespacePartitionWithEditsOnBothSidesHeals(t *testing.T) {
	t.Parallel()
	length := 20 * time.Second
	if d, err := time.ParseDuration(os.Getenv("MESHGW_PARTITION")); err == nil {
		length = d
	}
	l := newLAN(t, 5)
	left, right := l.hosts[:2], l.hosts[2:]
	seeAlive(t, 15*time.Second, 5, l.hosts...)
	l.hosts[0].apply(t, "before")
	eventually(t, 10*time.Second, "all hold the table", sameTable(l.hosts...))

	heal := cut(t, left, right)
	began := time.Now()
	seeAlive(t, 60*time.Second, 3, right...)
	l.hosts[0].apply(t, "left")
	l.hosts[4].apply(t, "right")
	eventually(t, 10*time.Second, "the left holds one table", sameTable(left...))
	eventually(t, 10*time.Second, "the right holds one table", sameTable(right...))
	time.Sleep(max(0, length-time.Since(began)))
	heal()
	healed := time.Now()
	seeAlive(t, 40*time.Second, 5, l.hosts...)
	eventually(t, 10*time.Second, "all hold one table again", sameTable(l.hosts...))
	t.Logf("partition of %v whole again %v after healing", length, time.Since(healed).Round(time.Millisecond))
	if took := time.Since(healed); took > 20*time.Second {
		t.Errorf("whole again after %v, want at most 20 s", took)
	}
	s, err := l.hosts[1].status()
	if err != nil {
		t.Fatal(err)
	}
	if s.Routes.Version < 2 || s.Routes.Conflicts != 0 {
		t.Errorf("two edits of different objects: %+v", s.Routes)
	}
}
