package dataplane

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
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
)

// Config is what a Server is told of its node. Zero fields get the defaults
// named beside them.
type Config struct {
	Node, Region   string
	TrustedProxies []netip.Prefix // whose forwarded fields are believed
	MaxInflight    int            // requests at once; beyond it 503. 0 = no bound
	MaxConns       int            // client connections; 0 = 50,000
	MaxConnsPerIP  int            // of one client, in IPv6 of a /64; trusted proxies may have more. 0 = no bound
	AccessLog      AccessLog

	// Control reports whether an address is one of the node's own control
	// addresses, which are never dialled. nil = none is.
	Control func(netip.AddrPort) bool

	// Banned reports whether a client may not ask for a while. Every request asks,
	// so it must neither wait nor allocate. nil = nobody is.
	Banned func(netip.Addr) bool

	// Link returns how a link to another gateway is secured, by the gateway's
	// name: settings that are the caller's to change, nil for a plain one. nil =
	// there are no links.
	Link func(node string) *tls.Config

	// Traffic counts the requests of clients. nil = one that nobody reads.
	Traffic *telemetry.Traffic

	// Requests keeps what was seen and decided of each request. nil = nothing does.
	Requests *telemetry.Ring

	// Traced takes what was seen of requests whose trace is sampled, and of those
	// that failed. It must not wait, nor keep the record. nil = nothing is traced.
	Traced func(*telemetry.Record)
	// TraceRatio is the share of traces that are sampled, of those that begin
	// here, where Traced is given: 0 = none but failures.
	TraceRatio float64

	// Limiter keeps the limits. Without one a table that has any is not served:
	// its routes answer 503.
	Limiter Limiter

	// Credentials holds what routes judge clients by. nil = there is nothing, and
	// routes that need it admit nobody.
	Credentials Credentials

	// Now is the wall clock, which judges tokens and certificates. nil = time.Now
	Now func() time.Time

	// DrainFinish is how long requests in flight may take to end when Serve's
	// context has ended; 0 = 30 s.
	DrainFinish time.Duration

	// Dial connects to endpoints; nil = net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolve looks up names of endpoints; nil = the system's resolver.
	Resolve discovery.Lookup
	// Secret is that of the mesh, which names endpoints in the cookies of sticky
	// sessions: the same pointer as long as it is the same. nil = one of this
	// Server's own.
	Secret func() *quota.Secret
	// DNS are the servers that are asked for SRV records; nil = the system's.
	DNS *dns.ClientConfig
}

// Server is the data plane of one node. All its methods may be called from
// several goroutines at once; Serve once.
type Server struct {
	cfg     Config
	log     zerolog.Logger
	lines   zerolog.Logger // of requests
	metrics *metrics
	plan    atomic.Pointer[plan]
	mesh    atomic.Pointer[Mesh]
	shed    atomic.Pointer[failover.Mix] // share of each priority to refuse; nil = none
	via     []byte                       // this node's name in Via
	names   names

	sampledBelow uint64 // traces that begin here, by their id

	buffers    sync.Pool // *[]byte of readBuffer
	answers    sync.Pool // *[]byte of answerBuffer
	fronts     sync.Pool // *h1
	h2fronts   sync.Pool // *h2
	feed       *feed     // connections that speak HTTP/2
	cooldown   cooldown  // of clients that abused it
	encoders   compressors
	mirrors    *prometheus.CounterVec // by upstream and outcome
	inflight   atomic.Int64
	paused     atomic.Int64 // of these, what waits for its refusal
	requests   [failover.Priorities]atomic.Uint64
	draining   atomic.Bool
	publishing sync.Mutex
	discovery  *discovery.SRV
	checking   chan struct{} // holds one for each login that is checked
	background sync.WaitGroup
	endLookups func()
	clients    clients
	room       room
	unrouted   *telemetry.Series // requests without a route
	upstreams  connRegistry
	ticked     atomic.Pointer[time.Time]
	stood      atomic.Int64 // when this node had last stood still, ns since 1970
}

// New returns a Server with an empty table. It starts nothing. reg gets the
// metrics of requests and endpoints.
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
	s := &Server{cfg: cfg, log: log, checking: make(chan struct{}, checks()), via: []byte("meshgw-" + token(cfg.Node))}
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
	s.ticked.Store(new(time.Now()))
	s.names.init(cfg.Node, cfg.Region)
	s.metrics = newMetrics(s, reg)
	s.mirrors = newMirrorCounter(reg)
	s.buffers.New = func() any { return new(make([]byte, readBuffer)) }
	s.answers.New = func() any { return new(make([]byte, answerBuffer)) }
	s.fronts.New = func() any { return newH1(s) }
	s.h2fronts.New = func() any { return newH2(s) }
	s.feed = newFeed()
	s.room.dialling = make(chan struct{}, 1)
	s.cooldown.next = map[netip.Addr]time.Time{}
	s.upstreams.open = map[io.Closer]struct{}{}
	s.clients.init(cfg.MaxConns, cfg.MaxConnsPerIP)
	s.mesh.Store(alone(cfg))
	s.discovery = discovery.NewSRV(cfg.DNS, log, s.spawn, s.republish)
	empty, _ := routetable.Compile(&routetable.Spec{}) // nothing in it to be wrong
	s.Publish(empty)
	return s
}

// token makes name fit for a field value where tokens are asked for.
func token(name string) string {
	b := []byte(name)
	for i, c := range b {
		if !isTokenByte(c) {
			b[i] = '-'
		}
	}
	return string(b)
}

// SetDraining makes every answer the last of its connection, so that clients
// go elsewhere. Used before Serve's context ends, it loses no request.
func (s *Server) SetDraining(on bool) { s.draining.Store(on) }

// Load is what a Server has to do.
type Load struct {
	Inflight int                         // requests
	Clients  int                         // connections that are open
	Requests uint64                      // begun since the start
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
	Reason   string // why it is not closed, or why it cannot be dialled
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

// handle is the pipeline. Every step that returns false has set what the answer
// is; the front's Send ends in finish.
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

// begin counts a request that finish will end.
func (s *Server) begin() {
	s.inflight.Add(1)
}

// lately is the time as of the last tick of the watch. It is for what may be a
// little off: each look at the clock of the system costs what a short step does.
func (s *Server) lately() time.Time { return *s.ticked.Load() }

// spawn runs f in the background; Serve waits for it.
func (s *Server) spawn(f func()) { s.background.Go(f) }
