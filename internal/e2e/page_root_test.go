//go:build root

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/admin"
	"github.com/meshgw/meshgw/api"
)

// A tab is one page of a real browser. What its page complains of, and whom it
// asks, is kept.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps a tab in its context

	mu         sync.Mutex // guards the rest
	complaints []string
	asked      map[string]bool // hosts
}

// startBrowser starts a headless Chromium with a profile of its own. The name
// gw.example.com is this machine.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	flags := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP gw.example.com 127.0.0.1"), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return ctx
}

// openTab opens a page in a tab of its own.
func openTab(browser context.Context, t *testing.T, address string, width, height int64) *tab {
	t.Helper()
	p := &tab{t: t, asked: map[string]bool{}}
	var cancel context.CancelFunc
	p.ctx, cancel = chromedp.NewContext(browser, chromedp.WithListener(p.listen))
	t.Cleanup(cancel)
	if err := chromedp.Do(p.ctx); err != nil { // the tab lives as long as this context
		t.Fatal(err)
	}
	p.run(
		func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			_, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{})
			return chromedp.Void{}, err
		},
		chromedp.EmulateViewport(width, height), chromedp.Navigate(address))
	return p
}

// listen keeps what the page complains of. That a request failed is none: some
// are meant to.
func (p *tab) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeLog && len(e.Args) > 0 {
			p.complaints = append(p.complaints, string(e.Args[0].Value))
		}
	case *runtime.EventExceptionThrown:
		p.complaints = append(p.complaints, fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		if e.Entry.Source != log.EntrySourceNetwork {
			p.complaints = append(p.complaints, e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil {
			p.asked[u.Host] = true
		}
	}
}

func (p *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// is evaluates a JavaScript expression.
func is[T any](p *tab, expression string) (value T) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// shows waits until the text of an element contains all parts.
func (p *tab) shows(selector string, parts ...string) {
	p.t.Helper()
	eventually(p.t, 40*time.Second, fmt.Sprintf("%s shows %q", selector, parts), func() error {
		text := is[string](p, fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.innerText).join('\\n')", selector))
		for _, part := range parts {
			if !strings.Contains(text, part) {
				return fmt.Errorf("no %q in %q; the page complains: %q", part, text, p.complained())
			}
		}
		return nil
	})
}

func (p *tab) complained() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.complaints)
}

// isClean fails the test where the page complained, or asked anybody but its node.
func (p *tab) isClean(host string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.complaints) > 0 {
		p.t.Errorf("the page complains: %q", p.complaints)
	}
	if len(p.asked) != 1 || !p.asked[host] {
		p.t.Errorf("the page asked %v, want %s alone", p.asked, host)
	}
}

// picture keeps a screenshot in the directory MESHGW_SHOTS, for people to look at.
func (p *tab) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("MESHGW_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// scheme is what the visitor likes, light or dark.
func (p *tab) scheme(name string) {
	p.t.Helper()
	p.run(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return chromedp.Void{}, err
	})
}

// types enters text in an element, as keys are pressed.
func (p *tab) types(selector, text string) {
	p.t.Helper()
	p.run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func TestStatusPageShowsTheMeshAsItMoves(t *testing.T) {
	w := newWorld(t)
	dead := startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"us": {startEndpoint(t, 20*time.Millisecond)}, "eu": {dead}})
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("    limits: [per-client]\nlimits:\n  - {name: per-client, rate: 1000/s, key: [client_ip]}\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	a := w.start("us-1", append(w.secured("us-1"), "--region", "us", "--routes", file)...)
	b := w.start("eu-1", append(w.secured("eu-1"), "--region", "eu", "--join", a.listen.Gossip)...)
	c := w.start("eu-2", append(w.secured("eu-2"), "--region", "eu", "--join", a.listen.Gossip)...)
	allSee(t, 15*time.Second, a, b, c)
	serve(t, a, b)
	load := startLoad(t, "GET", "/orders", 40, a, b)

	p := openTab(startBrowser(t), t, "http://"+a.listen.Admin+"/", 1440, 900)
	p.shows("#self-name", "us-1")
	p.shows("#nodes-body", "us-1 (this)", "eu-1", "eu-2", "serving")
	p.shows("#figure-nodes", "3 of 3")
	p.shows("#upstreams-body", "orders", "http://"+dead.addr, "healthy")
	p.shows("#limits-body", "per-client", "1000/s", "client_ip=127.0.0.1")
	p.shows("#traffic-body", "orders")
	p.shows("#checks", "routes", "members", "load", "traffic")
	p.shows("#events-list", "version applied")
	p.shows("#connection", "live")

	dead.kill()
	c.kill()
	p.shows("#upstreams-body", "breaker open", "connect_failure")
	p.shows("#errors-list, #checks", "cut off by its circuit breaker")
	p.shows("#figure-nodes", "2 of 3")
	p.shows("#checks", "eu-2 has failed")

	served := slices.DeleteFunc(load.soFar(), failed)
	id := served[len(served)-1].header.Get("x-request-id")
	p.types("#search-id", id+kb.Enter)
	p.shows("#request", id, "GET ", "/orders", "try 1", "answered 200", "eu-2 did not answer")
	eventually(t, time.Second, "what was found has the focus", func() error {
		if focused := is[string](p, "document.activeElement.id"); focused != "request-title" {
			return fmt.Errorf("%q has it", focused)
		}
		return nil
	})
	p.picture("mesh-light")
	p.scheme("dark")
	p.picture("mesh-dark")
	p.types("#search-id", "-no-such"+kb.Enter)
	p.shows("#request", "did not answer")
	p.isClean(a.listen.Admin)

	a.kill()
	p.shows("#connection", "no connection since")
}

// pageNode is a node that tells what a test wants it to. What the page does not
// ask for is not there.
type pageNode struct {
	admin.Node
	admin.Routes
	name   string // part of every name
	nodes  int
	routes int
	round  atomic.Int64 // of the first route's rate
}

func (n *pageNode) Status() api.Status {
	s := api.Status{
		Node:   api.Node{Name: n.name, Region: n.name, State: api.StateServing, Version: n.name},
		Routes: api.RoutesStatus{Version: 7, Digest: "0123456789abcdef", Pending: []api.Pending{{Kind: "route", Name: n.name, Reason: n.name}}},
		Drift:  api.Drift{MaxVersionsBehind: 1, Nodes: []api.DriftNode{{Name: "node-001" + n.name, RoutesVersion: 6, RoutesDigest: "ff", VersionsBehind: 1, Reason: n.name}}},
	}
	for i := range n.routes {
		u := api.Upstream{Name: fmt.Sprintf("upstream-%04d%s", i, n.name), Alone: n.name, Regions: []api.RegionShare{{Region: n.name, Share: 1}}}
		for e := range 3 {
			endpoint := api.Endpoint{URL: fmt.Sprintf("http://10.0.%d.%d:8080%s", i%256, e, n.name), Region: n.name, Weight: 100, State: "closed", Healthy: true}
			if i%100 == 0 && e == 0 {
				endpoint.State, endpoint.Healthy, endpoint.Reason = "open", false, n.name
				endpoint.Verdicts = []api.Verdict{{Node: n.name, Check: "down", Breaker: "open", Reason: n.name}}
			}
			u.Endpoints = append(u.Endpoints, endpoint)
		}
		s.Upstreams = append(s.Upstreams, u)
	}
	return s
}

func (n *pageNode) Mesh() api.Mesh {
	m := api.Mesh{Node: n.name}
	for i := range n.nodes {
		m.Members = append(m.Members, api.MeshNode{
			Node:    api.Node{Name: fmt.Sprintf("node-%03d%s", i, n.name), Region: fmt.Sprintf("region-%d%s", i%5, n.name), State: api.StateServing, Weight: 100, Version: n.name},
			Address: fmt.Sprintf("10.1.%d.1:7946", i), Status: api.MemberAlive, RTTMillis: new(float64(i) / 3), Routes: api.RoutesVersion{Version: 7, Digest: "0123456789abcdef"},
			Load: api.Load{CPU: float64(i%10) / 10, Inflight: i, RPS: float64(10 * i)},
		})
	}
	return m
}

func (n *pageNode) Limits(context.Context, string, bool) []api.LimitUse {
	return []api.LimitUse{{
		Limit: api.Limit{Name: n.name, Rate: n.name, Burst: 5, Scope: n.name}, Tracked: 2,
		Keys: []api.LimitKey{
			{Of: n.name, Kind: "rate", Home: n.name, Mode: n.name, Why: n.name, Users: []api.LimitUser{{Node: n.name, Demand: 5}}},
			{Key: n.name, Of: "second" + n.name, Kind: "concurrency", Home: n.name, Mode: "normal"},
		},
	}}
}

func (n *pageNode) Traffic(context.Context, bool) api.Traffic {
	t := api.Traffic{Seconds: 10, Total: api.TrafficRates{RPS: 1000, Errors: 3, P50: 1.5, P90: 20, P99: 1500}}
	for i := range n.routes {
		t.Routes = append(t.Routes, api.RouteTraffic{Route: fmt.Sprintf("route-%04d%s", i, n.name), TrafficRates: api.TrafficRates{RPS: float64(2*n.routes - i), P50: 1, P90: 2, P99: 3}})
	}
	t.Routes[0].Errors = 1 + float64(n.round.Load())
	for i := range n.nodes {
		t.Nodes = append(t.Nodes, api.NodeTraffic{Node: fmt.Sprintf("node-%03d%s", i, n.name), TrafficRates: api.TrafficRates{RPS: 10, P99: 3}})
	}
	return t
}

func (n *pageNode) Events(context.Context, bool) api.Events {
	name, _ := json.Marshal(n.name)
	return api.Events{Events: []api.Event{{Node: n.name, Region: n.name, Level: "warn", Message: n.name, Fields: map[string]json.RawMessage{n.name: name}}}}
}

func (n *pageNode) Doctor(context.Context) api.Diagnosis {
	d := api.Diagnosis{Node: n.name, Nodes: []string{n.name}}
	for _, name := range []string{api.CheckRoutes, api.CheckUpstreams, api.CheckMembers, api.CheckLoad, api.CheckErrors, api.CheckCertificates, api.CheckTraffic} {
		c := api.Check{Name: name, OK: name != api.CheckErrors, Summary: n.name, Findings: []api.Finding{}, Notes: []api.Finding{}}
		if !c.OK {
			c.Findings = []api.Finding{{What: "3 requests: " + n.name, Nodes: []string{n.name}, RequestID: n.name, Next: n.name}}
		}
		d.Checks = append(d.Checks, c)
	}
	return d
}

func (n *pageNode) Request(_ context.Context, id string, _ bool) (api.RequestTrace, error) {
	return api.RequestTrace{
		RequestID: id,
		Seen: []api.RequestSeen{{
			Node: n.name, Region: n.name, ClientIP: n.name, Protocol: n.name, Listener: n.name, Method: n.name, Host: n.name, Path: n.name, Route: n.name,
			Tenant: n.name, Priority: n.name, Limit: n.name, Upstream: n.name, Status: 503, Error: n.name, Detail: n.name, DurationMS: 10,
			Attempts: []api.RequestAttempt{{Endpoint: n.name, Region: n.name, Outcome: n.name, DurationMS: 5, AfterMS: 2}},
		}},
		Unanswered: []api.Unanswered{{Node: n.name, Reason: n.name}},
	}, nil
}

// servePage serves the admin port of a node that is not there, and returns its
// port.
func servePage(t *testing.T, n *pageNode, tokens string) (port string) {
	t.Helper()
	all, err := admin.ParseTokens("tokens", []byte(tokens), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- admin.New(n, n, all, false, prometheus.NewRegistry(), zerolog.Nop()).Serve(ctx, ln)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

// Names come from the wire. None becomes markup.
func TestStatusPageShowsHostileNamesAsText(t *testing.T) {
	const hostile = `"'><img src=x onerror="fetch('http://evil.example.com')"><script>alert(1)</script>`
	host := "127.0.0.1:" + servePage(t, &pageNode{name: hostile, nodes: 3, routes: 3}, "")
	p := openTab(startBrowser(t), t, "http://"+host+"/#request=an-id", 1440, 900)
	for _, selector := range []string{
		"#self-name", "#self-more", "#nodes-body", "#drift-body", "#traffic-body", "#upstreams-body", "#limits-body", "#checks", "#errors-list", "#events-list", "#request-body",
	} {
		p.shows(selector, hostile)
	}
	p.run(chromedp.Click(chromedp.CSS("#errors-list button")))
	p.shows("#request-title", "Request "+hostile)
	if n := is[int](p, "document.querySelectorAll('img, body script, [onerror]').length"); n != 0 {
		t.Errorf("%d elements have been made of names", n)
	}
	p.isClean(host)
}

func TestStatusPageAsksForATokenAndKeepsItForTheTab(t *testing.T) {
	const secret = "0123456789abcdef"
	host := "gw.example.com:" + servePage(t, &pageNode{name: "a", nodes: 3, routes: 3}, "reader read "+secret+"\n")
	p := openTab(startBrowser(t), t, "http://"+host+"/", 1280, 800)
	p.run(chromedp.WaitVisible(chromedp.CSS("#token")))
	if name := is[string](p, "document.querySelector('#self-name').innerText"); name != "…" {
		t.Errorf("without a token the page shows %q", name)
	}
	p.picture("token")
	p.types("#token-value", "wrong-wrong-wrong"+kb.Enter)
	p.shows("#token-wrong", "does not know that token")
	p.types("#token-value", secret+kb.Enter)
	p.shows("#nodes-body", "node-001")
	p.run(chromedp.Reload())
	p.shows("#nodes-body", "node-001")
	if kept := is[string](p, "JSON.stringify([sessionStorage.length, localStorage.length, document.cookie])"); kept != `[1,0,""]` {
		t.Errorf("kept: %s", kept)
	}
	if open := is[bool](p, "document.querySelector('#token').open"); open {
		t.Error("it asks again after a reload")
	}
	p.isClean(host)
}

// A hundred nodes and a thousand routes: what does not change is not drawn again,
// and what there are too many of is found by the filter.
func TestStatusPageStaysQuickWithALargeMesh(t *testing.T) {
	n := &pageNode{name: "", nodes: 100, routes: 1000}
	host := "127.0.0.1:" + servePage(t, n, "")
	p := openTab(startBrowser(t), t, "http://"+host+"/", 1440, 900)
	p.shows("#nodes-count", "100 nodes in 5 regions")
	p.shows("#traffic-more", "and 900 more")
	p.shows("#upstreams-more", "and 950 more")
	p.shows("#upstreams-body", "upstream-0900", "breaker open")
	p.types("#traffic-filter", "route-0777")
	p.shows("#traffic-body", "route-0777")
	eventually(t, time.Second, "one row fits the filter", func() error { // each letter is one
		if rows := is[int](p, "document.querySelectorAll('#traffic-body tr').length"); rows != 1 {
			return fmt.Errorf("%d rows", rows)
		}
		return nil
	})
	p.types("#traffic-filter", strings.Repeat(kb.Backspace, len("route-0777")))
	p.shows("#traffic-body", "route-0000")
	p.picture("large")

	is[any](p, `(() => {
		window.drawn = 0;
		new MutationObserver((all) => (window.drawn += all.length)).observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true });
		return 0;
	})()`)
	n.round.Store(41)
	p.shows("#traffic-body tr:first-child", "42")
	if drawn := is[int](p, "window.drawn"); drawn > 20 {
		t.Errorf("%d texts or elements were changed for one number", drawn)
	}
	p.isClean(host)
}

func TestStatusPageIsUsedByKeyboardOnAPhoneAndInTheDark(t *testing.T) {
	host := "127.0.0.1:" + servePage(t, &pageNode{name: "n", nodes: 6, routes: 5}, "")
	browser := startBrowser(t)
	p := openTab(browser, t, "http://"+host+"/", 1440, 900)
	p.shows("#nodes-body", "node-005")
	focused := func() string {
		return is[string](p, "document.activeElement.id || document.activeElement.innerText.slice(0, 30)")
	}
	p.run(chromedp.KeyEvent(kb.Tab))
	if got := focused(); got != "Skip to the content" {
		t.Errorf("the first stop is %q", got)
	}
	p.run(chromedp.KeyEvent(kb.Enter))
	if got := focused(); got != "main" {
		t.Errorf("the skip link leads to %q", got)
	}
	var stops []string
	for range 40 {
		p.run(chromedp.KeyEvent(kb.Tab))
		stops = append(stops, focused())
	}
	for _, want := range []string{"nodes-filter", "Requests/s", "traffic-filter", "upstreams-filter", "events-filter", "Trace"} {
		if !strings.Contains(strings.Join(stops, "|"), want) {
			t.Errorf("%q is not reached by Tab: %q", want, stops)
		}
	}
	if bare := is[int](p, `[...document.querySelectorAll("input")].filter((i) => i.labels.length === 0).length`); bare != 0 {
		t.Errorf("%d inputs have no label", bare)
	}
	p.picture("small-mesh")

	phone := openTab(browser, t, "http://"+host+"/", 390, 844)
	phone.shows("#nodes-body", "node-005")
	if wide := is[int](phone, "document.documentElement.scrollWidth"); wide > 390 {
		t.Errorf("the page is %d wide on a phone of 390", wide)
	}
	phone.picture("phone")
	for _, scheme := range []string{"light", "dark"} {
		phone.scheme(scheme)
		// By the relative luminance of WCAG: text on its ground wants 4.5.
		if contrast := is[float64](phone, `(() => {
			const light = (color) => color.match(/[\d.]+/g).slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
			const ground = light(getComputedStyle(document.querySelector("#nodes")).backgroundColor);
			return Math.min(...["#nodes-count", "#nodes-body th", ".pill.good", ".figure h2", "#errors-title", ".mark.bad"].map((s) => {
				const l = light(getComputedStyle(document.querySelector(s)).color);
				return (Math.max(l, ground) + 0.05) / (Math.min(l, ground) + 0.05);
			}));
		})()`); contrast < 4.5 {
			t.Errorf("%s: contrast %.1f", scheme, contrast)
		}
		if dark := is[string](phone, "getComputedStyle(document.body).backgroundColor"); (scheme == "dark") != strings.HasPrefix(dark, "rgb(15") {
			t.Errorf("%s: the ground is %s", scheme, dark)
		}
	}
	phone.picture("phone-dark")
	p.isClean(host)
	phone.isClean(host)
}
