//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "backend":
			return backend(args[1:])
		case "open":
			return open(args[1:])
		case "closed":
			return closed(args[1:])
		case "hold":
			return hold(args[1:])
		case "attack":
			return attack(args[1:])
		case "sink":
			return sink(args[1:])
		}
	}
	return measure(ctx, args)
}

// bench is one run: what to measure, of whom, where the tables go.
type bench struct {
	ctx     context.Context //nolint:containedctx // of the whole program
	self    string
	peers   []*peer
	rounds  int
	seconds int
	dir     string
	running []*process

	backends []*process // of those that run
}

var errUnpinned = errors.New("two cores are needed: one for the proxy, one for the load")

func measure(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	meshgw := f.String("meshgw", "bin/meshgw", "the meshgw to measure")
	against := f.String("against", "", "another meshgw, of an earlier commit say, to measure beside it")
	only := f.String("only", "", "names of the peers to measure, with commas; empty = all that are installed")
	what := f.String("measure", "plain,features,tls,http2,abuse,seeing,latency,memory,failover,reload,scale,limits,busy", "what to measure")
	rounds := f.Int("rounds", 5, "rounds of each measurement")
	seconds := f.Int("seconds", 3, "length of a run")
	if err := f.Parse(args); err != nil {
		return err
	}
	b := &bench{ctx: ctx, rounds: *rounds, seconds: *seconds}
	if err := b.prepare(*meshgw, *against, *only); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	defer b.stopAll()
	b.heading(args)
	for name := range strings.SplitSeq(*what, ",") {
		step, ok := map[string]func() error{
			"plain": b.plain, "features": b.features, "tls": b.tls, "http2": b.http2, "abuse": b.abuse, "latency": b.latency, "memory": b.memory,
			"failover": b.failover, "reload": b.reloads, "scale": b.scale, "limits": b.limits, "seeing": b.seeing, "busy": b.busy,
		}[name]
		if !ok {
			return fmt.Errorf("nothing is called %q", name)
		}
		if err := step(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.stopAll()
	}
	return ctx.Err()
}

// prepare finds out who is there, and says who is not.
func (b *bench) prepare(meshgw, against, only string) error {
	if cores() < 2 {
		return errUnpinned
	}
	for _, load := range []string{"wrk", "h2load"} {
		if _, err := exec.LookPath(load); err != nil {
			return errors.New(load + " is missing: apt-get install wrk nghttp2-client nginx-light haproxy")
		}
	}
	for _, p := range peers(meshgw, against) {
		switch {
		case only != "" && !slices.Contains(strings.Split(only, ","), p.name):
		case !p.installed():
			fmt.Fprintf(os.Stderr, "bench: %s is not installed and is left out\n", p.name)
		default:
			b.peers = append(b.peers, p)
		}
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	b.dir, err = os.MkdirTemp("", "meshgw-bench-")
	return err
}

// heading says what was measured where.
func (b *bench) heading(args []string) {
	fmt.Printf("%s, commit %s, %s, %d cores, Linux %s. `make bench BENCH='%s'`\n\n",
		time.Now().Format(time.DateOnly), oneLine("git", "describe", "--always", "--dirty"), cpuModel(), cores(), oneLine("uname", "-r"), strings.Join(args, " "))
	for _, p := range b.peers {
		fmt.Printf("- %s: %s\n", p.name, oneLine(p.binary, p.version...))
	}
}

// oneLine is the first line that a command prints.
func oneLine(name string, args ...string) string {
	text, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}
