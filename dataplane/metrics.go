package dataplane

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshgw/meshgw/failover"
)

// metrics are the metrics of requests. Labels are resolved before requests need
// them: see series.
type metrics struct {
	requests         *prometheus.CounterVec
	duration         *prometheus.HistogramVec
	upstreamDuration *prometheus.HistogramVec
	retries          prometheus.Counter
	failovers        *prometheus.CounterVec
	forwarded        *prometheus.CounterVec
	shed             *prometheus.CounterVec
	closed           *prometheus.CounterVec
	calls            *prometheus.CounterVec
	h2Errors         *prometheus.CounterVec
	denied           denials
	unrouted         *series
}

func newMetrics(s *Server, reg prometheus.Registerer) *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	durations := func(name, help, label string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets()}, []string{label})
		reg.MustRegister(h)
		return h
	}
	m := &metrics{
		requests:         counters("meshgw_requests_total", "Requests answered to clients.", "route", "upstream", "code", "region_served"),
		duration:         durations("meshgw_request_duration_seconds", "Time from a request's first byte to its answer's last.", "route"),
		upstreamDuration: durations("meshgw_upstream_duration_seconds", "Time of the last try until the answer's header.", "upstream"),
		retries:          counters("meshgw_retries_total", "Tries after the first of a request.").WithLabelValues(),
		failovers:        counters("meshgw_failover_requests_total", "Requests sent to another region.", "upstream", "from", "to"),
		forwarded:        counters("meshgw_forwarded_requests_total", "Requests that gateways of another region sent on to here.", "upstream", "from"),
		shed:             counters("meshgw_shed_total", "Requests refused for want of room.", "priority", "reason"),
		closed:           counters("meshgw_connections_closed_total", "Connections of clients closed to make room for others, at once since there were too many, or for want of a PROXY header.", "reason"),
		calls:            counters("meshgw_grpc_calls_total", "Calls of gRPC, by how they ended; without a status those that were cut short or answered in plain HTTP.", "route", "upstream", "grpc_status"),
		h2Errors:         counters("meshgw_http2_errors_total", "What clients did against HTTP/2, or too often.", "error"),
		denied:           newDenials(reg),
	}
	for p := range failover.Priority(failover.Priorities) { // at 0, so that rate() sees the first one as an increase
		for _, reason := range []string{"cpu", "inflight", "no_room", "pending_full", "descriptors", "ports"} {
			m.shed.WithLabelValues(p.String(), reason)
		}
	}
	for _, reason := range []string{"idle", "slow", "full", "per_client"} { // so that they exist from the start
		m.closed.WithLabelValues(reason)
	}
	m.unrouted = m.series("", "", s.cfg.Region)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "meshgw_inflight_requests", Help: "Requests in flight.",
	}, func() float64 { return float64(s.inflight.Load()) }),
		&collector{server: s}, &limitCollector{server: s})
	return m
}

// countEvicted counts connections that were closed to make room.
func (m *metrics) countEvicted(idle, slow int) {
	m.closed.WithLabelValues("idle").Add(float64(idle))
	m.closed.WithLabelValues("slow").Add(float64(slow))
}

// series are the metrics of requests of one route to one upstream. Each is created
// at first use, so that a table of ten thousand routes is published fast: most
// routes see few statuses.
type series struct {
	metrics  *metrics
	labels   [3]string                   // route, upstream, region
	classes  [6]atomic.Pointer[statuses] // by the first digit of the status
	observed atomic.Pointer[durations]
}

// regional holds the series of one route to one upstream for each region that may
// serve, this node's first.
type regional []*series

func (r regional) of(region string) *series {
	for _, s := range r {
		if s.labels[2] == region {
			return s
		}
	}
	return nil
}

type durations struct {
	request, upstream prometheus.Observer
	shown             [15]atomic.Int64 // when each bucket of request got its last exemplar, in Unix ns
}

type counter struct{ prometheus.Counter }

// statuses are the counters of one class of status.
type statuses [100]atomic.Pointer[counter]

func (m *metrics) series(route, upstream, region string) *series {
	return &series{metrics: m, labels: [3]string{route, upstream, region}}
}

func (s *series) durations() *durations {
	d := s.observed.Load()
	if d == nil {
		d = &durations{request: s.metrics.duration.WithLabelValues(s.labels[0]), upstream: s.metrics.upstreamDuration.WithLabelValues(s.labels[1])}
		s.observed.Store(d)
	}
	return d
}

// observe counts the duration of a request. Each bucket gets at most one exemplar a
// second, since an exemplar allocates. With tracing on, only requests with a trace
// become exemplars.
func (d *durations) observe(x *Exchange, now time.Time, took time.Duration, findable bool) {
	if findable {
		last, at := &d.shown[bucketOf(took.Seconds())], now.UnixNano()
		if was := last.Load(); at-was >= int64(time.Second) && last.CompareAndSwap(was, at) {
			d.request.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), x.exemplar())
			return
		}
	}
	d.request.Observe(took.Seconds())
}

// exemplar returns labels that identify a request, of at most 128 characters as
// OpenMetrics requires.
func (x *Exchange) exemplar() prometheus.Labels {
	labels := prometheus.Labels{"trace_id": string(x.trace.ID[:])}
	if len("trace_id")+len(x.trace.ID)+len("request_id")+len(x.RequestID) <= prometheus.ExemplarMaxRunes {
		labels["request_id"] = string(x.RequestID)
	}
	return labels
}

// buckets are the upper bounds of duration buckets, in seconds.
func buckets() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

func bucketOf(seconds float64) int {
	i, _ := slices.BinarySearch(buckets(), seconds)
	return i
}

// count counts an answer with status. Statuses without a registered name are
// counted by their class.
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

// collector collects the state of upstreams.
type collector struct{ server *Server }

func (c *collector) descriptions() (pending, limit, endpoints, open, away *prometheus.Desc) {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("meshgw_"+name, help, labels, nil)
	}
	return describe("upstream_pending", "Requests that wait for a connection.", "upstream"),
		describe("upstream_pending_limit", "How many requests may wait for a connection.", "upstream"),
		describe("upstream_endpoints", "Endpoints by state.", "upstream", "region", "state"),
		describe("circuit_open", "Whether the circuit breaker of an endpoint is open.", "upstream", "endpoint"),
		describe("failover_ratio", "Share of this node's requests that goes to another region, 0 to 1.", "upstream", "from", "to")
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	pending, limit, endpoints, open, away := c.descriptions()
	for _, d := range []*prometheus.Desc{pending, limit, endpoints, open, away} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	pending, limit, endpoints, open, away := c.descriptions()
	gauge := func(of *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, labels...)
	}
	type key struct{ upstream, region, state string }
	counts := map[key]int{}
	for _, e := range c.server.Upstreams() {
		counts[key{e.Upstream, e.Region, e.State}]++
		value := 0.0
		if e.State == failover.Open.String() {
			value = 1
		}
		gauge(open, value, e.Upstream, e.Endpoint)
	}
	for k, n := range counts {
		gauge(endpoints, float64(n), k.upstream, k.region, k.state)
	}
	for _, u := range c.server.plan.Load().upstreams {
		gauge(pending, float64(u.shared.pending.Load()), u.Name)
		gauge(limit, float64(u.MaxPending), u.Name)
	}
	for _, d := range c.server.Divisions() {
		for _, to := range d.Regions[1:] {
			gauge(away, to.Share, d.Upstream, c.server.cfg.Region, to.Region)
		}
	}
}
