package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/api"
)

// verb is a kind of step.
type verb struct {
	least        int // words that it needs
	usage, about string
	do           func(*world, []string) error
}

func (v verb) String() string { return fmt.Sprintf("%-58s %s", v.usage, v.about) }

// inOrder is the entries of a table by name.
func inOrder[T any](table map[string]T) []T {
	var all []T
	for _, name := range slices.Sorted(maps.Keys(table)) {
		all = append(all, table[name])
	}
	return all
}

func verbs() map[string]verb {
	return map[string]verb{
		"node":           {1, "node NAME... [region=R] [disk=SIZE] [build=TAG] [name=N] [--FLAG...]", "nodes, up once they serve", (*world).node},
		"launch":         {1, "launch NAME [as node]", "a node, not waited for", (*world).launchNode},
		"endpoint":       {1, "endpoint NAME... [hold=50ms]", "HTTP servers that say their name", (*world).endpoint},
		"apply":          {2, "apply NODE FILE... [--FLAG...]", "routes of files below, by meshgw routes apply", (*world).apply},
		"meshgw":         {2, "meshgw NODE ARGS...", "a command against a node", (*world).meshgw},
		"edits":          {1, "edits N at=NODE to=NODES [p99=2s]", "edits one after the other, measured until all serve each", (*world).edits},
		"load":           {1, "load NAME to=NODES rate=N [method=GET] [path=/]", "requests, as behind a load balancer", (*world).load},
		"count":          {1, "count LOAD", "what became of it since the last count", (*world).count},
		"end":            {1, "end LOAD", "ends it", (*world).endLoad},
		"slow-clients":   {1, "slow-clients NODE count=N", "clients that send a byte a second, or read none", (*world).slowClients},
		"sleep":          {1, "sleep D", "", (*world).sleep},
		"kill":           {1, "kill NAME...", "kill -9, all at once", (*world).kill},
		"stop":           {1, "stop NODE...", "as an operator does; the exit code has to be 0", (*world).stop},
		"start":          {1, "start NAME... [within=1s] [build=TAG]", "again, until each answers", (*world).start},
		"freeze":         {1, "freeze NAME...", "SIGSTOP", (*world).freeze},
		"thaw":           {0, "thaw", "SIGCONT, to all that are frozen", (*world).thaw},
		"freeze-checker": {1, "freeze-checker ENDPOINT", "SIGSTOP, to a node that checks it", (*world).freezeChecker},
		"cut":            {3, "cut NAMES -> NAMES, or <->", "what the first send to the second", (*world).cut},
		"lose":           {2, "lose PERCENT NAME... [of=udp]", "of what arrives there", (*world).lose},
		"delay":          {1, "delay NAME... by=80ms", "all that they send", (*world).delay},
		"heal":           {0, "heal", "ends cuts, losses and delays", (*world).heal},
		"clock":          {2, "clock NODE OFFSET", "has its wall clock wrong by that", (*world).clock},
		"fill":           {1, "fill NODE", "its disk, which has to have a size", (*world).fill},
		"empty":          {1, "empty NODE", "what fill wrote", (*world).empty},
		"fds":            {2, "fds NODE N", "file descriptors that it may open", (*world).fds},
		"within":         {2, "within D CONDITION", "waits for it, that long at most", (*world).within},
		"always":         {2, "always D CONDITION", "it has to hold all that time", (*world).always},
		"require":        {1, "require CONDITION", "it has to hold now", (*world).require},
	}
}

// each does something to every machine named.
func (w *world) each(names []string, do func(*machine) error) error {
	all, err := w.find(names...)
	for _, m := range all {
		err = errors.Join(err, do(m))
	}
	return err
}

func (w *world) node(words []string) error {
	a := parseArgs(words)
	for _, name := range a.names {
		if _, err := w.addNode(name, a); err != nil {
			return err
		}
	}
	return w.raise(a.names, 10*time.Second)
}

func (w *world) launchNode(words []string) error {
	a := parseArgs(words)
	for _, name := range a.names {
		m, err := w.addNode(name, a)
		if err == nil {
			err = m.launch()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) endpoint(words []string) error {
	a := parseArgs(words)
	for _, name := range a.names {
		if _, err := w.add(name, a, w.endpointCommand); err != nil {
			return err
		}
	}
	return w.raise(a.names, 10*time.Second)
}

func (w *world) start(words []string) (err error) {
	a, limit := parseArgs(words), 10*time.Second
	if text := a.options["within"]; text != "" {
		if limit, err = time.ParseDuration(text); err != nil {
			return err
		}
	}
	if tag := a.options["build"]; tag != "" {
		build, err := w.binary(tag)
		if err != nil {
			return err
		}
		if err := w.each(a.names, func(m *machine) error { m.command[0] = build; return nil }); err != nil {
			return err
		}
	}
	return w.raise(a.names, w.script.bound(limit))
}

// raise starts machines, all at once, and waits until each answers.
func (w *world) raise(names []string, limit time.Duration) error {
	all, err := w.find(names...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.ctx, max(limit, 10*time.Second))
	defer cancel()
	errs, took := make([]error, len(all)), make([]time.Duration, len(all))
	began := time.Now()
	for _, m := range all {
		if err := m.launch(); err != nil {
			return err
		}
	}
	var waits sync.WaitGroup
	for i, m := range all {
		waits.Go(func() {
			errs[i] = m.answers(ctx)
			took[i] = time.Since(began)
		})
	}
	waits.Wait()
	slowest := slices.Max(took)
	w.measured("answering after %v (at most %v)", slowest.Round(time.Millisecond), limit)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if slowest > limit {
		return fmt.Errorf("answering after %v, want at most %v", slowest, limit)
	}
	return nil
}

// file writes one of the scenario's files, addresses put in, and returns its path.
func (w *world) file(name string) (string, error) {
	var unknown error
	text := os.Expand(w.script.files[name], func(name string) string {
		m := w.machines[name]
		if m == nil {
			unknown = fmt.Errorf("there is no %q", name)
			return ""
		}
		return m.ip
	})
	return w.path(name), errors.Join(unknown, os.WriteFile(w.path(name), []byte(text), 0o600))
}

func (w *world) apply(words []string) error {
	command := []string{words[0], "routes", "apply"}
	for _, name := range words[1:] {
		if _, isFile := w.script.files[name]; !isFile {
			command = append(command, name)
			continue
		}
		path, err := w.file(name)
		if err != nil {
			return err
		}
		command = append(command, path)
	}
	out, err := w.command(command)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	w.measured("%s", out[strings.LastIndexByte(out, '\n')+1:])
	return nil
}

func (w *world) meshgw(words []string) error {
	out, err := w.command(words)
	for line := range strings.Lines(out) {
		w.measured("%s", strings.TrimRight(line, "\n"))
	}
	return err
}

// command runs a command of meshgw against a node and returns what it prints.
func (w *world) command(words []string) (string, error) {
	all, err := w.find(words[0])
	if err != nil {
		return "", err
	}
	build, err := w.binary("")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, build, append(words[1:], "--admin", "http://"+all[0].ip+":"+adminPort, "--token", w.token)...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (w *world) load(words []string) error {
	a := parseArgs(words)
	rate, err := strconv.Atoi(a.options["rate"])
	if err != nil || rate < 1 || len(a.names) != 1 {
		return errors.New("want a name, to=NODES and rate=N")
	}
	nodes, err := w.find(strings.Split(a.options["to"], ",")...)
	if err != nil {
		return err
	}
	w.loads[a.names[0]] = startLoad(nodes, rate, cmp.Or(a.options["method"], "GET"), cmp.Or(a.options["path"], "/"))
	return nil
}

// counted takes the counts of a load and says them.
func (w *world) counted(name string) (counts, error) {
	l := w.loads[name]
	if l == nil {
		return counts{}, fmt.Errorf("there is no load %q", name)
	}
	c := l.sinceLast()
	w.measured("%s: %v", name, c)
	return c, nil
}

func (w *world) count(words []string) error {
	_, err := w.counted(words[0])
	return err
}

func (w *world) endLoad(words []string) error {
	if l := w.loads[words[0]]; l != nil {
		l.stop()
	}
	return nil
}

func (w *world) sleep(words []string) error {
	d, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
	}
	return nil
}

func (w *world) kill(words []string) error {
	all, err := w.find(words...)
	var deaths sync.WaitGroup
	errs := make([]error, len(all))
	for i, m := range all {
		deaths.Go(func() { errs[i] = m.kill() })
	}
	deaths.Wait()
	return errors.Join(append(errs, err)...)
}

func (w *world) stop(words []string) error {
	return w.each(words, func(m *machine) error {
		began := time.Now()
		err := m.stop(20 * time.Second)
		w.measured("%s ended after %v", m.name, time.Since(began).Round(time.Millisecond))
		return err
	})
}

func (w *world) freeze(words []string) error {
	return w.each(words, func(m *machine) error {
		m.frozen = true
		return m.signal(syscall.SIGSTOP)
	})
}

// freezeChecker freezes one of the nodes that check an endpoint.
func (w *world) freezeChecker(words []string) error {
	of, err := w.find(words[0])
	if err != nil {
		return err
	}
	for _, m := range w.order {
		if m.admin == nil {
			continue
		}
		s, err := w.status(m)
		if err != nil {
			return err
		}
		if checker := w.checkerOf("http://"+of[0].http(), s); checker != "" {
			w.measured("%s checks it", checker)
			return w.freeze([]string{checker})
		}
	}
	return errors.New("nobody checks it")
}

// checkerOf is a machine that says in s that the endpoint of that URL is up; empty
// where none does.
func (w *world) checkerOf(url string, s api.Status) string {
	for _, u := range s.Upstreams {
		for _, e := range u.Endpoints {
			if e.URL != url {
				continue
			}
			for _, v := range e.Verdicts {
				if v.Check == "up" && w.machines[v.Node] != nil {
					return v.Node
				}
			}
		}
	}
	return ""
}

func (w *world) thaw([]string) error {
	for _, m := range w.order {
		if m.frozen {
			m.frozen = false
			w.measured("%s", m.name)
			if err := m.signal(syscall.SIGCONT); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) clock(words []string) error {
	offset, err := time.ParseDuration(strings.TrimPrefix(words[1], "+"))
	if err != nil {
		return err
	}
	return w.each(words[:1], func(m *machine) error {
		ctx, cancel := context.WithTimeout(w.ctx, 2*time.Second)
		defer cancel()
		return m.admin.SetClock(ctx, offset)
	})
}
