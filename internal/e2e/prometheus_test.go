//go:build root

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// prometheusServer is a real one (Debian has it) that scrapes nodes by the rules
// of deploy/, with nothing to wait for: how long an alert takes is promtool's part.
type prometheusServer struct {
	t    *testing.T
	addr string
}

func startPrometheus(t *testing.T, nodes ...*process) *prometheusServer {
	t.Helper()
	dir := t.TempDir()
	rules, err := os.ReadFile("../../deploy/prometheus/meshgw.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(`(?m)^ +for: .*$`).ReplaceAll(rules, nil)
	var targets []string
	for _, p := range nodes {
		targets = append(targets, fmt.Sprintf("%q", p.listen.Admin))
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\nscrape_configs:\n  - job_name: meshgw\n    static_configs: [{targets: [%s]}]\n", strings.Join(targets, ", "))
	for name, data := range map[string][]byte{"rules.yml": at, "prometheus.yml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &prometheusServer{t: t, addr: freePort(t)}
	cmd := exec.Command("prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", p.addr, "--enable-feature", "exemplar-storage", "--log.level", "warn")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return p
}

// ask returns what an endpoint of Prometheus's API answers as its data.
func (p *prometheusServer) ask(path string, query url.Values, data any) error {
	resp, err := http.Get("http://" + p.addr + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          json.RawMessage
	}{}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// query returns how many series an expression yields.
func (p *prometheusServer) query(expr string) (int, error) {
	var found struct{ Result []json.RawMessage }
	err := p.ask("/api/v1/query", url.Values{"query": {expr}}, &found)
	return len(found.Result), err
}

// fires waits for alerts.
func (p *prometheusServer) fires(names ...string) {
	p.t.Helper()
	eventually(p.t, time.Minute, fmt.Sprint("alerts fire: ", names), func() error {
		var got struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
		if err := p.ask("/api/v1/alerts", nil, &got); err != nil {
			return err
		}
		firing := map[string]bool{}
		for _, a := range got.Alerts {
			if a.State == "firing" {
				firing[a.Labels["alertname"]] = true
			}
		}
		for _, name := range names {
			if !firing[name] {
				return fmt.Errorf("%s is not among %v", name, firing)
			}
		}
		return nil
	})
}

// dashboard returns every query of the dashboard, with its variables filled in.
func dashboard(t *testing.T) (queries []string) {
	t.Helper()
	data, err := os.ReadFile("../../deploy/grafana/meshgw.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
		Annotations struct {
			List []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$instance", ".*", "$route", ".*", "$job", ".*", "$__rate_interval", "30s")
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, fill.Replace(target.Expr))
		}
	}
	for _, a := range board.Annotations.List {
		queries = append(queries, fill.Replace(a.Expr))
	}
	return queries
}

func TestPrometheusAlertsAndDashboardAreOfARealMesh(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("promtool", "test", "rules", "../../deploy/prometheus/meshgw.rules.test.yml").CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	w := newWorld(t)
	near, far := startEndpoint(t, 0), startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"eu": {near}, "us": {far}})
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// One route that cannot be served, and one with a limit.
	more := string(data) + "    limits: [few]\n  - name: held\n    match: [{path: /held}]\n    upstream: orders\n    auth: [{basic: {file: /nowhere}}]\nlimits:\n  - {name: few, rate: 10000/s, key: [none]}\n"
	if err := os.WriteFile(file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	secured := func(node string) []string { // with a certificate for a day
		flags := w.secured(node)
		cert, key := filepath.Join(w.dir, node+".pem"), filepath.Join(w.dir, node+"-key.pem")
		for _, old := range []string{cert, key} {
			if err := os.Remove(old); err != nil {
				t.Fatal(err)
			}
		}
		w.run("meshgw", "cert", "node", node, "--ca", filepath.Join(w.dir, "ca.pem"), "--ca-key", filepath.Join(w.dir, "ca-key.pem"), "--for", "24h",
			"--out", cert, "--out-key", key)
		return flags
	}
	a := w.start("eu-1", append(secured("eu-1"), "--region", "eu", "--routes", file, "--shed-cpu", "0.02", "--otlp", "http://127.0.0.1:1", "--trace-ratio", "1")...)
	calm := func(name, region string) *process { // however busy the machine is
		return w.start(name, append(secured(name), "--region", region, "--join", a.listen.Gossip, "--shed-cpu", "0")...)
	}
	b, c := calm("eu-2", "eu"), calm("us-1", "us")
	allSee(t, 15*time.Second, a, b, c)
	serve(t, b, c)
	p := startPrometheus(t, a, b, c)

	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { // requests for as long as anybody looks
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				_, _ = a.get("/orders")
				_, _ = b.get("/orders")
			}
		}
	}()
	defer func() { close(stop); <-done }()

	p.fires("MeshgwCertificateExpires", "MeshgwCertificateExpiresSoon", "MeshgwObjectsHeld", "MeshgwShedding", "MeshgwTracesDropped")
	near.kill()
	p.fires("MeshgwBreakerOpen", "MeshgwFailover")

	// What has not happened in this mesh has no series yet.
	mayBeEmpty := regexp.MustCompile(`meshgw_gossip_refused_total|changes\(`)
	eventually(t, 30*time.Second, "every query of the dashboard is answered", func() error {
		for _, q := range dashboard(t) {
			switch n, err := p.query(q); {
			case err != nil:
				return fmt.Errorf("%s: %w", q, err)
			case n == 0 && !mayBeEmpty.MatchString(q):
				return fmt.Errorf("%s: nothing", q)
			}
		}
		return nil
	})
	t.Logf("%d queries of the dashboard", len(dashboard(t)))
	var exemplars []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	now := time.Now()
	eventually(t, 5*time.Second, "there are exemplars", func() error {
		err := p.ask("/api/v1/query_exemplars", url.Values{"query": {"meshgw_request_duration_seconds_bucket"}, "start": {now.Add(-time.Hour).Format(time.RFC3339)}, "end": {now.Add(time.Minute).Format(time.RFC3339)}}, &exemplars)
		if err != nil || !slices.ContainsFunc(exemplars, func(s struct {
			Exemplars []struct{ Labels map[string]string }
		},
		) bool {
			return len(s.Exemplars) > 0 && len(s.Exemplars[0].Labels["trace_id"]) == 32
		}) {
			return fmt.Errorf("exemplars %v, %w", exemplars, err)
		}
		return nil
	})

	far.kill()
	p.fires("MeshgwNoHealthyEndpoint", "MeshgwErrors")
	b.kill()
	c.kill()
	p.fires("MeshgwNodeDown", "MeshgwMemberFailed", "MeshgwIsolated")
}
