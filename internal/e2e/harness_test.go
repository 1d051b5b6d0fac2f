package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// bin is where TestMain put meshgw and serf.
var bin string

func TestMain(m *testing.M) {
	if addr := os.Getenv(endpointAt); addr != "" {
		os.Exit(beEndpoint(addr))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "meshgw-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		args := []string{"build", "-o", dir + "/"}
		if raced {
			args = append(args, "-race")
			_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // each command would take a second longer than it does
		}
		build := exec.Command("go", append(args, "github.com/meshgw/meshgw/cmd/meshgw", "github.com/hashicorp/serf/cmd/serf")...)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// A world is the nodes of one test and what they share.
type world struct {
	t       *testing.T
	dir     string
	keyring string
	cwd     string // that nodes are started in; empty = the test's own
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.keyring = filepath.Join(w.dir, "keyring.json")
	key := strings.TrimSpace(w.run("meshgw", "keygen"))
	if err := os.WriteFile(w.keyring, fmt.Appendf(nil, "[%q]", key), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs a program that must succeed, and returns what it prints.
func (w *world) run(name string, args ...string) string {
	w.t.Helper()
	out, err := w.try(name, args...)
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// try runs a program for at most a minute: some wait for nodes themselves.
func (w *world) try(name string, args ...string) (string, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, name), args...).CombinedOutput()
	return string(out), err
}

// exitCode is the status a program ended with.
func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// A process is one running meshgw agent.
type process struct {
	w      *world
	name   string
	listen api.Listen
	cmd    *exec.Cmd
	log    logBuffer
	ended  chan struct{}
	err    error // of its end; valid when ended is closed
	took   time.Duration
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch starts an agent on free ports of loopback and does not wait for it.
func (w *world) launch(name string, args ...string) *process {
	w.t.Helper()
	return w.launchWith(name, func(*process) {}, args...)
}

// launchWith is launch with a last word on how the process is started.
func (w *world) launchWith(name string, change func(*process), args ...string) *process {
	w.t.Helper()
	ready := filepath.Join(w.dir, name+".ready")
	_ = os.Remove(ready)
	p := &process{w: w, name: name, ended: make(chan struct{})}
	all := append([]string{
		"agent", "--node", name, "--data-dir", filepath.Join(w.dir, name), "--ready-file", ready, "--profile", "local",
		"--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--bind", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--keyring", w.keyring,
		"--log-format", "json", "--config", w.settings(),
	}, args...)
	p.cmd = exec.Command(filepath.Join(bin, "meshgw"), all...)
	p.cmd.Stderr, p.cmd.Stdout, p.cmd.Dir = &p.log, &p.log, w.cwd
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = patience // whoever else may hold its log open
	change(p)
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	w.t.Cleanup(func() {
		p.kill()
		if ofOurs(p.log.String()) {
			w.t.Errorf("%s reports a data race", name)
		}
		if w.t.Failed() {
			w.t.Logf("log of %s:\n%s", name, p.log.String())
		}
	})
	return p
}

// ofOurs reports whether a log tells of data races but the one inside memberlist: as
// it forgets a key it shifts the slice that packets are being opened with, one of
// which may be dropped.
func ofOurs(log string) bool {
	for {
		_, rest, found := strings.Cut(log, "WARNING: DATA RACE")
		if !found {
			return false
		}
		var report string
		report, log, _ = strings.Cut(rest, "\n==================")
		if !strings.Contains(report, "memberlist.(*Keyring).RemoveKey") {
			return true
		}
	}
}

// settings is a file that makes nodes of tests stop sooner than real ones.
func (w *world) settings() string {
	return w.save("meshgw.yaml", []byte("drain: {accept_for: 200ms, finish_in: 5s}\n"))
}

// start starts an agent and waits until it serves.
func (w *world) start(name string, args ...string) *process {
	w.t.Helper()
	p := w.launch(name, args...)
	p.waitReady()
	return p
}

func (p *process) waitReady() {
	p.w.t.Helper()
	began := time.Now()
	eventually(p.w.t, 30*time.Second, p.name+" is ready", func() error {
		select {
		case <-p.ended:
			p.w.t.Fatalf("%s ended: %v\n%s", p.name, p.err, p.log.String())
		default:
		}
		data, err := os.ReadFile(filepath.Join(p.w.dir, p.name+".ready"))
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &p.listen)
	})
	p.took = time.Since(began)
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// end waits for the process to end by itself and returns its exit code.
func (p *process) end(within time.Duration) int {
	p.w.t.Helper()
	within = max(within, patience)
	select {
	case <-p.ended:
		return exitCode(p.err)
	case <-time.After(within):
		p.w.t.Fatalf("%s still runs after %v", p.name, within)
		return -1
	}
}

func (p *process) status() (s api.Status, err error) {
	c, err := api.New(p.listen.Admin, "", nil)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.Status(ctx)
}

// sees reports an error unless the node sees exactly these members alive.
func (p *process) sees(names ...string) error {
	s, err := p.status()
	if err != nil {
		return err
	}
	alive := map[string]bool{}
	for _, m := range s.Members {
		if m.Status == api.MemberAlive {
			alive[m.Name] = true
		}
	}
	for _, name := range names {
		if !alive[name] {
			return fmt.Errorf("%s does not see %s alive: %+v", p.name, name, s.Members)
		}
	}
	if len(alive) != len(names) {
		return fmt.Errorf("%s sees %d alive, want %d", p.name, len(alive), len(names))
	}
	return nil
}

// allSee waits until every process sees all of them, and no others.
func allSee(t *testing.T, within time.Duration, ps ...*process) time.Duration {
	t.Helper()
	var names []string
	for _, p := range ps {
		names = append(names, p.name)
	}
	return eventually(t, within, fmt.Sprintf("all see %v", names), func() error {
		for _, p := range ps {
			if err := p.sees(names...); err != nil {
				return err
			}
		}
		return nil
	})
}

// patience is the shortest bound of a wait: what comes true after that only may be
// late since a process, or this one, had no CPU for seconds.
const patience = 30 * time.Second

// eventually waits until ok returns nil, and says how long that took. within is in
// what time it does on a machine that does nothing else; only what does not come true
// at all fails.
func eventually(t *testing.T, within time.Duration, what string, ok func() error) time.Duration {
	t.Helper()
	bound, began := max(within, patience), time.Now()
	for {
		last := time.Since(began) > bound // before the look: one comes after the bound, however late
		err := ok()
		took := time.Since(began)
		switch {
		case err == nil && took > within:
			t.Logf("%s after %v, which is late: %v as a rule", what, took.Round(time.Millisecond), within)
			return took
		case err == nil:
			t.Logf("%s after %v", what, took.Round(time.Millisecond))
			return took
		case last:
			t.Fatalf("not within %v: %s: %v", bound, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// upstream is a real HTTP server that says its name and what it was asked.
func upstream(t *testing.T, name string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("x-upstream", name)
		fmt.Fprintf(w, "%s %s %s %s", name, r.Method, r.URL.Path, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// answerOf asks a node over HTTP.
type answerOf struct {
	status int
	header http.Header
	body   string
}

func (p *process) get(path string) (answerOf, error) {
	resp, err := client.Get("http://" + p.listen.HTTP + path)
	if err != nil {
		return answerOf{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = inVersion(resp)
	}
	return answerOf{resp.StatusCode, resp.Header, string(body)}, err
}

// save writes a file as a whole: who watches it sees the old one or the new one.
func (w *world) save(name string, content []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	err := os.WriteFile(path+".new", content, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}

// routeFile writes a route file of one route to the given endpoints.
func (w *world) routeFile(name string, prefix string, endpoints ...string) string {
	w.t.Helper()
	var b strings.Builder
	b.WriteString("upstreams:\n  - name: orders\n    endpoints:\n")
	for _, url := range endpoints {
		fmt.Fprintf(&b, "      - {url: %q}\n", url)
	}
	fmt.Fprintf(&b, "routes:\n  - name: orders\n    match: [{path_prefix: %s}]\n    upstream: orders\n", prefix)
	return w.save(name, []byte(b.String()))
}
