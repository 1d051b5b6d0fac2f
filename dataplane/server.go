package dataplane

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane/discovery"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"

	"github.com/meshgw/meshgw/dataplane/message"

	"github.com/meshgw/meshgw/dataplane/compress"

	"github.com/meshgw/meshgw/dataplane/upstream"
)

// Config configures a Server. Zero fields get the defaults named beside them.
type Config struct {
	Node, Region   string
	TrustedProxies []netip.Prefix // whose X-Forwarded fields are trusted
	ProxyProtocol  []netip.Prefix // whose connections begin with a header of the PROXY protocol
	MaxInflight    int            // requests in flight, beyond which new ones get 503; 0 = no bound
	MaxConns       int            // client connections; 0 = 50,000
	MaxConnsPerIP  int            // of one client, in IPv6 of a /64; trusted proxies may have more. 0 = no bound
	AccessLog      AccessLog

	// Control reports whether an address is one of the node's control ports, such
	// as admin and gossip, which are never dialed. nil = none is.
	Control func(netip.AddrPort) bool

	// Banned reports whether a client is banned. It is called for every request, so
	// it must neither block nor allocate. nil = none is.
	Banned func(netip.Addr) bool

	// Link returns the TLS settings for a mesh link to a gateway, by its node name:
	// a copy that the caller may change, nil for a plain link. nil = there are no
	// links.
	Link func(node string) *tls.Config

	// Traffic counts the requests of clients by route. nil = is not exported.
	Traffic *telemetry.Traffic

	// Requests keeps the records of the last requests. nil = none are kept.
	Requests *telemetry.Ring

	// Traced is called with the record of each request that is sampled or has
	// failed. It must neither block nor keep the record. nil = tracing is off.
	Traced func(*telemetry.Record)
	// TraceRatio is the share of traces that are sampled, in [0,1], of those that
	// begin here; 0 = failures only.
	TraceRatio float64

	// Limiter enforces the limits. If it is nil, the routes of a table with limits
	// answer 503.
	Limiter Limiter

	// Credentials provides keys and users. If it is nil, routes that need them
	// admit nobody.
	Credentials Credentials

	// Now is the wall clock that tokens and certificates are checked by; nil =
	// time.Now.
	Now func() time.Time

	// DrainFinish is how long Serve waits for requests in flight after its context
	// has ended; 0 = 30 s.
	DrainFinish time.Duration

	// Dial connects to endpoints; nil = net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolve looks up host names of endpoints; nil = the system's resolver.
	Resolve discovery.Lookup
	// Secret returns the secret of the mesh, which the cookies of sticky sessions are
	// derived from; the same pointer until the secret changes. nil = a random one of
	// this Server.
	Secret func() *quota.Secret
	// DNS configures the servers that are asked for SRV records; nil = those of the
	// system.
	DNS *dns.ClientConfig
}

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
	unrouted       *telemetry.Series // requests without a route
	upstreams      upstream.Registry
	coarseTime     atomic.Pointer[time.Time]
	proxyWarned    atomic.Int64 // when a connection without its PROXY header was last logged, in Unix ns
	frozenAt       atomic.Int64 // when this process was last found to have been frozen, in Unix ns
}

// New returns a Server with an empty table. It starts nothing. The metrics are
// registered with reg.
func New(cfg Config, log zerolog.Logger, reg prometheus.Registerer) *Server {
	if cfg.DrainFinish == 0 {
		cfg.DrainFinish = 30 * time.Second
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 50_000
	}
	if cfg.Traffic == nil {
		cfg.Traffic = telemetry.NewTraffic()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Secret == nil {
		own := new(quota.Secret)
		_, _ = rand.Read(own[:]) // never fails, see crypto/rand
		cfg.Secret = func() *quota.Secret { return own }
	}
	if cfg.Resolve == nil {
		cfg.Resolve = discovery.SystemLookup
	}
	s := &Server{cfg: cfg, log: log, passwordChecks: make(chan struct{}, maxPasswordChecks()), via: []byte("meshgw-" + token(cfg.Node))}
	if s.cfg.AccessLog.Slow == 0 {
		s.cfg.AccessLog.Slow = time.Second
	}
	if s.lines = log; cfg.AccessLog.Log != nil {
		s.lines = *cfg.AccessLog.Log
	}
	if cfg.Traced != nil {
		s.sampledBelow = sampledBelow(cfg.TraceRatio)
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

// Load is the load of a Server.
type Load struct {
	Inflight int                         // requests
	Clients  int                         // connections that are open
	Requests uint64                      // received since the start
	Arrived  [failover.Priorities]uint64 // the same by priority; those that match nothing are normal
}

// Load returns the present load.
func (s *Server) Load() Load {
	l := Load{Inflight: int(s.inflight.Load()), Clients: s.clients.count()}
	for p := range s.requests {
		l.Arrived[p] = s.requests[p].Load()
		l.Requests += l.Arrived[p]
	}
	return l
}

// MaxConns is how many connections of clients may be open at once.
func (s *Server) MaxConns() int { return s.cfg.MaxConns }

// UpstreamStatus is the state of one endpoint of an upstream.
type UpstreamStatus struct {
	Upstream string
	Endpoint string // URL
	Region   string // empty = every region's own
	Weight   int
	State    string // closed, stalled, ejected, unhealthy, half_open or open
	Since    time.Time
	Reason   string // why it is not closed, or why it cannot be dialed
	Inflight int
	Pending  int // requests that wait, of the whole upstream
	Latency  time.Duration
}

// Upstreams returns the state of every endpoint of the table.
func (s *Server) Upstreams() []UpstreamStatus {
	now := time.Now()
	var all []UpstreamStatus
	for _, u := range s.plan.Load().upstreams {
		for _, e := range u.endpoints {
			state := e.state.State(now)
			status := UpstreamStatus{
				Upstream: u.Name, Endpoint: e.address.URL, Region: e.address.Region, Weight: e.address.Weight,
				State: state.Status.String(), Since: state.Since, Reason: e.reason(state),
				Inflight: e.state.Inflight(), Pending: int(u.shared.pending.Load()), Latency: e.state.Latency(now),
			}
			if e.broken != "" {
				status.State, status.Reason = "unhealthy", e.broken
			}
			all = append(all, status)
		}
	}
	return all
}

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
