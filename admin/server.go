package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/api"
)

// Node is the node that the server reports on. Its methods must be safe for
// concurrent use and must not block, except where they say so.
type Node interface {
	Status() api.Status
	Mesh() api.Mesh
	// Limits returns the limits and who uses them, as the node or the whole mesh
	// knows, and takes until ctx ends at most; key picks some of them.
	Limits(ctx context.Context, key string, mesh bool) []api.LimitUse
	// Traffic returns the requests of this node's clients or, for the whole mesh, of
	// all nodes', and takes until ctx ends at most.
	Traffic(ctx context.Context, mesh bool) api.Traffic
	// Request returns what the node saw of a request or, for the whole mesh, what
	// all did, and takes until ctx ends at most. What it refuses is an *api.Problem,
	// of status 404 where nobody remembers the request.
	Request(ctx context.Context, id string, mesh bool) (api.RequestTrace, error)
	// EndpointUse returns what all nodes have to do with the endpoint of a URL, and
	// takes until ctx ends at most.
	EndpointUse(ctx context.Context, url string) api.EndpointUse
	// Events returns what the node logged lately or, for the whole mesh, what all
	// did, and takes until ctx ends at most.
	Events(ctx context.Context, mesh bool) api.Events
	// Doctor looks for what is wrong in the whole mesh, and takes until ctx ends at
	// most.
	Doctor(ctx context.Context) api.Diagnosis
	Ready() (ok bool, why string) // why not, where it is not
	Drain()
	Undrain()
	// Reload reads the files of the node's settings again. It returns
	// what could not be read, whose old version stays in use.
	Reload() error
	// SetWeight changes the node's capacity relative to others; what it refuses
	// is an *api.Problem.
	SetWeight(weight int) error
	// SetClock makes the node's wall clock wrong by offset; what it refuses is an
	// *api.Problem.
	SetClock(offset time.Duration) error
	Bans
	Keys
}

// Routes is the route table, which the server reads and changes. It must be
// safe for concurrent use. Its errors are *api.Problem, with the status to
// answer: 404 for an unknown version, 412 for a failed precondition, 422 for a
// document with mistakes, all of which are listed.
type Routes interface {
	// Document returns the table as a route file, YAML or JSON. version is that
	// of a changeset, VERSION or VERSION@NODE, or empty for the table of now.
	Document(version string, asJSON bool) (doc []byte, of api.RoutesVersion, err error)
	// Validate checks a route file, YAML or JSON.
	Validate(doc []byte) error
	// Apply applies one. It heeds IfMatch, Prune, DryRun, Message and By; the
	// waiting is the server's.
	Apply(ctx context.Context, doc []byte, o api.ApplyOptions) (api.Applied, error)
	// Rollback makes the content of a version a new one, with the same options.
	Rollback(ctx context.Context, version string, o api.ApplyOptions) (api.Applied, error)
	// History returns the changesets that are remembered, the newest first.
	History() []api.Changeset
	// Explain says which route answers a request.
	Explain(r api.ExplainRequest) (api.Explanation, error)
	// ExplainMesh asks every node, and takes until ctx ends at most.
	ExplainMesh(ctx context.Context, r api.ExplainRequest) (api.MeshExplanation, error)
}

const (
	maxHeader      = 64 << 10
	maxRouteFile   = 16 << 20         // some hundred thousand routes
	bodyTimeout    = 30 * time.Second // a route file over a slow line
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	defaultWait    = 30 * time.Second // for other nodes to hold a table
	maxWait        = 10 * time.Minute
	shutdownWithin = 2 * time.Second // a scrape ends; a waiting apply is told and ends
)

// Server serves the admin API. Make one with New.
type Server struct {
	node    Node
	routes  Routes
	live    *live
	handler http.Handler
	log     zerolog.Logger
}

// New returns the server of a node and its routes. Without tokens, requests
// from other hosts are refused, unless open admits everybody.
func New(node Node, routes Routes, tokens Tokens, open bool, metrics prometheus.Gatherer, log zerolog.Logger) *Server {
	s := &Server{node: node, routes: routes, live: newLive(node), log: log}
	for _, t := range tokens {
		if t.weak {
			log.Warn().Str("by", t.Name).Msgf("admin token of less than %d characters: it can be guessed", minToken)
		}
	}
	s.handler = harden(guard(tokens, open && len(tokens) == 0, log, audit(log, s.mux(metrics))))
	return s
}

// ServeHTTP answers one request, after guard has admitted it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve serves connections to ln until ctx is done, and closes ln. It returns
// when every request has been answered or aborted.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	asked, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	wg.Go(func() { s.live.run(asked) })
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      maxWait + time.Minute,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return asked },
		ErrorLog:          log.New(s.log, "", 0),
	}
	stopped := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(stopped)
		stop()
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWithin)
		defer cancel()
		if server.Shutdown(within) != nil {
			_ = server.Close() // what did not end in time is cut off
		}
	})
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		if !unwatch() {
			<-stopped
		}
		_ = server.Close()
		return fmt.Errorf("serve admin: %w", err)
	}
	<-stopped
	return nil
}

func (s *Server) mux(metrics prometheus.Gatherer) *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", s.page)
	m.HandleFunc("GET /ui/", s.page)
	m.HandleFunc("GET /healthz", s.healthz)
	m.HandleFunc("GET /readyz", s.readyz)
	m.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	m.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.node.Status()) })
	m.HandleFunc("GET /v1/mesh", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.node.Mesh()) })
	m.HandleFunc("GET /v1/upstreams", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.node.Status().Upstreams) })
	m.HandleFunc("GET /v1/endpoints", s.endpoints)
	m.HandleFunc("GET /v1/limits", s.limits)
	m.HandleFunc("GET /v1/traffic", s.traffic)
	m.HandleFunc("GET /v1/requests/{id}", s.request)
	m.HandleFunc("GET /v1/events", s.events)
	m.HandleFunc("GET /v1/live", s.stream)
	m.HandleFunc("GET /v1/doctor", func(w http.ResponseWriter, r *http.Request) { answer(w, s.node.Doctor(r.Context())) })
	m.HandleFunc("POST /v1/drain", typed(func(w http.ResponseWriter, _ *http.Request) { s.node.Drain(); answer(w, s.node.Status().Node) }))
	m.HandleFunc("POST /v1/reload", typed(s.reload))
	m.HandleFunc("POST /v1/undrain", typed(func(w http.ResponseWriter, _ *http.Request) { s.node.Undrain(); answer(w, s.node.Status().Node) }))
	m.HandleFunc("POST /v1/weight", typed(s.weight))
	m.HandleFunc("POST /v1/chaos/clock", typed(s.clock))
	m.HandleFunc("GET /v1/keys", s.keys)
	m.HandleFunc("POST /v1/keys/install", typed(changeKey(s.node.InstallKey)))
	m.HandleFunc("POST /v1/keys/use", typed(changeKey(s.node.UseKey)))
	m.HandleFunc("POST /v1/keys/remove", typed(changeKey(s.node.RemoveKey)))
	m.HandleFunc("GET /v1/bans", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.node.Bans()) })
	m.HandleFunc("POST /v1/bans", typed(s.ban))
	m.HandleFunc("POST /v1/bans/remove", typed(s.unban))
	m.HandleFunc("GET /v1/routes", s.document)
	m.HandleFunc("POST /v1/routes", typed(s.apply))
	m.HandleFunc("POST /v1/routes/validate", typed(s.validate))
	m.HandleFunc("POST /v1/routes/rollback", typed(s.rollback))
	m.HandleFunc("GET /v1/routes/history", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.routes.History()) })
	m.HandleFunc("GET /v1/routes/explain", s.explain)
	m.HandleFunc("GET /v1/routes/schema", schema)
	m.HandleFunc("GET /debug/pprof/", pprof.Index)
	m.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	m.HandleFunc("/", unknown(m))
	return m
}

// reload answers 422 with what could not be read, whose old version stays in use.
func (s *Server) reload(w http.ResponseWriter, _ *http.Request) {
	if err := s.node.Reload(); err != nil {
		refuse(w, api.NewProblem(http.StatusUnprocessableEntity, "%v", err))
		return
	}
	answer(w, s.node.Status().Node)
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("ok\n"))
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if ok, why := s.node.Ready(); !ok {
		refuse(w, api.NewProblem(http.StatusServiceUnavailable, "%s", why))
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

func (s *Server) limits(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	mesh, err := wholeMesh(query)
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, s.node.Limits(r.Context(), query.Get("key"), mesh))
}

func (s *Server) traffic(w http.ResponseWriter, r *http.Request) {
	mesh, err := wholeMesh(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, s.node.Traffic(r.Context(), mesh))
}

func (s *Server) endpoints(w http.ResponseWriter, r *http.Request) {
	url := r.URL.Query().Get("url")
	if url == "" {
		refuse(w, api.NewProblem(http.StatusBadRequest, "want ?url= of an endpoint"))
		return
	}
	answer(w, s.node.EndpointUse(r.Context(), url))
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	mesh, err := wholeMesh(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, s.node.Events(r.Context(), mesh))
}

func (s *Server) request(w http.ResponseWriter, r *http.Request) {
	mesh, err := wholeMesh(r.URL.Query())
	var trace api.RequestTrace
	if err == nil {
		trace, err = s.node.Request(r.Context(), r.PathValue("id"), mesh)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, trace)
}

func (s *Server) weight(w http.ResponseWriter, r *http.Request) {
	var ask api.Weight
	doc, err := body(w, r)
	if err == nil {
		err = strictly(doc, &ask)
	}
	if err == nil {
		err = s.node.SetWeight(ask.Weight)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, s.node.Status().Node)
}

func (s *Server) clock(w http.ResponseWriter, r *http.Request) {
	var ask api.Clock
	doc, err := body(w, r)
	if err == nil {
		err = strictly(doc, &ask)
	}
	var offset time.Duration
	if err == nil {
		if offset, err = time.ParseDuration(ask.Offset); err != nil {
			err = api.NewProblem(http.StatusUnprocessableEntity, "offset %q: want a length of time such as 90m or -24h", ask.Offset)
		}
	}
	if err == nil {
		err = s.node.SetClock(offset)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, s.node.Status().Node)
}

// strictly reads one JSON value without unknown fields.
func strictly(doc []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return api.NewProblem(http.StatusBadRequest, "read body: %v", err)
	}
	if d.More() {
		return api.NewProblem(http.StatusBadRequest, "read body: more than one value")
	}
	return nil
}
