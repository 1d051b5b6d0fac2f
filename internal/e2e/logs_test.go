package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// events returns the lines of a process's log that have this msg.
func (p *process) events(msg string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(p.log.String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == msg {
			found = append(found, fields)
		}
	}
	return found
}

// tells waits for an event in a process's log, with all of these fields.
func (p *process) tells(msg string, fields map[string]any) {
	p.w.t.Helper()
	eventually(p.w.t, 20*time.Second, p.name+" tells: "+msg, func() error {
		for _, line := range p.events(msg) {
			same := line["node"] == p.name && line["region"] != nil && line["time"] != nil && line["level"] != nil
			for key, want := range fields {
				same = same && line[key] == want
			}
			if same {
				return nil
			}
		}
		return fmt.Errorf("none with %v", fields)
	})
}

// metric returns the value of a series, with its labels as /metrics shows them; 0
// where there is none.
func (p *process) metric(series string) float64 {
	p.w.t.Helper()
	resp, err := http.Get("http://" + p.listen.Admin + "/metrics")
	if err != nil {
		p.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.w.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				p.w.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func TestEventsOfTheMeshAreLoggedInOneSchema(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	near, far := startEndpoint(t, 0), startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"eu": {near}, "us": {far}}, "failover: {via: direct}", "circuit_breaker: {open_for: 1s}")
	a := w.start("a", "--region", "eu", "--routes", file)
	b := w.start("b", "--region", "eu", "--join", a.listen.Gossip)
	c := w.start("c", "--region", "eu", "--join", a.listen.Gossip)
	allSee(t, 15*time.Second, a, b, c)
	serve(t, a)
	for _, member := range []string{"b", "c"} {
		a.tells("member joined", map[string]any{"member": member, "member_region": "eu", "level": "info"})
	}
	w.run("meshgw", "routes", "apply", w.routeFile("more.yaml", "/more", "http://"+far.addr), "--admin", b.listen.Admin)
	a.tells("version applied", map[string]any{"routes_version": 2.0, "by": "b"})
	w.run("meshgw", "routes", "apply", file, "--admin", b.listen.Admin)
	a.tells("version applied", map[string]any{"routes_version": 3.0})

	near.kill()
	eventually(t, 10*time.Second, "the breaker is asked for", func() error {
		_, _ = a.get("/")
		if len(a.events("breaker opened")) == 0 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	at := map[string]any{"upstream": "orders", "endpoint": "http://" + near.addr, "level": "warn"}
	a.tells("breaker opened", at)
	a.tells("failover began", map[string]any{"upstream": "orders", "from": "eu", "to": "us", "level": "warn"})
	near.start()
	a.tells("breaker closed", map[string]any{"upstream": "orders", "endpoint": "http://" + near.addr, "level": "info"})

	c.terminate()
	a.tells("member left", map[string]any{"member": "c"})
	b.kill()
	a.tells("member failed", map[string]any{"member": "b"})
}

func TestIsolationAndSheddingAreLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := w.routeFile("routes.yaml", "/", upstream(t, "u").URL)
	a := w.start("a", "--routes", file, "--shed-cpu", "0.02")
	b := w.start("b", "--join", a.listen.Gossip)
	c := w.start("c", "--join", a.listen.Gossip)
	allSee(t, 15*time.Second, a, b, c)
	for began := time.Now(); len(a.events("shedding began")) == 0 && time.Since(began) < patience; {
		_, _ = a.get("/")
	}
	a.tells("shedding began", map[string]any{"level": "warn"})
	a.tells("shedding ended", map[string]any{"level": "info"})
	b.kill()
	c.kill()
	a.tells("isolated", map[string]any{"level": "warn"})
}

// The log goes to a pipe that nobody reads: requests are served all the same, and
// what is lost is counted.
func TestALogThatNobodyReadsStopsNoRequest(t *testing.T) {
	w := newWorld(t)
	p := w.launchWith("a", func(p *process) {
		r, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); out.Close() })
		p.cmd.Stdout, p.cmd.Stderr = out, out
	}, "--routes", w.routeFile("routes.yaml", "/", upstream(t, "u").URL))
	p.waitReady()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	path := "/" + strings.Repeat("p", 6<<10)
	eventually(t, 60*time.Second, "lines are dropped and counted", func() error {
		for range 100 {
			resp, err := client.Get("http://" + p.listen.HTTP + path)
			if err != nil {
				t.Fatalf("a request waits for the log: %v", err)
			}
			resp.Body.Close()
		}
		if dropped := p.metric(`meshgw_log_dropped_total{kind="request"}`); dropped == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
}

// Who reads a node's log may stand still, or die.
func TestALogThatNobodyReadsStopsNothing(t *testing.T) {
	t.Parallel()
	for what, dies := range map[string]bool{"stands still": false, "dies": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			path := filepath.Join(w.dir, "routes.yaml")
			if err := os.WriteFile(path, []byte("routes: [{name: all, respond: {status: 200}}]\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			a := w.launchWith("a", func(p *process) { p.cmd.Stdout, p.cmd.Stderr = writer, writer }, "--routes", path)
			_ = writer.Close() // the node has its own
			a.waitReady()
			if dies {
				_ = reader.Close()
			}
			for range 100 { // more than a pipe holds
				if got, err := a.get("/" + strings.Repeat("x", 4<<10)); err != nil || got.status != 200 {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			a.terminate()
			if code := a.end(20 * time.Second); code != 0 {
				t.Errorf("exit code %d, %v", code, a.err)
			}
		})
	}
}
