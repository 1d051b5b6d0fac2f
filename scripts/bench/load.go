//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// loadRun is what came of a load; h2load tells no p99.
type loadRun struct{ Rate, Requests, P99, Bad float64 }

// load asks p for as much as it can do.
func (b *bench) load(p *process, w way, script string, seconds int) (loadRun, error) {
	switch {
	case w.streams > 0:
		return b.h2load(p, w, seconds)
	case w.body == "64k":
		return b.closedLoad(p, w, seconds)
	}
	args := []string{"wrk", "-t1", "-c", strconv.Itoa(w.conns), "--latency", "-d", strconv.Itoa(seconds) + "s", "-H", "Host: " + p.host}
	if script != "" {
		args = append(args, "-s", script)
	}
	if w.once {
		args = append(args, "-H", "Connection: close")
	}
	text, err := b.loader(append(args, p.setup.URL(p.path+"/"+w.body))...)
	return loadRun{
		Rate: number(text, `Requests/sec:\s+([\d.]+)`), Requests: number(text, `(\d+) requests in`),
		P99: number(text, `99%\s+([\d.]+)(us|ms|s)`), Bad: number(text, `Non-2xx or 3xx responses: (\d+)`),
	}, err
}

func (b *bench) closedLoad(p *process, w way, seconds int) (run loadRun, err error) {
	text, err := b.loader(b.self, "closed", "-addr", p.setup.Listen, "-host", p.host, "-path", p.path+"/"+w.body,
		"-conns", strconv.Itoa(w.conns), "-for", strconv.Itoa(seconds)+"s")
	if err == nil {
		err = json.Unmarshal(text, &run)
	}
	return run, err
}

func (b *bench) h2load(p *process, w way, seconds int) (loadRun, error) {
	text, err := b.loader("h2load", "-t", "1", "-c", strconv.Itoa(w.conns), "-m", strconv.Itoa(w.streams), "-D", strconv.Itoa(seconds),
		"-H", ":authority: "+p.host, "http://"+p.setup.HTTP2+p.path+"/"+w.body)
	run := loadRun{Requests: number(text, `(\d+) succeeded`), Bad: number(text, `(\d+) failed`)}
	run.Rate = run.Requests / float64(seconds)
	if err == nil && run.Requests == 0 {
		err = errors.New("no request succeeded: " + string(text))
	}
	return run, err
}

// loader runs a program that loads a peer, and returns what it prints.
func (b *bench) loader(command ...string) ([]byte, error) {
	text, err := exec.CommandContext(b.ctx, "taskset", append([]string{"-c", loadCore}, command...)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", command[0], err, text)
	}
	return text, nil
}

// number is what text has for pattern, in milliseconds if it is a time.
func number(text []byte, pattern string) float64 {
	m := regexp.MustCompile(pattern).FindSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(string(m[1]), 64)
	if len(m) > 2 {
		n *= map[string]float64{"us": 1e-3, "ms": 1, "s": 1e3}[string(m[2])]
	}
	return n
}
