package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/api"
)

const (
	demoReadyWithin = 20 * time.Second // a node is ready in one, on an idle machine
	demoStopWithin  = 10 * time.Second // then it is killed
	demoLastWords   = 2 << 10

	demoCertificates = 24 * time.Hour // of its nodes, for their links
)

// demoNode is a node of the demo: a child process.
type demoNode struct {
	name   string
	region string
	dir    string // of the whole demo

	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has
	listen api.Listen
	client *api.Client
}

func (n *demoNode) path(suffix string) string { return filepath.Join(n.dir, n.name+suffix) }

// start starts the process on free ports, as a peer of seed unless it is empty.
func (n *demoNode) start(routes, seed string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	args := []string{
		"meshgw", "agent", "--node", n.name, "--region", n.region, "--profile", "local",
		"--data-dir", n.path(""), "--ready-file", n.path(".ready"), "--routes", routes, "--keyring", filepath.Join(n.dir, "keyring.json"),
		"--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--bind", "127.0.0.1:0", "--rpc", "127.0.0.1:0",
		"--mesh", "127.0.0.1:0", "--mesh-ca", filepath.Join(n.dir, "ca.pem"), "--mesh-cert", n.path(".pem"), "--mesh-key", n.path("-key.pem"),
		"--log-format", "json", "--log-level", "warn", "--access-log", "off", "--drain", "0s", "--drain-finish", "5s",
	}
	if seed != "" {
		args = append(args, "--join", seed)
	}
	out, err := os.Create(n.path(".log"))
	if err != nil {
		return fmt.Errorf("log of %s: %w", n.name, err)
	}
	defer out.Close() //nolint:errcheck // the child has its own
	n.cmd = &exec.Cmd{Path: self, Args: args, Env: append(plainEnvironment(), noRPC()), Stderr: out, SysProcAttr: childAttr()}
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.ended = make(chan struct{})
	go func() {
		defer close(n.ended)
		_ = n.cmd.Wait() // how it ended is in its log
	}()
	return nil
}

// noRPC closes Serf's RPC to everybody: what is shown does without it, and open it
// would rightly be a finding.
func noRPC() string { return "MESHGW_RPC_AUTH=" + rand.Text() }

// plainEnvironment is ours without settings that are meant for another node.
func plainEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "MESHGW_") })
}

// await waits until the node serves, and learns where.
func (n *demoNode) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoReadyWithin)
	defer cancel()
	for n.client == nil {
		if err := n.learn(); err == nil || !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-n.ended:
			return fmt.Errorf("node %s ended before it served", n.name)
		case <-ctx.Done():
			return fmt.Errorf("node %s did not serve: %w", n.name, ctx.Err())
		case <-time.After(demoLook / 5):
		}
	}
	return nil
}

func (n *demoNode) learn() error {
	data, err := os.ReadFile(n.path(".ready"))
	if err != nil {
		return fmt.Errorf("read ready file: %w", err)
	}
	if err := json.Unmarshal(data, &n.listen); err != nil {
		return fmt.Errorf("read ready file: %w", err)
	}
	n.client, err = api.New(n.listen.Admin, "", nil)
	return err
}

func (n *demoNode) terminate() {
	if n.ended != nil {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended
	}
}

// wait waits for the end of a node that was told to, and kills a slow one.
func (n *demoNode) wait() {
	if n.ended == nil {
		return
	}
	select {
	case <-n.ended:
	case <-time.After(demoStopWithin):
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
}

// lastWords returns the end of the node's log.
func (n *demoNode) lastWords() string {
	data, err := os.ReadFile(n.path(".log"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data[max(0, len(data)-demoLastWords):]))
}
