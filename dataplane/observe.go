package dataplane

import (
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/telemetry"
)

// observe tells of a request that has ended: it counts it and writes its line.
func (s *Server) observe(x *Exchange, now time.Time, err error) {
	took := now.Sub(x.Start)
	failed, slow := err != nil || x.refused != nil || x.faulty(), took >= s.cfg.AccessLog.Slow
	if s.cfg.AccessLog.wants(failed, slow) {
		s.writeLine(x, err, took)
	}
	traced := s.cfg.Traced != nil && (x.trace.sampled || err != nil || x.faulty())
	if traced || s.cfg.Requests != nil {
		s.record(x, err, took)
	}
	if traced {
		s.cfg.Traced(&x.scratch.record)
	}
	if s.cfg.Requests != nil {
		x.scratch.recorded = s.cfg.Requests.Add(&x.scratch.record, failed || slow, x.scratch.recorded)
	}
	if x.Link {
		return // counted where it came in
	}
	series, traffic := s.metrics.unrouted, s.unrouted
	if x.rule != nil {
		series, traffic = x.rule.own, x.rule.traffic
	}
	_, cut := isCut(err)
	traffic.Add(took, cut || x.faulty())
	if x.target != nil {
		region := s.cfg.Region
		if x.endpoint != nil {
			region = x.endpoint.state.Region()
		}
		series = x.target.series[region]
		if region != s.cfg.Region {
			s.metrics.failovers.WithLabelValues(x.target.upstream.Name, s.cfg.Region, region).Inc()
		}
	}
	series.count(x.status)
	if x.grpc {
		s.metrics.calls.WithLabelValues(series.labels[0], series.labels[1], x.called.String()).Inc()
	}
	durations := series.durations()
	durations.request.Observe(took.Seconds())
	if x.upstream > 0 {
		durations.upstream.Observe(x.upstream.Seconds())
	}
}

// faulty reports whether the answer was an error of who served.
func (x *Exchange) faulty() bool { return x.status >= 500 || x.called.faulty() }

// errorOf is what went wrong as users see it; empty for nothing.
func errorOf(x *Exchange, err error) string {
	_, cut := isCut(err)
	switch {
	case errors.Is(err, errClientLeft):
		return clientGone
	case x.refused != nil:
		return x.refused.code.String()
	case cut:
		return UpstreamReset.String()
	case err != nil:
		return clientGone
	}
	return ""
}

// clientGone is the error of a request whose client did not wait for the answer.
const clientGone = "client_gone"

// record puts together what was seen and decided of a request, for those who ask
// later.
func (s *Server) record(x *Exchange, err error, took time.Duration) {
	r := &x.scratch.record
	*r = telemetry.Record{
		Start: x.Start, RequestID: x.RequestID, TraceID: x.trace.id[:], Protocol: x.Protocol, Listener: x.Listener,
		Method: x.Method, Host: x.Host, Path: x.Path, Client: x.Client,
		Version: s.plan.Load().table.Version(), Priority: x.priority.String(), Attempts: x.scratch.attempts,
		Status: x.status, GRPCStatus: x.called.String(), Error: errorOf(x, err), In: x.in, Out: x.out, Took: took,
		ParentID: x.trace.parent, Secure: x.Secure,
	}
	switch {
	case x.from != nil:
		r.FromNode, r.FromRegion, r.Route = x.from.node, x.from.region, x.from.route
	case x.rule != nil:
		x.scratch.route = append(x.scratch.route[:0], x.rule.Name...)
		r.Route = x.scratch.route
	}
	if x.target != nil {
		r.Upstream = x.target.upstream.Name
	}
	if x.tenant != nil {
		r.Tenant = x.tenant.Name
	}
	if x.decision.Limit != nil && x.decision.Verdict != quota.Allow {
		r.Limit = x.decision.Limit.Name
	}
	if x.refused != nil {
		r.Detail = x.refused.detail
	}
}

// cutError says that an endpoint's answer broke off after its head was sent on.
type cutError struct {
	kind failover.Kind
	err  error
}

// Error implements error.
func (e *cutError) Error() string { return "answer cut short: " + e.err.Error() }

// Unwrap gives the cause.
func (e *cutError) Unwrap() error { return e.err }

// isCut returns what a cut answer says of its endpoint.
func isCut(err error) (failover.Kind, bool) {
	if c, ok := errors.AsType[*cutError](err); ok {
		return c.kind, true
	}
	return failover.OK, false
}

// metrics are those of requests. What a request counts is resolved before it
// comes: see series.
type metrics struct {
	requests         *prometheus.CounterVec
	duration         *prometheus.HistogramVec
	upstreamDuration *prometheus.HistogramVec
	retries          prometheus.Counter
	failovers        *prometheus.CounterVec
	forwarded        *prometheus.CounterVec
	shed             *prometheus.CounterVec
	calls            *prometheus.CounterVec
	h2Errors         *prometheus.CounterVec
	denied           denials
	unrouted         *series
}

func newMetrics(s *Server, reg prometheus.Registerer) *metrics {
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meshgw_requests_total", Help: "Requests answered to clients.",
		}, []string{"route", "upstream", "code", "region_served"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "meshgw_request_duration_seconds", Help: "Time from a request's first byte to its answer's last.", Buckets: buckets,
		}, []string{"route"}),
		upstreamDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "meshgw_upstream_duration_seconds", Help: "Time of the last try until the answer's header.", Buckets: buckets,
		}, []string{"upstream"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "meshgw_retries_total", Help: "Tries after the first of a request.",
		}),
	}
	m.failovers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshgw_failover_requests_total", Help: "Requests sent to another region.",
	}, []string{"upstream", "from", "to"})
	m.forwarded = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshgw_forwarded_requests_total", Help: "Requests that gateways of another region sent on to here.",
	}, []string{"upstream", "from"})
	m.shed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshgw_shed_total", Help: "Requests refused for want of room.",
	}, []string{"priority", "reason"})
	m.calls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshgw_grpc_calls_total", Help: "Calls of gRPC, by how they ended; without a status those that were cut short or answered in plain HTTP.",
	}, []string{"route", "upstream", "grpc_status"})
	m.h2Errors = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshgw_http2_errors_total", Help: "What clients did against HTTP/2, or too often.",
	}, []string{"error"})
	m.denied = newDenials(reg)
	m.unrouted = m.series("", "", s.cfg.Region)
	reg.MustRegister(m.calls, m.h2Errors, m.requests, m.duration, m.upstreamDuration, m.retries, m.failovers, m.forwarded, m.shed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "meshgw_inflight_requests", Help: "Requests in flight.",
		}, func() float64 { return float64(s.inflight.Load()) }),
		&collector{server: s}, &limitCollector{server: s})
	return m
}

// series is what requests of one route to one upstream count. What it counts
// with is made at first use: a table of ten thousand routes is taken into service
// in no time, and most of them see few statuses.
type series struct {
	metrics  *metrics
	labels   [3]string                   // route, upstream, region
	classes  [6]atomic.Pointer[statuses] // by the first digit of the status
	observed atomic.Pointer[durations]
}

type durations struct{ request, upstream prometheus.Observer }

type counter struct{ prometheus.Counter }

// statuses are the counters of one class of status.
type statuses [100]atomic.Pointer[counter]

func (m *metrics) series(route, upstream, region string) *series {
	return &series{metrics: m, labels: [3]string{route, upstream, region}}
}

func (s *series) durations() *durations {
	d := s.observed.Load()
	if d == nil {
		d = &durations{s.metrics.duration.WithLabelValues(s.labels[0]), s.metrics.upstreamDuration.WithLabelValues(s.labels[1])}
		s.observed.Store(d)
	}
	return d
}

// count adds a request answered with status; one that the registry of statuses
// does not know counts as its class.
func (s *series) count(status int) {
	if status < 100 || status >= 100*len(s.classes) {
		return // no answer was begun
	}
	class := s.classes[status/100].Load()
	if class == nil {
		s.classes[status/100].CompareAndSwap(nil, new(statuses))
		class = s.classes[status/100].Load()
	}
	c := class[status%100].Load()
	if c == nil {
		code := strconv.Itoa(status)
		if http.StatusText(status) == "" {
			code = code[:1] + "xx"
		}
		c = &counter{s.metrics.requests.WithLabelValues(s.labels[0], s.labels[1], code, s.labels[2])}
		class[status%100].Store(c)
	}
	c.Inc()
}

// collector reads the state of upstreams when it is asked for.
type collector struct{ server *Server }

func (c *collector) descriptions() (pending, endpoints, open *prometheus.Desc) {
	return prometheus.NewDesc("meshgw_upstream_pending", "Requests that wait for a connection.", []string{"upstream"}, nil),
		prometheus.NewDesc("meshgw_upstream_endpoints", "Endpoints by state.", []string{"upstream", "region", "state"}, nil),
		prometheus.NewDesc("meshgw_circuit_open", "Whether the circuit breaker of an endpoint is open.", []string{"upstream", "endpoint"}, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	pending, endpoints, open := c.descriptions()
	ch <- pending
	ch <- endpoints
	ch <- open
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	pending, endpoints, open := c.descriptions()
	type key struct{ upstream, region, state string }
	counts, waiting := map[key]int{}, map[string]int{}
	for _, e := range c.server.Upstreams() {
		counts[key{e.Upstream, e.Region, e.State}]++
		waiting[e.Upstream] = e.Pending
		value := 0.0
		if e.State == failover.Open.String() {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(open, prometheus.GaugeValue, value, e.Upstream, e.Endpoint)
	}
	for k, n := range counts {
		ch <- prometheus.MustNewConstMetric(endpoints, prometheus.GaugeValue, float64(n), k.upstream, k.region, k.state)
	}
	for upstream, n := range waiting {
		ch <- prometheus.MustNewConstMetric(pending, prometheus.GaugeValue, float64(n), upstream)
	}
}
