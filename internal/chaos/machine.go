package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/api"
)

const (
	httpPort  = "8080" // of nodes and endpoints
	adminPort = "9901"
)

// machine is a host with its process: a node or an endpoint.
type machine struct {
	name, space, ip string
	command         []string
	admin           *api.Client // nil for an endpoint
	log             string      // file

	frozen bool

	cmd   *exec.Cmd
	ended chan struct{}
	err   error // of the process; valid when ended is closed
}

func (m *machine) http() string { return net.JoinHostPort(m.ip, httpPort) }

// launch starts the process and does not wait for it to be of use.
func (m *machine) launch() error {
	if m.running() {
		return fmt.Errorf("%s runs already", m.name)
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("ip", append([]string{"netns", "exec", m.space}, m.command...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	ended := make(chan struct{})
	m.cmd, m.ended = cmd, ended
	go func() {
		m.err = cmd.Wait()
		close(ended)
	}()
	return nil
}

func (m *machine) running() bool {
	if m.cmd == nil {
		return false
	}
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// answers waits until the process takes connections at its HTTP port.
func (m *machine) answers(ctx context.Context) error {
	for {
		c, err := net.DialTimeout("tcp", m.http(), 100*time.Millisecond)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w; see %s", m.name, err, m.log)
		case <-m.ended:
			return fmt.Errorf("%s ended: %w; see %s", m.name, m.err, m.log)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (m *machine) signal(s syscall.Signal) error {
	if !m.running() {
		return fmt.Errorf("%s does not run", m.name)
	}
	return m.cmd.Process.Signal(s)
}

// kill ends the process as kill -9 does.
func (m *machine) kill() error {
	if err := m.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-m.ended
	return nil
}

// stop ends the process as an operator does.
func (m *machine) stop(within time.Duration) error {
	if err := m.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.ended:
		return m.err
	case <-time.After(within):
		return fmt.Errorf("%s still runs %v after it was told to stop", m.name, within)
	}
}

// exitCode is what the process ended with.
func (m *machine) exitCode() (int, error) {
	if m.running() {
		return 0, fmt.Errorf("%s runs", m.name)
	}
	if exit, ok := errors.AsType[*exec.ExitError](m.err); ok {
		return exit.ExitCode(), nil
	}
	return 0, m.err
}

// status asks a node for its whole state.
func (w *world) status(m *machine) (s api.Status, err error) {
	if m.admin == nil {
		return s, fmt.Errorf("%s is no node", m.name)
	}
	ctx, cancel := context.WithTimeout(w.ctx, 2*time.Second)
	defer cancel()
	return m.admin.Status(ctx)
}

// nodeCommand is how a node is started.
func (w *world) nodeCommand(m *machine, a args) ([]string, error) {
	build, err := w.binary(a.options["build"])
	if err != nil {
		return nil, err
	}
	called := m.name
	if name := a.options["name"]; name != "" {
		called = name
	}
	cert, key := w.path(m.name+".pem"), w.path(m.name+"-key.pem")
	if err := sh("", build, "cert", "node", called, "--ca", w.path("ca.pem"), "--ca-key", w.path("ca-key.pem"), "--out", cert, "--out-key", key); err != nil {
		return nil, err
	}
	command := []string{
		build, "agent", "--node", called, "--data-dir", w.path(m.name), "--allow-chaos",
		"--admin", net.JoinHostPort(m.ip, adminPort), "--admin-tokens", w.path("tokens"), "--bind", m.ip + ":7946", "--keyring", w.path("keyring.json"),
		"--mesh", m.ip + ":7443", "--mesh-ca", w.path("ca.pem"), "--mesh-cert", cert, "--mesh-key", key,
		"--drain", "1s", "--drain-finish", "10s", "--access-log", "errors", "--log-format", "json",
	}
	if region := a.options["region"]; region != "" {
		command = append(command, "--region", region)
	}
	for _, seed := range w.seeds {
		command = append(command, "--join", seed)
	}
	return append(command, a.flags...), nil
}

// endpointCommand is how an endpoint is started: this program, once more.
func (w *world) endpointCommand(m *machine, a args) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return []string{self, "endpoint", m.http(), m.name, a.options["hold"]}, nil
}

// told reports whether the log of m has a line with text.
func (m *machine) told(text string) error {
	data, err := os.ReadFile(m.log)
	if err == nil && !strings.Contains(string(data), text) {
		err = fmt.Errorf("%s does not log %q", m.name, text)
	}
	return err
}

// path is a file of the run.
func (w *world) path(name string) string { return filepath.Join(w.dir, name) }
