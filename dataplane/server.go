package dataplane

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane/compress"
	"github.com/meshgw/meshgw/dataplane/discovery"
	"github.com/meshgw/meshgw/dataplane/ids"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"
)

// readBuffer is how much of a body from a client, or of a tunnel, is read at once.
const readBuffer = 16 << 10

// Server is the data plane of one node. It is safe for concurrent use; Serve may be
// called once.
type Server struct {
	cfg       Config
	log       zerolog.Logger
	lines     zerolog.Logger // of requests
	metrics   *metrics
	plan      atomic.Pointer[plan]
	mesh      atomic.Pointer[Mesh]
	shed      atomic.Pointer[failover.Mix] // share of each priority to refuse; nil = none
	via       []byte                       // this node's name in Via
	ownFields ownFields

	sampledBelow uint64 // traces that begin here are sampled if their id is below this

	buffers        sync.Pool // *[]byte of readBuffer
	answers        sync.Pool // *[]byte of BufferSize
	fronts         sync.Pool // *h1
	h2fronts       sync.Pool // *h2
	feed           *feed     // connections that speak HTTP/2
	cooldown       cooldown  // of clients that abused it
	encoders       compress.Pool
	mirrors        *prometheus.CounterVec // by upstream and outcome
	inflight       atomic.Int64
	tarpitted      atomic.Int64 // of these, those in the tarpit
	requests       [failover.Priorities]atomic.Uint64
	draining       atomic.Bool
	publishing     sync.Mutex
	discovery      *discovery.SRV
	passwordChecks chan struct{} // a semaphore for checks of passwords
	background     sync.WaitGroup
	endLookups     func() // cancels lookups of names
	clients        clients
	eviction       eviction
	tunnels        tunnels
	unrouted       *telemetry.Series // requests without a route
	upstreams      upstream.Registry
	coarseTime     atomic.Pointer[time.Time]
	proxyWarned    atomic.Int64 // when a connection without its PROXY header was last logged, in Unix ns
	stoodUntil     atomic.Int64 // when it last went on after longStandstill or more, in Unix ns
	frozenAt       atomic.Int64 // when this process was last found to have been frozen, in Unix ns
}

// New returns a Server with an empty table. It starts nothing. The metrics are
// registered with reg.
func New(cfg Config, log zerolog.Logger, reg prometheus.Registerer) *Server {
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, log: log, passwordChecks: make(chan struct{}, maxPasswordChecks()), via: []byte("meshgw-" + token(cfg.Node))}
	if s.lines = log; cfg.AccessLog.Log != nil {
		s.lines = *cfg.AccessLog.Log
	}
	if cfg.Traced != nil {
		s.sampledBelow = ids.SampledBelow(cfg.TraceRatio)
	}
	s.cfg.Resolve, s.endLookups = discovery.UntilEnded(cfg.Resolve)
	s.unrouted = cfg.Traffic.Series("")
	s.coarseTime.Store(new(time.Now()))
	s.ownFields.init(cfg.Node, cfg.Region)
	s.metrics = newMetrics(s, reg)
	s.mirrors = newMirrorCounter(reg)
	s.buffers.New = func() any { return new(make([]byte, readBuffer)) }
	s.answers.New = func() any { return new(make([]byte, upstream.BufferSize)) }
	s.fronts.New = func() any { return newH1(s) }
	s.h2fronts.New = func() any { return newH2(s) }
	s.feed = newFeed()
	s.eviction.dialing = make(chan struct{}, 1)
	s.cooldown.next = map[netip.Addr]time.Time{}
	s.clients.init(cfg.MaxConns, cfg.MaxConnsPerIP)
	s.mesh.Store(alone(cfg))
	s.discovery = discovery.NewSRV(cfg.DNS, log, s.spawn, s.republish)
	empty, _ := routetable.Compile(&routetable.Spec{}) // an empty table is valid
	s.Publish(empty)
	return s
}

// token returns name with what a token (RFC 9110) may not contain replaced by "-".
func token(name string) string {
	b := []byte(name)
	for i, c := range b {
		if !message.IsTokenByte(c) {
			b[i] = '-'
		}
	}
	return string(b)
}

// SetDraining makes the server close each connection after its next answer, so that
// clients go elsewhere. If this is done a while before Serve's context ends, no
// request is lost.
func (s *Server) SetDraining(on bool) { s.draining.Store(on) }

// handle runs the steps of a request. A step that returns false has set x.refused.
// Either way the answer goes through the front's Send, which calls finish.
func (s *Server) handle(x *Exchange) {
	s.begin()
	entered := s.enter(x)
	s.requests[x.priority].Add(1)
	if entered && s.limit(x) && s.forward(x) {
		s.answer(x)
		return
	}
	s.refuse(x)
}

// enter identifies, matches and admits a request of a client, or accepts one of
// another gateway.
func (s *Server) enter(x *Exchange) bool {
	if x.Link {
		return s.identifyLinked(x) && s.matchLinked(x) && s.hasCapacity(x)
	}
	return s.identify(x) && s.checkAddress(x) && s.match(x) && s.admit(x)
}

// begin counts a request in flight, until finish.
func (s *Server) begin() {
	s.inflight.Add(1)
}

// coarseNow returns the time of the last tick of the watch, at most 100 ms ago, for
// what need not be exact: reading the system clock costs as much as a short step of
// the request path.
func (s *Server) coarseNow() time.Time { return *s.coarseTime.Load() }

// spawn runs f in the background; Serve waits for it.
func (s *Server) spawn(f func()) { s.background.Go(f) }
