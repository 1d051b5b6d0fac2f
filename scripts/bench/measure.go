//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// reference is whom ratios are to: nginx, or else the first.
func (b *bench) reference() string {
	for _, p := range b.peers {
		if p.name == "nginx" {
			return p.name
		}
	}
	return b.peers[0].name
}

// subjects launches all peers beside one upstream.
func (b *bench) subjects(all []*peer, features bool) ([]*process, error) {
	upstreams, _, err := b.startBackends(1)
	if err != nil {
		return nil, err
	}
	var subjects []*process
	for i, p := range all {
		run, err := b.launch(p, i, features, upstreams)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		subjects = append(subjects, run)
	}
	return subjects, nil
}

// inTurn does f to every subject in every round, each round beginning with the next.
func (b *bench) inTurn(subjects []*process, f func(i int) error) error {
	for round := range b.rounds {
		for k := range subjects {
			if err := f((k + round) % len(subjects)); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain and features measure what a core can do, as a mere proxy and as a gateway.
func (b *bench) plain() error    { return b.loadAll(b.peers, false, b.ways(), b.reference()) }
func (b *bench) features() error { return b.loadAll(b.peers, true, b.ways(), b.reference()) }

// http2 measures what a core can do for clients that speak HTTP/2.
func (b *bench) http2() error {
	return b.loadAll(b.peers, false, []way{{body: "1k", conns: 10, streams: 64}, {body: "1k", conns: 10, streams: 6}}, b.reference())
}

// way is how a peer is loaded.
type way struct {
	body    string
	conns   int
	streams int // of each connection, at once, in HTTP/2; 0 = HTTP/1.1
	tls     bool
	once    bool // a connection for each request
}

func (w way) String() string {
	if w.streams > 0 {
		return fmt.Sprintf("HTTP/2 in clear, %s, %d connections of %d streams", w.body, w.conns, w.streams)
	}
	text := fmt.Sprintf("%s, %d connections", w.body, w.conns)
	if w.tls {
		text = "TLS, " + text
	}
	if w.once {
		text += ", each for one request"
	}
	return text
}

// small is the way of which most is asked.
func small() []way { return []way{{body: "1k", conns: 64}} }

func (b *bench) ways() []way {
	return append(small(), way{body: "1k", conns: 512}, way{body: "64k", conns: 64})
}

// loadAll loads the peers to their limit, in each of the ways.
func (b *bench) loadAll(peers []*peer, features bool, ways []way, ref string) error {
	subjects, err := b.subjects(peers, features)
	if err != nil {
		return err
	}
	for _, way := range ways {
		got := samples{}
		for i := range subjects { // connections to the upstream are open, memory is in place
			if _, err := b.load(subjects[i], way, peers[i].script, 1); err != nil {
				return err
			}
		}
		err := b.inTurn(subjects, func(i int) error {
			before := subjects[i].cpu()
			done, err := b.load(subjects[i], way, peers[i].script, b.seconds)
			used := subjects[i].cpu() - before
			name := peers[i].name
			got.add(name, "rate", done.Rate)
			got.add(name, "cpu", float64(used.Microseconds())/max(1, done.Requests))
			got.add(name, "p99", done.P99)
			got.add(name, "bad", done.Bad)
			return err
		})
		if err != nil {
			return err
		}
		b.throughputTable(got, peers, features, way, ref)
	}
	return nil
}

func (b *bench) throughputTable(got samples, peers []*peer, features bool, way way, ref string) {
	kind := "plain"
	if features {
		kind = "features on"
	}
	table(fmt.Sprintf("%s, %v, %d rounds of %d s", kind, way, b.rounds, b.seconds),
		"", "requests/s", "to "+ref, "CPU µs/request", "to "+ref, "p99 under full load, ms", "not answered 2xx")
	for _, p := range peers {
		p99 := fmt.Sprintf("%.1f", got.median(p.name, "p99"))
		if way.streams > 0 {
			p99 = "not told"
		}
		row(p.name, fmt.Sprintf("%.0f", got.median(p.name, "rate")), fmt.Sprintf("%.2f", got.ratio(p.name, "rate", ref)),
			fmt.Sprintf("%.1f", got.median(p.name, "cpu")), fmt.Sprintf("%.2f", got.ratio(p.name, "cpu", ref)),
			p99, fmt.Sprintf("%.0f", got.median(p.name, "bad")))
	}
}

// openLoad is load at a fixed rate on p; act happens a third into it.
func (b *bench) openLoad(p *process, rate float64, length, warm time.Duration, act func() error) (loaded, error) {
	cmd := exec.CommandContext(b.ctx, "taskset", "-c", loadCore, b.self, "open", "-addr", p.setup.Listen, "-host", p.host, "-path", p.path+"/1k",
		"-rate", fmt.Sprint(rate), "-for", length.String(), "-warm", warm.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return loaded{}, err
	}
	if err := cmd.Start(); err != nil {
		return loaded{}, err
	}
	var acted error
	if act != nil {
		time.Sleep(length / 3)
		acted = act()
	}
	var found loaded
	if err := json.NewDecoder(out).Decode(&found); err != nil {
		return found, err
	}
	if err := cmd.Wait(); err != nil {
		return found, err
	}
	return found, acted
}

// latency measures what a proxy adds at a fixed rate.
func (b *bench) latency() error { return b.latencyOf(b.peers, 3000) }

func (b *bench) latencyOf(peers []*peer, rate float64) error {
	subjects, err := b.subjects(peers, true)
	if err != nil {
		return err
	}
	direct := b.backends[0]
	direct.host = "localhost"
	all := append([]*process{direct}, subjects...)
	names := []string{"direct"}
	for _, p := range peers {
		names = append(names, p.name)
	}
	got := samples{}
	err = b.inTurn(all, func(i int) error {
		length, before := time.Duration(b.seconds+1)*time.Second, all[i].cpu()
		found, err := b.openLoad(all[i], rate, length, time.Second, nil)
		got.add(names[i], "cpu", 100*(all[i].cpu()-before).Seconds()/length.Seconds())
		got.add(names[i], "p50", found.P50)
		got.add(names[i], "p99", found.P99)
		got.add(names[i], "p999", found.P999)
		got.add(names[i], "failed", float64(found.Failed))
		return err
	})
	table(fmt.Sprintf("latency at %.0f requests/s, open loop, features on, 64 connections, %d rounds of %d s", rate, b.rounds, b.seconds),
		"", "p50 ms", "p99 ms", "p99.9 ms", "p50 added ms", "p99 added ms", "of a core", "failed")
	for _, name := range names {
		row(name, fmt.Sprintf("%.2f", got.median(name, "p50")), fmt.Sprintf("%.2f", got.median(name, "p99")), fmt.Sprintf("%.2f", got.median(name, "p999")),
			fmt.Sprintf("%.2f", got.median(name, "p50")-got.median("direct", "p50")), fmt.Sprintf("%.2f", got.median(name, "p99")-got.median("direct", "p99")),
			fmt.Sprintf("%.1f %%", got.median(name, "cpu")), fmt.Sprintf("%.0f", got.median(name, "failed")))
	}
	return err
}

// memory measures a fresh process and one with idle connections.
func (b *bench) memory() error {
	const idle = 9500 // HAProxy has two descriptors for each, and 20,000 are common
	table(fmt.Sprintf("memory, features on, %d idle connections that did one request each", idle), "", "idle MiB", "with them MiB", "KiB each")
	for i, p := range b.peers {
		upstreams, _, err := b.startBackends(1)
		if err != nil {
			return err
		}
		run, err := b.launch(p, i, true, upstreams)
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
		before := run.memory()
		clients := exec.CommandContext(b.ctx, "taskset", "-c", loadCore, b.self, "hold", "-addr", run.setup.Listen, "-host", run.host, "-path", run.path+"/1k", "-n", strconv.Itoa(idle))
		clients.Stderr = os.Stderr
		stdin, err := clients.StdinPipe()
		if err != nil {
			return err
		}
		stdout, err := clients.StdoutPipe()
		if err != nil {
			return err
		}
		if err := clients.Start(); err != nil {
			return err
		}
		if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
			return fmt.Errorf("%s: clients: %w", p.name, err)
		}
		time.Sleep(3 * time.Second)
		after := run.memory()
		_ = stdin.Close()
		if err := clients.Wait(); err != nil {
			return err
		}
		b.stopAll()
		row(p.name, fmt.Sprintf("%.1f", before/1024), fmt.Sprintf("%.1f", after/1024), fmt.Sprintf("%.1f", (after-before)/idle))
	}
	return nil
}

// failover kills, then freezes, one of three upstreams under load. All have their
// default settings.
func (b *bench) failover() error {
	const rate, length = 2000, 10 * time.Second
	for _, how := range []struct {
		name string
		does syscall.Signal
	}{{"killed", syscall.SIGKILL}, {"frozen (accepts, never answers)", syscall.SIGSTOP}} {
		table(fmt.Sprintf("one of three upstreams %s, %d requests/s, clients give up after 3 s, defaults", how.name, rate),
			"", "failed of 20,000", "slowest answer ms", "last failure, s after", "kinds")
		for i, p := range b.peers {
			upstreams, backends, err := b.startBackends(3)
			if err != nil {
				return err
			}
			run, err := b.launch(p, i, false, upstreams)
			if err != nil {
				return err
			}
			time.Sleep(2 * time.Second) // checks have found all
			found, err := b.openLoad(run, rate, length, 0, func() error { return backends[1].Process.Signal(how.does) })
			if err != nil {
				return err
			}
			b.stopAll()
			row(p.name, strconv.Itoa(found.Failed), fmt.Sprintf("%.0f", found.Max),
				fmt.Sprintf("%.1f", max(0, found.LastFailure-length.Seconds()/3)), kinds(found.Kinds))
		}
	}
	return nil
}

func kinds(counts map[string]int) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%d %s", counts[k], k))
	}
	return strings.Join(all, ", ")
}

// reloads makes a peer take a changed configuration under load.
func (b *bench) reloads() error {
	const rate, length = 2000, 9 * time.Second
	table(fmt.Sprintf("reload under %d requests/s, features on", rate), "", "failed", "idle connections closed", "worst before ms", "worst in the 2 s after ms")
	for i, p := range b.peers {
		upstreams, _, err := b.startBackends(1)
		if err != nil {
			return err
		}
		run, err := b.launch(p, i, true, upstreams)
		if err != nil {
			return err
		}
		found, err := b.openLoad(run, rate, length, 0, func() error { return p.reload(run.setup, run.Process.Pid) })
		if err != nil {
			return err
		}
		b.stopAll()
		row(p.name, strconv.Itoa(found.Failed), strconv.Itoa(found.IdleClosed),
			fmt.Sprintf("%.1f", slices.Max(found.Worst[10:29])), fmt.Sprintf("%.1f", slices.Max(found.Worst[30:50])))
	}
	return nil
}

// scale measures what many routes cost meshgw.
func (b *bench) scale() error {
	meshgw := b.meshgw()
	if meshgw == nil {
		return nil
	}
	routes := []*peer{
		meshgw.variant("10 routes", func(s *setup) { s.routes(10) }),
		meshgw.variant("10,000 routes", func(s *setup) { s.routes(10_000) }),
	}
	return b.loadAll(routes, true, small(), routes[0].name)
}

// limits measures what it costs meshgw to hold requests to a limit that is never
// hit: against none, one key for all, and 100,000 that come at random.
func (b *bench) limits() error {
	meshgw := b.meshgw()
	if meshgw == nil {
		return nil
	}
	script := filepath.Join(b.dir, "keys.lua")
	const lua = "function request() return wrk.format(nil, nil, {Host = wrk.headers.Host, ['x-key'] = math.random(100000)}) end\n"
	if err := os.WriteFile(script, []byte(lua), 0o600); err != nil {
		return err
	}
	subjects := []*peer{
		meshgw.variant("no limit", func(s *setup) { s.routes(200); s.Unlimited = true }),
		meshgw.variant("one key", func(s *setup) { s.routes(200) }),
		meshgw.variant("100,000 keys", func(s *setup) { s.routes(200); s.Keys = true }),
	}
	for _, p := range subjects {
		p.script = script
	}
	return b.loadAll(subjects, true, small(), subjects[0].name)
}
