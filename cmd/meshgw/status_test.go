package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// fakeNode answers the admin API as a node of a mesh of two, of which the other
// holds an applied table from the third look on.
func fakeNode(t *testing.T) string {
	t.Helper()
	var version, looks atomic.Uint64
	version.Store(3)
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, v any) {
		if p, ok := v.(*api.Problem); ok {
			w.Header().Set("Content-Type", api.ProblemType)
			w.WriteHeader(p.Status)
		}
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		other := uint64(3)
		if looks.Add(1) > 2 {
			other = version.Load()
		}
		reply(w, api.Status{
			Node:   api.Node{Name: "eu-1", Region: "eu", Weight: 100, Version: "v1", State: api.StateServing},
			Listen: api.Listen{HTTP: "127.0.0.1:8080"},
			Members: []api.Member{
				{Name: "eu-1", Region: "eu", Status: api.MemberAlive, RoutesVersion: version.Load()},
				{Name: "us-1", Region: "us", Status: api.MemberAlive, RoutesVersion: other},
			},
			Isolated: true,
			Routes: api.RoutesStatus{Version: version.Load(), Digest: strings.Repeat("ab", 32), Pending: []api.Pending{
				{Kind: "route", Name: "r", Reason: "its upstream is gone"}, {Kind: "file", Name: "/r.yaml", Reason: "/r.yaml:3:5: unknown key"},
			}},
			Drift: api.Drift{Nodes: []api.DriftNode{{Name: "us-1", RoutesVersion: 3, VersionsBehind: 1, Reason: "not received"}}},
			Upstreams: []api.Upstream{{
				Name: "orders", Alone: "all its endpoints are in region eu", Refused: 0.1,
				Regions: []api.RegionShare{{Region: "eu", Share: 0.65}, {Region: "us", Share: 0.25}, {Region: "apac"}},
				Endpoints: []api.Endpoint{
					{URL: "http://10.0.0.1", State: "closed", Healthy: true, Breaker: "closed", Weight: 100},
					{
						URL: "http://10.0.0.2", State: "open", Since: time.Now().Add(-90 * time.Second), Reason: "refused", Breaker: "open", Weight: 100,
						Verdicts: []api.Verdict{
							{Node: "eu-1", Check: "down", Breaker: "open", Since: time.Now().Add(-time.Hour), Reason: "status 500"},
							{Node: "us-1", Check: "up", Breaker: "closed"},
						},
					},
				},
			}},
		})
	})
	mux.HandleFunc("GET /v1/mesh", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, api.Mesh{Members: []api.MeshNode{{Node: api.Node{Name: "eu-1", Region: "eu", Weight: 100}, Status: api.MemberAlive, Address: "10.1.1.1:7946", RTTMillis: new(1.25)}}})
	})
	mux.HandleFunc("POST /v1/routes", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Header.Get("If-Match") == "1":
			reply(w, api.NewProblem(http.StatusPreconditionFailed, "the table is at version 3"))
		case q.Get("message") == "bad":
			p := api.NewProblem(http.StatusUnprocessableEntity, "the route file is not valid")
			p.Errors = []api.Mistake{{Field: "routes[1].upstream", Line: 40, Column: 50, Detail: "there is no upstream orders"}}
			reply(w, p)
		case q.Get("message") == "sent":
			doc, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			reply(w, api.NewProblem(http.StatusBadRequest, "got %s", doc)) // the status of what does not parse: exit 2
		case q.Get("dry_run") == "true":
			reply(w, api.Applied{DryRun: true, Changes: []api.Change{{Op: api.OpDelete, Kind: "route", Name: "old"}}[:len(q["prune"])]})
		default:
			looks.Store(0)
			reply(w, api.Applied{Version: version.Add(1), ID: "4@eu-1", Changes: []api.Change{{Op: api.OpCreate, Kind: "route", Name: "orders", Diff: "+ name: orders\n"}}})
		}
	})
	mux.HandleFunc("POST /v1/routes/rollback", func(w http.ResponseWriter, r *http.Request) {
		reply(w, api.Applied{Version: 3, ID: "back to " + r.URL.Query().Get("version"), Changes: []api.Change{{Op: api.OpUpdate, Kind: "route", Name: "orders"}}})
	})
	mux.HandleFunc("GET /v1/routes", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("Accept") + " " + r.URL.Query().Get("version") + "\n"))
	})
	mux.HandleFunc("GET /v1/routes/history", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, []api.Changeset{{ID: "3@eu-1", By: "ann", Message: "more orders", Conflict: true, Changes: make([]api.Change, 2)}})
	})
	mux.HandleFunc("GET /v1/routes/explain", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("mesh") == "1" {
			reply(w, meshExplanation(r.URL.Query().Get("method")))
			return
		}
		e := api.Explanation{Node: "eu-1", Version: 3, Route: "orders", Why: "longest prefix", Upstream: "orders", Near: []api.NearbyRoute{{Route: "beta", Why: r.URL.Query().Get("header")}}}
		if r.URL.Query().Get("method") == "PUT" {
			e.Route, e.Upstream, e.Why = "", "", "no route takes PUT"
		}
		reply(w, e)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// meshExplanation is what nodes say of a method that they agree on, or not.
func meshExplanation(method string) api.MeshExplanation {
	same := func(node string) api.Explanation {
		return api.Explanation{Node: node, Version: 3, Route: "orders", Why: "longest prefix"}
	}
	switch method {
	case "PUT":
		return api.MeshExplanation{Answers: []api.Explanation{same("eu-1"), {Node: "eu-2", Version: 2, Why: "no match"}, same("us-1")}}
	case "POST":
		return api.MeshExplanation{Agree: true, Answers: []api.Explanation{same("eu-1")}, Unanswered: []api.Unanswered{{Node: "us-1", Reason: "timeout"}}}
	}
	return api.MeshExplanation{Agree: true, Answers: []api.Explanation{same("eu-1"), same("us-1")}}
}

// command runs one command against the node at admin, and returns all it wrote.
func command(t *testing.T, admin string, args ...string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	code = run(t.Context(), append(args, "--admin", admin), &b, &b)
	return code, b.String()
}

func TestClientCommands(t *testing.T) {
	admin := fakeNode(t)
	file := t.TempDir() + "/routes.yaml"
	if err := os.WriteFile(file, []byte("routes:\n  - name: ${ROUTE_NAME:-orders}\n    respond: {status: 200, body: \"$${x}\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	more := t.TempDir() + "/more.yaml"
	if err := os.WriteFile(more, []byte("routes:\n  - name: b\n    upstream: orders\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROUTE_NAME", "from-env")
	for name, test := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"status":           {[]string{"status"}, 0, []string{"eu-1", "ISOLATED", "1.2 ms", "abababababab", "eu 65 %, us 25 %  10 %", "none: all its endpoints are in region eu", "healthy", "open 1m30s (refused)", "eu-1 down, breaker open 1h0m0s (status 500); us-1 up", "route r: its upstream is gone", "  file: /r.yaml:3:5: unknown key", "not received", "http 127.0.0.1:8080"}},
		"status as JSON":   {[]string{"status", "-o", "json"}, 0, []string{`"isolated": true`, `"rtt_ms": null`}},
		"apply":            {[]string{"routes", "apply", file}, 0, []string{"create route orders\n+ name: orders\n1 changes made as 4@eu-1\n"}},
		"apply and wait":   {[]string{"routes", "apply", file, "--wait", "all"}, 0, []string{"eu-1 holds version", "us-1 holds version", "2 of 2 nodes hold version"}},
		"wait for more":    {[]string{"routes", "apply", file, "--wait", "3", "--timeout", "300ms"}, 1, []string{" of 3 nodes hold version"}},
		"wait for nothing": {[]string{"routes", "apply", file, "--wait", "soon"}, 2, []string{"want all, region or a number"}},
		"stale edit":       {[]string{"routes", "apply", file, "--if-version", "1"}, 1, []string{"the table is at version 3"}},
		"invalid":          {[]string{"routes", "apply", file, more, "-m", "bad"}, 1, []string{more + ":3:15: routes[1].upstream: there is no upstream orders\n  3 |     upstream: orders\n    |               ^"}},
		"several files":    {[]string{"routes", "apply", file, more, "-m", "sent"}, 2, []string{"name: from-env\n", `body: "$${x}"`, "name: b\n    upstream: orders\n"}},
		"the same twice":   {[]string{"routes", "apply", more, more}, 1, []string{more + ":2:11: routes[1].name: \"b\" is there already"}},
		"no drift wanted":  {[]string{"status", "--drift"}, 1, []string{"DRIFT", "us-1", "not received"}},
		"drift as JSON":    {[]string{"status", "--drift", "-o", "json"}, 1, []string{`"reason": "not received"`}},
		"watch drift":      {[]string{"status", "--drift", "--watch"}, 2, []string{"--drift looks once"}},
		"no file":          {[]string{"routes", "apply", file + "x"}, 2, []string{"no such file"}},
		"no difference":    {[]string{"routes", "diff", file, more}, 0, nil},
		"a difference":     {[]string{"routes", "diff", file, "--prune"}, 1, []string{"delete route old"}},
		"rollback":         {[]string{"routes", "rollback", "2@us-1"}, 0, []string{"back to 2@us-1"}},
		"export":           {[]string{"routes", "export"}, 0, []string{"application/yaml \n"}},
		"get":              {[]string{"routes", "get"}, 0, []string{"application/yaml \n"}},
		"show as JSON":     {[]string{"routes", "show", "2", "-o", "json"}, 0, []string{"application/json 2\n"}},
		"history":          {[]string{"routes", "history"}, 0, []string{"3@eu-1", "ann", "more orders", "yes"}},
		"explain":          {[]string{"routes", "explain", "GET", "http://a/", "-H", "x: 1"}, 0, []string{"route orders answers: longest prefix", "near: beta: x: 1"}},
		"explain nothing":  {[]string{"routes", "explain", "PUT", "http://a/"}, 1, []string{"no route answers: no route takes PUT"}},
		"explain by all":   {[]string{"routes", "explain", "GET", "/", "--mesh"}, 0, []string{"route orders answers: longest prefix\nnode eu-1, us-1, table 3"}},
		"nodes differ":     {[]string{"routes", "explain", "PUT", "/", "--mesh"}, 1, []string{"node eu-1, us-1, table 3", "no route answers: no match\nnode eu-2, table 2", "the nodes differ"}},
		"a silent node":    {[]string{"routes", "explain", "POST", "/", "--mesh", "-o", "text"}, 1, []string{"us-1 did not answer: timeout"}},
		"differ as JSON":   {[]string{"routes", "explain", "PUT", "/", "--mesh", "-o", "json"}, 1, []string{`"agree": false`}},
		"not a node":       {[]string{"drain"}, 1, []string{"is it the admin address of a meshgw node?"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := command(t, admin, test.args...)
			if code != test.code {
				t.Errorf("exit %d, want %d: %s", code, test.code, out)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("output lacks %q:\n%s", want, out)
				}
			}
		})
	}
}

func TestStatusWatchLooksAgainUntilInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var drawn int
	var b bytes.Buffer
	out := writerFunc(func(p []byte) (int, error) {
		if drawn += bytes.Count(p, []byte("MEMBER")); drawn >= 2 {
			cancel()
		}
		return b.Write(p)
	})
	if code := run(ctx, []string{"status", "--watch", "--interval", "1ms", "--admin", fakeNode(t)}, out, out); code != 0 {
		t.Errorf("exit %d: %s", code, b.String())
	}
	if drawn < 2 {
		t.Errorf("drawn %d times: %s", drawn, b.String())
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
