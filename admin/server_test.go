package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/meshgw/meshgw/admin"
	"github.com/meshgw/meshgw/api"
)

const (
	readToken  = "a-token-that-reads"
	writeToken = "a-token-that-writes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a node and a table of one version, which holds what was last applied.
type node struct {
	draining atomic.Bool
	unread   error // by Reload
	weight   atomic.Int64
	clock    atomic.Int64
	version  atomic.Uint64
	options  atomic.Pointer[api.ApplyOptions]
}

func (n *node) Status() api.Status {
	state := api.StateServing
	if n.draining.Load() {
		state = api.StateDraining
	}
	return api.Status{
		Node: api.Node{Name: "a", Region: "eu", State: state, Weight: int(n.weight.Load())},
		Members: []api.Member{
			{Name: "a", Region: "eu", Status: api.MemberAlive, RoutesVersion: n.version.Load()},
			{Name: "b", Region: "us", Status: api.MemberAlive, RoutesVersion: 1},
			{Name: "c", Region: "us", Status: api.MemberFailed},
		},
		Upstreams: []api.Upstream{{Name: "<orders>", Endpoints: []api.Endpoint{{URL: "http://10.0.0.1", Healthy: true}}}},
		Drift:     api.Drift{Nodes: []api.DriftNode{{Name: "b", RoutesVersion: 1, Reason: "not received"}}},
	}
}

func (n *node) Limits(_ context.Context, key string, mesh bool) []api.LimitUse {
	l := api.LimitUse{Limit: api.Limit{Name: "l", Rate: "10/s", Scope: "mesh"}, Keys: []api.LimitKey{{Key: key}}}
	if mesh {
		l.Unanswered = []api.Unanswered{{Node: "b", Reason: "it is away"}}
	}
	return []api.LimitUse{l}
}

func (n *node) Traffic(_ context.Context, mesh bool) api.Traffic {
	t := api.Traffic{Routes: []api.RouteTraffic{{Route: "orders", TrafficRates: api.TrafficRates{RPS: 10}}}, Nodes: []api.NodeTraffic{{Node: "a"}}}
	if mesh {
		t.Nodes = append(t.Nodes, api.NodeTraffic{Node: "b"})
	}
	return t
}

func (n *node) Request(_ context.Context, id string, mesh bool) (api.RequestTrace, error) {
	if id != "known" {
		return api.RequestTrace{}, api.NewProblem(http.StatusNotFound, "no request %q", id)
	}
	t := api.RequestTrace{RequestID: id, Seen: []api.RequestSeen{{Node: "a", Path: "/<b>"}}, Unanswered: []api.Unanswered{}}
	if mesh {
		t.Unanswered = append(t.Unanswered, api.Unanswered{Node: "c", Reason: "out of reach"})
	}
	return t, nil
}

func (n *node) Doctor(context.Context) api.Diagnosis {
	return api.Diagnosis{Node: "a", Checks: []api.Check{{Name: api.CheckRoutes, Summary: "<b>"}}}
}

func (n *node) EndpointUse(_ context.Context, url string) api.EndpointUse {
	return api.EndpointUse{URL: url}
}

func (n *node) Events(_ context.Context, mesh bool) api.Events {
	e := api.Events{Events: []api.Event{{Node: "a", Message: "table in service"}}}
	if mesh {
		e.Events = append(e.Events, api.Event{Node: "b"})
	}
	return e
}

func (n *node) Mesh() api.Mesh {
	return api.Mesh{Node: "a", Members: []api.MeshNode{{Node: api.Node{Name: "b"}, Status: api.MemberAlive}}}
}
func (n *node) Ready() (bool, string) { return !n.draining.Load(), "draining" }
func (n *node) Drain()                { n.draining.Store(true) }
func (n *node) Reload() error         { return n.unread }
func (n *node) Undrain()              { n.draining.Store(false) }

func (n *node) SetWeight(weight int) error {
	if weight < 1 {
		return api.NewProblem(http.StatusUnprocessableEntity, "weight %d", weight)
	}
	n.weight.Store(int64(weight))
	return nil
}

func (n *node) SetClock(offset time.Duration) error {
	n.clock.Store(int64(offset))
	return nil
}

func (n *node) Document(version string, asJSON bool) ([]byte, api.RoutesVersion, error) {
	if version != "" {
		return nil, api.RoutesVersion{}, api.NewProblem(http.StatusNotFound, "no version %s", version)
	}
	doc := "routes: []\n"
	if asJSON {
		doc = `{"routes":[]}`
	}
	return []byte(doc), api.RoutesVersion{Version: n.version.Load(), Digest: "0123456789abcdef"}, nil
}

func (n *node) Validate(doc []byte) error {
	if string(doc) == "bad" {
		p := api.NewProblem(http.StatusUnprocessableEntity, "not valid")
		p.Errors = []api.Mistake{{Field: "routes", Line: 1, Column: 2, Detail: "want a list"}}
		return p
	}
	return nil
}

func (n *node) Apply(_ context.Context, doc []byte, o api.ApplyOptions) (api.Applied, error) {
	n.options.Store(&o)
	if string(doc) == "broken" {
		return api.Applied{}, errors.New("disk is full")
	}
	return api.Applied{Version: n.version.Add(1), Digest: "0123456789abcdef"}, n.Validate(doc)
}

func (n *node) Rollback(_ context.Context, version string, o api.ApplyOptions) (api.Applied, error) {
	n.options.Store(&o)
	return api.Applied{Version: n.version.Add(1), ID: version}, nil
}
func (n *node) History() []api.Changeset { return []api.Changeset{{ID: "1@a", Version: 1}} }
func (n *node) Explain(r api.ExplainRequest) (api.Explanation, error) {
	return api.Explanation{Route: r.Method + " " + r.URL + " " + strings.Join(r.Headers, ",")}, nil
}

func (n *node) ExplainMesh(_ context.Context, r api.ExplainRequest) (api.MeshExplanation, error) {
	e, err := n.Explain(r)
	return api.MeshExplanation{Answers: []api.Explanation{e}, Unanswered: []api.Unanswered{{Node: "b", Reason: "late"}}}, err
}

func start(t *testing.T, n *node, tokens admin.Tokens, open bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, n, tokens, open)
}

func serve(t *testing.T, ln net.Listener, n *node, tokens admin.Tokens, open bool) string {
	t.Helper()
	s := admin.New(n, n, tokens, open, prometheus.NewRegistry(), zerolog.Nop())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + ln.Addr().String()
}

func tokens(t *testing.T) admin.Tokens {
	t.Helper()
	all, err := admin.ParseTokens("tokens", []byte("# who may ask\nreader read "+readToken+"\n\nwriter write "+writeToken+"\n"), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

type reply struct {
	StatusCode int
	Header     http.Header
}

// ask sends one request with headers given as pairs; Host is one of them.
func ask(t *testing.T, method, url, body string, headers ...string) (reply, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header}, string(got)
}

func TestLoopbackAnswersWithoutATokenOnlyWhatIsPlainlyLocal(t *testing.T) {
	url := start(t, &node{}, nil, false)
	for name, test := range map[string]struct {
		method, path string
		headers      []string
		want         int
	}{
		"plain":                       {"GET", "/v1/status", nil, 200},
		"localhost":                   {"GET", "/v1/status", []string{"Host", "LocalHost:9901"}, 200},
		"localhost without port":      {"GET", "/v1/status", []string{"Host", "localhost"}, 200},
		"ipv6":                        {"GET", "/v1/status", []string{"Host", "[::1]:9901"}, 200},
		"another name":                {"GET", "/v1/status", []string{"Host", "rebound.example.com"}, 403},
		"a name that looks like it":   {"GET", "/v1/status", []string{"Host", "localhost.example.com"}, 403},
		"probe by another name":       {"GET", "/healthz", []string{"Host", "rebound.example.com"}, 403},
		"page by another name":        {"GET", "/", []string{"Host", "rebound.example.com"}, 403},
		"pprof by another name":       {"GET", "/debug/pprof/", []string{"Host", "rebound.example.com"}, 403},
		"via":                         {"GET", "/v1/status", []string{"Via", "1.1 x"}, 403},
		"forwarded":                   {"GET", "/metrics", []string{"Forwarded", "for=1.2.3.4"}, 403},
		"x-forwarded-for":             {"GET", "/v1/status", []string{"X-Forwarded-For", "1.2.3.4"}, 403},
		"x-forwarded-anything":        {"GET", "/v1/status", []string{"X-Forwarded-Port", "1"}, 403},
		"own origin":                  {"GET", "/v1/status", []string{"Host", "localhost:1", "Origin", "http://localhost:1"}, 200},
		"another origin":              {"GET", "/v1/status", []string{"Origin", "http://evil.example.com"}, 403},
		"null origin":                 {"GET", "/v1/status", []string{"Origin", "null"}, 403},
		"two origins":                 {"GET", "/v1/status", []string{"Host", "localhost:1", "Origin", "http://localhost:1", "Origin", "http://e"}, 403},
		"an image of another page":    {"GET", "/debug/pprof/profile", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		"of another port's page":      {"GET", "/v1/status", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		"of our own page":             {"GET", "/v1/status", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"typed in":                    {"GET", "/v1/status", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		"a link to our page":          {"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 200},
		"a link to anything else":     {"GET", "/v1/doctor", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 403},
		"x-real-ip":                   {"GET", "/v1/status", []string{"X-Real-IP", "1.2.3.4"}, 403},
		"write":                       {"POST", "/v1/drain", []string{"Content-Type", "application/json"}, 200},
		"write with parameters":       {"POST", "/v1/drain", []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		"write as a form":             {"POST", "/v1/drain", []string{"Content-Type", "text/plain"}, 415},
		"write without type or body":  {"POST", "/v1/drain", nil, 200},
		"write with an empty type":    {"POST", "/v1/drain", []string{"Content-Type", ""}, 415},
		"write from another origin":   {"POST", "/v1/drain", []string{"Content-Type", "application/json", "Origin", "http://e"}, 403},
		"a token that nobody gave":    {"GET", "/v1/status", []string{"Authorization", "Bearer x"}, 200},
		"unknown path":                {"GET", "/v2", nil, 404},
		"unknown path of the page":    {"GET", "/ui/no.js", nil, 404},
		"change of an unknown path":   {"POST", "/v2", []string{"Content-Type", "text/plain"}, 404},
		"known path, another method":  {"PUT", "/v1/status", []string{"Content-Type", "text/plain"}, 405},
		"head of the page":            {"HEAD", "/", nil, 200},
		"debug pages by their guards": {"GET", "/debug/pprof/", nil, 200},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := ask(t, test.method, url+test.path, "", test.headers...)
			if resp.StatusCode != test.want {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, test.want, body)
			}
			if got := resp.Header.Get("Content-Type"); test.want >= 400 && got != api.ProblemType {
				t.Errorf("content type %q, want %q", got, api.ProblemType)
			}
		})
	}
}

func TestAnEndpointIsAskedForByItsURL(t *testing.T) {
	url := start(t, &node{}, nil, false)
	if resp, body := ask(t, "GET", url+"/v1/endpoints?url=http%3A%2F%2F10.0.0.1", ""); resp.StatusCode != 200 || !strings.Contains(body, `"http://10.0.0.1"`) {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
	if resp, body := ask(t, "GET", url+"/v1/endpoints", ""); resp.StatusCode != 400 {
		t.Errorf("without a URL: status %d: %s", resp.StatusCode, body)
	}
}

func TestAReloadTellsWhatCouldNotBeRead(t *testing.T) {
	n := &node{}
	url := start(t, n, nil, false)
	if resp, body := ask(t, "POST", url+"/v1/reload", ""); resp.StatusCode != 200 {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
	n.unread = errors.New("keyring not reloaded")
	if resp, body := ask(t, "POST", url+"/v1/reload", ""); resp.StatusCode != 422 || !strings.Contains(body, "keyring not reloaded") {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

func TestTokensDecideWhoReadsAndWhoWrites(t *testing.T) {
	url := start(t, &node{}, tokens(t), false)
	for name, test := range map[string]struct {
		method, token string
		want          int
	}{
		"reader reads":      {"GET", "Bearer " + readToken, 200},
		"writer reads":      {"GET", "bearer " + writeToken, 200},
		"reader writes":     {"POST", "Bearer " + readToken, 403},
		"writer writes":     {"POST", "Bearer " + writeToken, 200},
		"unknown":           {"GET", "Bearer x", 401},
		"no bearer":         {"GET", "Basic " + readToken, 401},
		"the token's start": {"GET", "Bearer " + readToken[:5], 401},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/v1/mesh"
			if test.method == "POST" {
				path = "/v1/undrain"
			}
			// A token is believed by any name and through a proxy.
			resp, body := ask(t, test.method, url+path, "", "Authorization", test.token, "Content-Type", "application/json", "Host", "gw.example.com", "Via", "1.1 x")
			if resp.StatusCode != test.want {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, test.want, body)
			}
			if test.want == 401 && resp.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("401 without WWW-Authenticate")
			}
		})
	}
}

// elsewhere says of its connections that they came over another interface.
type elsewhere struct{ net.Listener }

type distant struct{ net.Conn }

func (l elsewhere) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return distant{c}, err
}
func (distant) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 9901} }

func TestOffLoopbackAsksForATokenExceptOfProbes(t *testing.T) {
	for name, test := range map[string]struct {
		tokens       admin.Tokens
		open         bool
		path, bearer string
		want         int
	}{
		"status":                    {tokens(t), false, "/v1/status", "", 401},
		"status with token":         {tokens(t), false, "/v1/status", readToken, 200},
		"status, open but tokens":   {tokens(t), true, "/v1/status", "", 401},
		"status, open":              {nil, true, "/v1/status", "", 200},
		"status, neither":           {nil, false, "/v1/status", "", 401},
		"metrics":                   {tokens(t), false, "/metrics", "", 401},
		"alive":                     {tokens(t), false, "/healthz", "", 200},
		"ready":                     {tokens(t), false, "/readyz", "", 200},
		"ready with a wrong bearer": {tokens(t), false, "/readyz", "x", 401},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			url := serve(t, elsewhere{ln}, &node{}, test.tokens, test.open)
			var headers []string
			if test.bearer != "" {
				headers = []string{"Authorization", "Bearer " + test.bearer}
			}
			if resp, body := ask(t, "GET", url+test.path, "", headers...); resp.StatusCode != test.want {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, test.want, body)
			}
		})
	}
}

func TestReadinessFailsWhileDraining(t *testing.T) {
	n := &node{}
	client := clientOf(t, start(t, n, nil, false))
	ready := func() int {
		resp, _ := ask(t, "GET", client.Base()+"/readyz", "")
		return resp.StatusCode
	}
	if got := ready(); got != 200 {
		t.Errorf("before: %d", got)
	}
	if err := client.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ready(); got != 503 {
		t.Errorf("draining: %d", got)
	}
	if err := client.Undrain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ready(); got != 200 {
		t.Errorf("after: %d", got)
	}
}

func TestAClockIsSetOrRefused(t *testing.T) {
	n := &node{}
	client := clientOf(t, start(t, n, nil, false))
	if err := client.SetClock(t.Context(), -90*time.Minute); err != nil || n.clock.Load() != int64(-90*time.Minute) {
		t.Errorf("the clock is off by %v, %v", time.Duration(n.clock.Load()), err)
	}
	for body, want := range map[string]int{`{"offset":"soon"}`: 422, `{}`: 422, `{"by":"1h"}`: 400, `{"offset":3}`: 400} {
		if resp, got := ask(t, "POST", client.Base()+"/v1/chaos/clock", body, "Content-Type", "application/json"); resp.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", body, resp.StatusCode, got, want)
		}
	}
}

func TestAWeightIsSetOrRefused(t *testing.T) {
	n := &node{}
	client := clientOf(t, start(t, n, nil, false))
	if err := client.SetWeight(t.Context(), 50); err != nil {
		t.Fatal(err)
	}
	if s, err := client.Status(t.Context()); err != nil || s.Node.Weight != 50 {
		t.Errorf("the weight is %d, %v", s.Node.Weight, err)
	}
	for body, want := range map[string]int{`{"weight":0}`: 422, `{}`: 422, `{"wait":5}`: 400, `{"weight":1.5}`: 400, `5`: 400, ``: 400, `{"weight":5}{}`: 400} {
		resp, got := ask(t, "POST", client.Base()+"/v1/weight", body, "Content-Type", "application/json")
		if resp.StatusCode != want || n.weight.Load() != 50 {
			t.Errorf("%s: %d %s, want %d", body, resp.StatusCode, got, want)
		}
	}
}

func clientOf(t *testing.T, url string) *api.Client {
	t.Helper()
	c, err := api.New(url, "", &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheTableIsReadAsItIsAccepted(t *testing.T) {
	url := start(t, &node{}, nil, false)
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/json": "application/json", "application/yaml": "application/yaml",
		"text/html, application/yaml;q=0.9": "application/yaml", "application/yaml, application/json": "application/yaml",
	} {
		resp, _ := ask(t, "GET", url+"/v1/routes", "", "Accept", accept)
		if got := resp.Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %q, want %q", accept, got, want)
		}
		if got := resp.Header.Get("ETag"); got != `"0-0123456789ab"` {
			t.Errorf("ETag = %s", got)
		}
	}
	for known, want := range map[string]int{`"0-0123456789ab"`: 304, `"1-x", W/"0-0123456789ab"`: 304, "*": 304, `"0-x"`: 200} {
		if resp, body := ask(t, "GET", url+"/v1/routes", "", "If-None-Match", known); resp.StatusCode != want || want == 304 && body != "" {
			t.Errorf("If-None-Match %s: %d %q, want %d", known, resp.StatusCode, body, want)
		}
	}
	if _, _, err := clientOf(t, url).Document(t.Context(), "7", false); err == nil || err.Error() != "no version 7" {
		t.Errorf("err = %v, want no version 7", err)
	}
}

func TestApplyPassesItsOptionsOn(t *testing.T) {
	n := &node{}
	applied, err := clientOf(t, start(t, n, nil, false)).Apply(t.Context(), []byte("x"), api.ApplyOptions{
		IfMatch: "3", Prune: true, DryRun: true, Message: "why & how", Wait: "all", Timeout: time.Minute, By: "somebody else",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := api.ApplyOptions{IfMatch: "3", Prune: true, DryRun: true, Message: "why & how", Wait: "all", Timeout: time.Minute, By: "local@127.0.0.1"}
	if got := *n.options.Load(); got != want {
		t.Errorf("options = %+v, want %+v", got, want)
	}
	if applied.Wait != nil {
		t.Error("a dry run waited")
	}
}

func TestApplyTellsWhoIsLate(t *testing.T) {
	n := &node{}
	client := clientOf(t, start(t, n, nil, false))
	n.version.Store(4)
	for what, want := range map[string]api.Wait{
		"all": {Wanted: 2, Held: 1}, "region": {Wanted: 1, Held: 1}, "1": {Wanted: 1, Held: 1}, "3": {Wanted: 3, Held: 1},
	} {
		applied, err := client.Apply(t.Context(), []byte("x"), api.ApplyOptions{Wait: what, Timeout: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		w := *applied.Wait
		if w.Wanted != want.Wanted || w.Held != want.Held {
			t.Errorf("wait %s: %d of %d, want %d of %d", what, w.Held, w.Wanted, want.Held, want.Wanted)
		}
		if what == "all" && (len(w.Late) != 1 || w.Late[0].Reason != "not received") {
			t.Errorf("late = %+v", w.Late)
		}
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	url := start(t, &node{}, nil, false)
	for name, test := range map[string]struct {
		path, body string
		want       int
	}{
		"not valid":             {"/v1/routes", "bad", 422},
		"validate":              {"/v1/routes/validate", "bad", 422},
		"fault of the node":     {"/v1/routes", "broken", 500},
		"misspelt option":       {"/v1/routes?dryrun=1", "x", 400},
		"option without sense":  {"/v1/routes?prune=maybe", "x", 400},
		"wait for nobody":       {"/v1/routes?wait=0", "x", 400},
		"bad timeout":           {"/v1/routes?timeout=5", "x", 400},
		"bad query":             {"/v1/routes?dry_run=%zz", "x", 400},
		"rollback to nothing":   {"/v1/routes/rollback", "", 400},
		"larger than the bound": {"/v1/routes", strings.Repeat("x", 16<<20+1), 413},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := ask(t, "POST", url+test.path, test.body, "Content-Type", "application/yaml")
			var p api.Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != test.want || p.Status != test.want || p.Detail == "" {
				t.Errorf("%d: %s, want %d", resp.StatusCode, body, test.want)
			}
		})
	}
}

func TestRollbackHistoryAndExplain(t *testing.T) {
	client := clientOf(t, start(t, &node{}, nil, false))
	if applied, err := client.Rollback(t.Context(), "2@b", api.ApplyOptions{}); err != nil || applied.ID != "2@b" {
		t.Errorf("rollback: %+v, %v", applied, err)
	}
	if history, err := client.History(t.Context()); err != nil || len(history) != 1 || history[0].ID != "1@a" {
		t.Errorf("history: %+v, %v", history, err)
	}
	e, err := client.Explain(t.Context(), api.ExplainRequest{Method: "GET", URL: "http://x/?a=b", Headers: []string{"a: b", "c: d"}})
	if err != nil || e.Route != "GET http://x/?a=b a: b,c: d" {
		t.Errorf("explain: %+v, %v", e, err)
	}
	all, err := client.ExplainMesh(t.Context(), api.ExplainRequest{Method: "GET", URL: "/", Headers: []string{"a: b"}})
	if err != nil || len(all.Answers) != 1 || all.Answers[0].Route != "GET / a: b" || len(all.Unanswered) != 1 {
		t.Errorf("explain of the mesh: %+v, %v", all, err)
	}
	if up, err := client.Upstreams(t.Context()); err != nil || len(up) != 1 {
		t.Errorf("upstreams: %+v, %v", up, err)
	}
}

func TestTheSchemaOfRouteFilesIsServed(t *testing.T) {
	resp, body := ask(t, "GET", start(t, &node{}, nil, false)+"/v1/routes/schema", "")
	if media := resp.Header.Get("Content-Type"); media != "application/schema+json" || !json.Valid([]byte(body)) || !strings.Contains(body, "upstreams") {
		t.Errorf("%s: %s", media, body)
	}
}

func TestARollbackIsNamedInItsQueryOrItsBody(t *testing.T) {
	url := start(t, &node{}, nil, false) + "/v1/routes/rollback"
	for name, test := range map[string]struct {
		query, body, want string
		status            int
	}{
		"query":         {"?version=2@b", "", `"id": "2@b"`, 200},
		"number":        {"", `{"version": 2}`, `"id": "2"`, 200},
		"changeset":     {"", `{"version": "2@b"}`, `"id": "2@b"`, 200},
		"nothing":       {"", "", "want ?version", 400},
		"nothing named": {"", "{}", "want ?version", 400},
		"another key":   {"", `{"to": 2}`, "to", 400},
	} {
		if resp, body := ask(t, "POST", url+test.query, test.body, "Content-Type", "application/json"); resp.StatusCode != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %s, want %d with %s", name, resp.StatusCode, body, test.status, test.want)
		}
	}
}

func TestAnotherMethodIsToldWhichAreAllowed(t *testing.T) {
	url := start(t, &node{}, nil, false)
	for path, want := range map[string]string{"/v1/status": "GET, HEAD", "/v1/drain": "POST", "/v1/routes": "GET, HEAD, POST"} {
		for _, method := range []string{"OPTIONS", "DELETE"} {
			if resp, _ := ask(t, method, url+path, ""); resp.StatusCode != 405 || resp.Header.Get("Allow") != want {
				t.Errorf("%s %s: %d, Allow %q, want %q", method, path, resp.StatusCode, resp.Header.Get("Allow"), want)
			}
		}
	}
}

func TestAMisspeltSwitchOfAQuestionIsRefused(t *testing.T) {
	resp, body := ask(t, "GET", start(t, &node{}, nil, false)+"/v1/routes/explain?method=GET&url=/&mesh=all", "")
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "mesh=all") {
		t.Errorf("%d: %s", resp.StatusCode, body)
	}
}

func TestMetricsAreOpenMetricsOnRequest(t *testing.T) {
	resp, body := ask(t, "GET", start(t, &node{}, nil, false)+"/metrics", "", "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("%s: %s", resp.Header.Get("Content-Type"), body)
	}
}

func TestServeEndsAWaitingApplyWhenItStops(t *testing.T) {
	n := &node{}
	s := admin.New(n, n, nil, false, prometheus.NewRegistry(), zerolog.Nop())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.version.Store(4)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	client := clientOf(t, "http://"+ln.Addr().String())
	applied := make(chan api.Wait, 1)
	go func() {
		a, err := client.Apply(context.Background(), []byte("x"), api.ApplyOptions{Wait: "all", Timeout: time.Minute})
		if err != nil || a.Wait == nil {
			t.Errorf("apply: %+v, %v", a, err)
			applied <- api.Wait{}
			return
		}
		applied <- *a.Wait
	}()
	for n.options.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	stop()
	if w := <-applied; w.Held != 1 || len(w.Late) != 1 {
		t.Errorf("wait = %+v", w)
	}
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestServeTellsOfAListenerThatBroke(t *testing.T) {
	n := &node{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := admin.New(n, n, nil, false, prometheus.NewRegistry(), zerolog.Nop()).Serve(t.Context(), ln); err == nil {
		t.Error("no error")
	}
}

func TestARequestWithoutAConnectionIsNotLocal(t *testing.T) {
	n := &node{}
	w := httptest.NewRecorder()
	admin.New(n, n, nil, false, prometheus.NewRegistry(), zerolog.Nop()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/status", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("status %d", w.Code)
	}
}
