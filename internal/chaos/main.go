package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == "endpoint" {
		fmt.Fprintln(os.Stderr, beEndpoint(os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, words []string, out io.Writer) int {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(out)
	dir := flags.String("dir", "scripts/chaos.d", "where the scenarios are")
	list := flags.Bool("list", false, "name the scenarios")
	length := flags.Duration("soak", 0, "instead of scenarios: random faults for about so long")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()%1_000_000), "of the faults of a soak")
	slack := flags.Int("slack", 1, "so many times as long may what is waited for take: for machines with other work")
	keep := flags.Bool("keep", false, "keep logs and data of scenarios that pass too")
	flags.Usage = func() { usage(out, flags) }
	if err := flags.Parse(words); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	names := flags.Args()
	all, err := scenarios(*dir)
	if len(names) == 0 {
		names = all
	}
	var scripts []*script
	for _, name := range names {
		s, bad := readScript(*dir, name)
		err = errors.Join(err, bad)
		scripts = append(scripts, s)
	}
	if err != nil {
		say(out, "%v\n", err)
		return 2
	}
	if *list {
		for _, s := range scripts {
			say(out, "%-20s %s\n", s.name, s.about)
		}
		return 0
	}
	if *length > 0 {
		scripts = []*script{soak(*length, *seed)}
	}
	for _, s := range scripts {
		s.slack = *slack
	}
	if err := able(); err != nil {
		say(out, "chaos: %v\n", err)
		return 2
	}
	return playAll(ctx, out, scripts, *keep)
}

// able reports what is missing to play.
func able() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, for network namespaces")
	}
	for program, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("needs %s; scripts/install-tools.sh installs it", pkg)
		}
	}
	return nil
}

func playAll(ctx context.Context, out io.Writer, scripts []*script, keep bool) int {
	dir, err := os.MkdirTemp("", "meshgw-chaos-build-")
	if err != nil {
		say(out, "%v\n", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	builds := map[string]string{"dir": dir}
	failed := 0
	for _, s := range scripts {
		say(out, "=== %s: %s\n", s.name, s.about)
		began := time.Now()
		err := play(ctx, out, s, builds, keep)
		took := time.Since(began).Seconds()
		if err != nil {
			say(out, "--- FAIL %s (%.1fs): %v\n\n", s.name, took, err)
			failed++
		} else {
			say(out, "--- PASS %s (%.1fs)\n\n", s.name, took)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed > 0 {
		say(out, "%d of %d scenarios failed\n", failed, len(scripts))
		return 1
	}
	return 0
}

func usage(out io.Writer, flags *flag.FlagSet) {
	say(out, "scripts/chaos [flags] [SCENARIO...]: all of them, where none is named\n\n")
	flags.PrintDefaults()
	say(out, "\nThe steps of a scenario:\n\n")
	for _, v := range inOrder(verbs()) {
		say(out, "  %s\n", v)
	}
	say(out, "\nWhat within, always and require take; \"not\" before it turns it round:\n\n")
	for _, c := range inOrder(conditions()) {
		say(out, "  %s\n", c)
	}
}

func say(out io.Writer, format string, a ...any) { _, _ = fmt.Fprintf(out, format, a...) }
