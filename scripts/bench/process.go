//go:build linux

package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Which core does what.
const (
	proxyCore = "0"
	loadCore  = "1"
)

func cores() int { return runtime.NumCPU() }

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(after, "\n")
	return strings.Trim(line, "\t: ")
}

// process is a program that was started, with all its children.
type process struct {
	*exec.Cmd
	setup *setup
	host  string
	path  string // of a request
}

// start runs a program on one core.
func (b *bench) start(core, binary string, args ...string) (*process, error) {
	cmd := exec.CommandContext(b.ctx, "taskset", append([]string{"-c", core, binary}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{Cmd: cmd}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.running = append(b.running, p)
	return p, nil
}

// stop ends a process and its children.
func (p *process) stop() {
	for _, s := range []syscall.Signal{syscall.SIGCONT, syscall.SIGKILL} {
		_ = syscall.Kill(-p.Process.Pid, s)
	}
	_ = p.Wait()
}

func (b *bench) stopAll() {
	for _, p := range b.running {
		p.stop()
	}
	b.running, b.backends = nil, nil
}

// startBackends runs so many upstreams, each a process of its own.
func (b *bench) startBackends(n int) (addrs []string, all []*process, err error) {
	for i := len(b.backends); i < n; i++ {
		addr := fmt.Sprintf("127.0.0.1:%d", 9101+i)
		p, err := b.start(loadCore, b.self, "backend", addr)
		if err != nil {
			return nil, nil, err
		}
		p.setup = &setup{Listen: addr}
		b.backends = append(b.backends, p)
		if err := reachable(addr); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range b.backends[:n] {
		addrs = append(addrs, p.setup.Listen)
	}
	return addrs, b.backends[:n], nil
}

// launch runs p as the subject number n, and waits until it serves.
func (b *bench) launch(p *peer, n int, features bool, upstreams []string) (*process, error) {
	s := &setup{
		Features: features, Upstreams: upstreams, Threads: 1, Dir: filepath.Join(b.dir, fmt.Sprintf("%s-%d-%v", p.name, n, features)),
		Listen: fmt.Sprintf("127.0.0.1:%d", 8100+n), Admin: fmt.Sprintf("127.0.0.1:%d", 8200+n),
	}
	s.HTTP2 = s.Listen
	if p.vary != nil {
		p.vary(s)
	} else {
		s.routes(200)
	}
	return b.serve(p, s, proxyCore)
}

// serve runs p on a core, and waits until it serves.
func (b *bench) serve(p *peer, s *setup, core string) (*process, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	args, err := p.command(s)
	if err != nil {
		return nil, err
	}
	run, err := b.start(core, p.binary, args...)
	if err != nil {
		return nil, err
	}
	run.setup, run.host, run.path = s, "localhost", ""
	if s.Features {
		run.host, run.path = s.Hosts[len(s.Hosts)/2], s.Prefixes[7]
	}
	return run, run.serves()
}

// serves waits until the subject answers as the upstream does.
func (p *process) serves() error {
	if err := reachable(p.setup.Listen); err != nil {
		return err
	}
	var last string
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // its certificate is ours
	defer client.CloseIdleConnections()
	for range 100 {
		req, err := http.NewRequest(http.MethodGet, p.setup.URL(p.path+"/1k"), nil)
		if err != nil {
			return err
		}
		req.Host = p.host
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if last = resp.Status; resp.StatusCode == 200 && resp.ContentLength == 1<<10 {
				return nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s answers %q", p.setup.Dir, last)
}

func reachable(addr string) error {
	var err error
	for range 200 {
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// family is the process and all below it.
func (p *process) family() []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if f := statFields(path); f != nil {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{p.Process.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// statFields are the fields of a stat file behind the command's name.
func statFields(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// cpu is the time that the process and its children have used.
func (p *process) cpu() time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ
	sum := 0
	for _, pid := range p.family() {
		if f := statFields(fmt.Sprintf("/proc/%d/stat", pid)); f != nil {
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			sum += user + system
		}
	}
	return time.Duration(sum) * tick
}

// memory is what the process and its children have resident, in KiB; what they
// share counts once (PSS).
func (p *process) memory() (kib float64) {
	for _, pid := range p.family() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		_, after, _ := strings.Cut(string(text), "\nPss:")
		if f := strings.Fields(after); len(f) > 0 {
			n, _ := strconv.ParseFloat(f[0], 64)
			kib += n
		}
	}
	return kib
}
