package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/api"
)

// world is one scenario under way.
type world struct {
	ctx      context.Context //nolint:containedctx // the world ends with it
	out      io.Writer
	dir      string
	token    string
	script   *script
	began    time.Time
	lan      *lan
	builds   map[string]string // program by tag
	machines map[string]*machine
	order    []*machine
	seeds    []string // addresses that new nodes are told of
	loads    map[string]*load
	relays   map[string]*relay // by the machine whose packets they hold
	undo     []func()
}

const adminToken = "chaos-chaos-chaos-chaos-chaos-chaos"

// play runs a scenario from its first line to its last, or to the first that
// fails, and takes everything away again unless keep says to leave the files.
func play(ctx context.Context, out io.Writer, s *script, builds map[string]string, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "meshgw-chaos-")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &world{
		ctx: ctx, out: out, dir: dir, token: adminToken, script: s, builds: builds,
		machines: map[string]*machine{}, loads: map[string]*load{}, relays: map[string]*relay{},
	}
	defer func() {
		cancel()
		w.end()
		if err != nil || keep {
			say(out, "          logs and data are in %s\n", dir)
		} else {
			_ = os.RemoveAll(dir)
		}
	}()
	if err := w.prepare(); err != nil {
		return err
	}
	w.began = time.Now()
	for _, st := range s.steps {
		if err := w.take(st); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", s.name, st.number, st.text, err)
		}
	}
	return nil
}

// take does one step.
func (w *world) take(st step) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if len(st.words) == 0 {
		say(w.out, "%s\n", st.text)
		return nil
	}
	w.say("%s", strings.Join(st.words, " "))
	return verbs()[st.words[0]].do(w, st.words[1:])
}

// say prints a line with the time since the scenario began.
func (w *world) say(format string, a ...any) {
	say(w.out, "%7.2fs  %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, a...))
}

// measured prints what came of a step.
func (w *world) measured(format string, a ...any) {
	say(w.out, "            %s\n", fmt.Sprintf(format, a...))
}

// prepare makes what all nodes share: the gossip key, the mesh's CA, the token.
func (w *world) prepare() (err error) {
	build, err := w.binary("")
	if err != nil {
		return err
	}
	if err := sh("", build, "keygen", "--keyring", w.path("keyring.json")); err != nil {
		return err
	}
	if err := sh("", build, "cert", "ca", "--out", w.path("ca.pem"), "--out-key", w.path("ca-key.pem")); err != nil {
		return err
	}
	if err := os.WriteFile(w.path("tokens"), []byte("chaos write "+w.token+"\n"), 0o600); err != nil {
		return err
	}
	w.lan, err = newLAN()
	return err
}

// binary builds meshgw with a build tag, once.
func (w *world) binary(tag string) (string, error) {
	if path := w.builds[tag]; path != "" {
		return path, nil
	}
	path := filepath.Join(w.builds["dir"], "meshgw-"+tag)
	cmd := exec.Command("go", "build", "-tags", tag, "-o", path, "github.com/meshgw/meshgw/cmd/meshgw")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	w.builds[tag] = path
	return path, nil
}

// add makes a machine that is not started yet.
func (w *world) add(name string, a args, command func(*machine, args) ([]string, error)) (*machine, error) {
	if w.machines[name] != nil {
		return nil, fmt.Errorf("there is a %s already", name)
	}
	space, addr, err := w.lan.add()
	if err != nil {
		return nil, err
	}
	m := &machine{name: name, space: space, ip: addr, log: w.path(name + ".log")}
	if m.command, err = command(m, a); err != nil {
		return nil, err
	}
	w.machines[name] = m
	w.order = append(w.order, m)
	return m, nil
}

// addNode is add, of a node.
func (w *world) addNode(name string, a args) (*machine, error) {
	m, err := w.add(name, a, w.nodeCommand)
	if err != nil {
		return nil, err
	}
	if m.admin, err = api.New(net.JoinHostPort(m.ip, adminPort), w.token, nil); err != nil {
		return nil, err
	}
	if len(w.seeds) < 3 {
		w.seeds = append(w.seeds, m.ip)
	}
	if size := a.options["disk"]; size != "" {
		err = w.mount(w.path(name), size)
	}
	return m, err
}

// mount puts a file system of a size at dir.
func (w *world) mount(dir, size string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	w.undo = append(w.undo, func() { _ = sh("", "umount", "-l", dir) })
	return sh("", "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir)
}

// find returns the machines with these names.
func (w *world) find(names ...string) ([]*machine, error) {
	var all []*machine
	for _, name := range names {
		m := w.machines[name]
		if m == nil {
			return nil, fmt.Errorf("there is no %q", name)
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("want names")
	}
	return all, nil
}

// end takes everything away.
func (w *world) end() {
	for _, l := range w.loads {
		l.stop()
	}
	for _, m := range w.order {
		if m.running() {
			_ = m.signal(syscall.SIGCONT)
			_ = m.kill()
		}
	}
	for _, r := range w.relays {
		r.close()
	}
	for _, undo := range w.undo {
		undo()
	}
	if w.lan != nil {
		w.lan.remove()
	}
}
