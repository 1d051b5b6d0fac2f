package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/meshgw/meshgw/admin"
	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/dataplane/edgetls"
	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/logs"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/roster"
	"github.com/meshgw/meshgw/telemetry"
	"github.com/meshgw/meshgw/tracing"
)

// Names of the states that gossip carries, on the wire too.
const (
	nodesState  = "nodes"
	routesState = "routes"
	healthState = "health"
	limitsState = "limits" // of datagrams too
	bansState   = "bans"
)

// Node is one gateway of the mesh.
type Node struct {
	cfg     config.Config
	world   World
	build   string
	logs    *logs.Log
	log     zerolog.Logger // of events
	started time.Time

	dir         *datadir.Dir
	identity    datadir.Identity
	roster      *roster.Roster
	health      *health
	routes      *routes
	limits      *limits
	bans        *bans
	mesh        *gossip.Mesh
	plane       *dataplane.Server
	certs       []*edgetls.Certificates
	credentials *credentials
	requests    *telemetry.Ring
	traffic     *telemetry.Traffic
	spans       *tracing.Exporter // nil = nothing is traced
	links       *meshTLS
	registry    *prometheus.Registry

	adminTokens admin.Tokens
	listen      api.Listen
	listeners   []dataplane.Listener
	adminAt     net.Listener

	phase      atomic.Pointer[roster.Phase]
	weight     atomic.Int64 // of Config at first
	skew       atomic.Int64 // of the wall clock, ns; see SetClock
	load       atomic.Pointer[roster.Load]
	drift      driftWatch
	spread     *spread
	peersMoved chan struct{}
	departed   departures    // memberChanged alone uses it
	opened     chan struct{} // closed when open has returned
	telling    sync.Mutex    // held while this node's report is made, so that none overtakes a newer
	toldLoad   roster.Load
	reached    reachability
}

// New returns the node that cfg describes, of the given build. It opens nothing
// yet: Run does, and fails with what is in the way.
func New(cfg config.Config, build string, log *logs.Log) *Node {
	n := &Node{cfg: cfg, build: build, peersMoved: make(chan struct{}, 1), departed: departures{}, opened: make(chan struct{}), logs: log}
	n.log = n.named(log.Events)
	n.phase.Store(new(roster.Starting))
	n.load.Store(&roster.Load{})
	n.weight.Store(int64(cfg.Node.Weight))
	return n
}

// named makes lines tell which node they are of.
func (n *Node) named(log zerolog.Logger) zerolog.Logger {
	return log.With().Str("node", n.cfg.Node.Name).Str("region", n.cfg.Node.Region).Logger()
}

// Run serves until ctx ends, then drains and leaves the mesh; it returns nil
// then and after `serf leave`. It fails before anything is served when a port is
// taken or the data dir unusable, and with gossip.ErrNameInUse when the mesh
// knows another living node of this name. All that it started has ended when it
// returns.
func (n *Node) Run(ctx context.Context) error {
	n.world = n.world.skewed(&n.skew)
	n.started = n.world.now()
	defer n.close()
	err := n.open()
	close(n.opened)
	if err != nil {
		return err
	}
	return n.serve(ctx)
}

// Reload reads certificates, keys and the route file again, once Run has read them.
// What cannot be read is logged and returned, and the old version stays in use.
func (n *Node) Reload() error {
	<-n.opened
	if n.plane == nil {
		return nil // it has failed
	}
	var errs []error
	kept := func(err error, what string) {
		if err != nil {
			n.log.Error().Err(err).Msg(what)
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	for _, certs := range n.certs {
		kept(certs.Reload(), "certificates not reloaded, the old ones serve on")
	}
	kept(n.links.load(), "mesh certificates not reloaded, the old ones serve on")
	kept(n.mesh.ReloadKeys(), "keyring not reloaded, the old keys hold")
	n.credentials.reload()
	n.routes.readFileSoon()
	n.log.Info().Msg("reloaded")
	return errors.Join(errs...)
}

// open acquires everything that can be missing or in use.
func (n *Node) open() error {
	limitState, err := n.openDisk()
	if err != nil {
		return err
	}
	if n.spans, err = n.newExporter(); err != nil {
		return err
	}
	n.limits = newLimits(n.identity, n, limitState, n.log)
	n.roster.Arrived = func() { signal(n.limits.moved) }
	if n.links, err = newMeshTLS(n.cfg.Node.Name, n.cfg.MeshTLS, n.world.now); err != nil {
		return err
	}
	states := map[string]gossip.State{nodesState: n.roster, routesState: &n.routes.store, healthState: n.health, limitsState: limitState, bansState: n.bans}
	if n.mesh, err = gossip.New(n.gossipConfig(), states, n.log); err != nil {
		return err
	}
	if err := n.readAdminTokens(); err != nil {
		return err
	}
	if err := n.bind(); err != nil {
		return err
	}
	n.makePlane()
	return nil
}

// openDisk takes up what earlier runs left in the data dir.
func (n *Node) openDisk() (limits *limitState, err error) {
	if n.dir, err = datadir.Open(n.cfg.DataDir, n.log); err != nil {
		return nil, err
	}
	if n.identity, err = n.dir.Begin(); err != nil {
		return nil, err
	}
	n.roster = roster.New(n.identity.ID, n.identity.Incarnation)
	n.health = newHealth(n.identity.ID, n.identity.Incarnation, n.cfg.Node.Region)
	n.credentials = newCredentials(n.dir, n.isControl, n.log)
	if n.routes, err = openRoutes(n.cfg, n.world, n.dir, n.log); err != nil {
		return nil, err
	}
	n.routes.lacks, n.routes.unheard = n.lacks, n.unheard
	if limits, err = openLimitState(n.dir, n.world, n.log); err != nil {
		return nil, err
	}
	n.bans, err = openBans(n.dir, n.log)
	return limits, err
}

// makePlane makes the data plane with the table of now.
func (n *Node) makePlane() {
	n.requests = telemetry.NewRing(n.cfg.Requests.Records, n.cfg.Requests.Bytes)
	n.traffic = telemetry.NewTraffic()
	n.registry = prometheus.NewRegistry()
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), (*collector)(n))
	n.plane = dataplane.New(n.planeConfig(), n.log, n.registry)
	n.plane.Publish(n.routes.table())
	n.credentials.keep(n.routes.table())
	n.routes.published, n.routes.store.onRefusal = n.published, n.tell
	n.spread = newSpread(n.registry)
	n.routes.committed = func() {
		n.mesh.Push(routesState)
		n.spread.made(n.routes.store.Table().Version(), time.Now())
	}
}

func (n *Node) gossipConfig() gossip.Config {
	g := n.cfg.Gossip
	sealed, _ := datadir.ReadJSON[map[string]uint64](n.dir, sealedFile) // without it keys are taken for younger
	return gossip.Config{
		Name: n.cfg.Node.Name, ID: n.identity.ID, Region: n.cfg.Node.Region,
		Bind: g.Bind, Advertise: g.Advertise, RPC: g.RPC, RPCAuth: string(g.RPCAuth),
		Seeds: g.Join, Peers: n.peersBefore(), Profile: gossip.Profile(g.Profile), KeyringFile: g.KeyringFile, Sealed: sealed,
		TLS: n.links.streams(g.Streams == "prefer"),
		Queries: map[string]func([]byte) []byte{
			"meshgw-version": func([]byte) []byte { return answer(n.versionAnswer()) },
			"meshgw-load":    func([]byte) []byte { return answer(n.loadAnswer()) },
			"meshgw-health":  func(upstream []byte) []byte { return answer(n.healthAnswer(string(upstream))) },
		},
		Services:  map[string]gossip.Service{explainService: n.routes.serveExplain, requestService: n.serveRequest, keysService: n.serveKeys, trafficService: n.serveTraffic, factsService: n.serveFacts, eventsService: n.serveEvents, limitService: n.serveLimits, endpointService: n.serveEndpoint},
		Datagrams: map[string]func([]byte){limitsState: n.limits.receive},
		OnChange:  n.memberChanged,
		Network:   n.world.Gossip,
	}
}

func (n *Node) planeConfig() dataplane.Config {
	var link func(node string) *tls.Config
	if n.cfg.Listen.Mesh != "" {
		link = n.links.client
	}
	var traced func(*telemetry.Record)
	if n.spans != nil {
		traced = n.spans.Add
	}
	access, lines := n.cfg.Log.Access, n.named(n.logs.Requests)
	return dataplane.Config{
		Link: link, Traced: traced, TraceRatio: n.cfg.Tracing.Ratio,
		Node: n.cfg.Node.Name, Region: n.cfg.Node.Region,
		TrustedProxies: n.cfg.TrustedProxies,
		ProxyProtocol:  n.cfg.ProxyProtocol,
		MaxInflight:    n.cfg.MaxInflight,
		MaxConns:       n.cfg.MaxConns,
		MaxConnsPerIP:  n.cfg.MaxConnsPerIP,
		AccessLog:      dataplane.AccessLog{Off: access.Off, ErrorsOnly: access.ErrorsOnly, Ratio: access.Ratio, Slow: access.Slow, Log: &lines},
		Control:        n.isControl,
		Banned:         n.bans.contains,
		DrainFinish:    n.cfg.Drain.FinishIn,
		Traffic:        n.traffic,
		Requests:       n.requests,
		Limiter:        n.limits,
		Secret:         n.limits.state.secret.Load,
		Credentials:    n.credentials,
		Now:            n.world.now,
	}
}

// maxAdminConns leaves descriptors to requests, whoever may reach the admin port.
const maxAdminConns = 256

// bind opens all ports, so that none is found taken when others already serve.
func (n *Node) bind() error {
	if err := n.mesh.Listen(); err != nil {
		return err
	}
	n.listen.Gossip, n.listen.RPC = n.mesh.Addr(), n.mesh.RPCAddr()
	asked, err := n.world.listen(n.cfg.Listen.Admin)
	if err != nil {
		return fmt.Errorf("listen for admin: %w", err)
	}
	n.adminAt = netutil.LimitListener(asked, maxAdminConns) // beneath TLS: net/http wants to see that
	n.listen.Admin = n.adminAt.Addr().String()
	if err = n.secureAdmin(); err != nil {
		return err
	}
	if err = n.bindData(); err == nil && n.cfg.Listen.Mesh != "" {
		n.listen.Mesh, err = n.accept("mesh", n.cfg.Listen.Mesh, n.links.server())
		n.listeners[len(n.listeners)-1].Link = true
	}
	return err
}

// data opens a listener for clients: HTTPS where there are certificates.
func (n *Node) data(name, addr string, certificates []config.Certificate, clientCA string) (bound string, err error) {
	if len(certificates) == 0 {
		return n.accept(name, addr, nil)
	}
	secure, err := n.secure(certificates, clientCA)
	if err != nil {
		return "", err
	}
	return n.accept(name, addr, secure)
}

func (n *Node) accept(name, addr string, secure *tls.Config) (bound string, err error) {
	ln, err := n.world.listen(addr)
	if err != nil {
		return "", fmt.Errorf("listen for %s: %w", name, err)
	}
	n.listeners = append(n.listeners, dataplane.Listener{Name: name, Listener: ln, TLS: secure})
	return ln.Addr().String(), nil
}

// close releases what open acquired and serve did not close itself.
func (n *Node) close() {
	for _, ln := range n.listeners {
		_ = ln.Close()
	}
	if n.adminAt != nil {
		_ = n.adminAt.Close()
	}
	if n.mesh != nil {
		n.mesh.Close()
	}
	if n.dir != nil {
		n.dir.Close()
	}
}

// serve runs the parts until ctx ends or the node is told to leave, and then ends
// them in order.
func (n *Node) serve(ctx context.Context) error {
	group, inner := errgroup.WithContext(context.WithoutCancel(ctx))
	plane := start(inner, group, func(ctx context.Context) error { return n.plane.Serve(ctx, n.listeners...) })
	limits := start(inner, group, func(ctx context.Context) error { n.limits.run(ctx); return nil })
	mesh := start(inner, group, n.mesh.Run)
	rest, endRest := context.WithCancel(inner)
	defer endRest()
	n.runRest(rest, group)
	group.Go(func() error {
		defer endRest()
		select {
		case <-ctx.Done():
			n.drain(inner)
		case <-mesh.done: // told to leave from outside
			n.setPhase(roster.Draining)
		case <-inner.Done():
		}
		plane.stop()
		limits.stop() // while there is a mesh to give the leases back to
		mesh.stop()
		return nil
	})
	for _, needed := range []<-chan struct{}{n.mesh.Started(), n.routes.file.settled} {
		select {
		case <-needed:
		case <-inner.Done():
			return group.Wait()
		}
	}
	if ctx.Err() == nil { // nobody has told it to stop meanwhile
		n.setPhase(roster.Serving)
		if err := n.announce(); err != nil {
			plane.end()
			mesh.end()
			return errors.Join(err, group.Wait())
		}
	}
	err := group.Wait()
	if errors.Is(err, gossip.ErrLeft) {
		n.log.Info().Msg("left the mesh, as told by serf leave")
		err = nil
	}
	return err
}

// runRest runs in group what needs no end of its own: it ends with ctx.
func (n *Node) runRest(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error {
		return admin.New(n, meshRoutes{n.routes, n.askAll}, n.adminTokens, n.cfg.Insecure, n.registry, n.log).Serve(ctx, n.adminAt)
	})
	if n.spans != nil {
		group.Go(func() error { return n.spans.Run(ctx) })
	}
	for _, run := range []func(context.Context){
		func(ctx context.Context) { n.routes.follow(ctx, n) },
		n.tellLoad, n.followHealth, n.followSpread, n.rememberPeers, n.credentials.run, n.countTraffic, n.rememberSealed, n.bans.run, n.warnIsolated,
	} {
		group.Go(func() error { run(ctx); return nil })
	}
}

// announce says that this node serves, in the log, in the ready file, to systemd.
func (n *Node) announce() error {
	n.log.Info().Str("version", n.build).Str("id", n.identity.ID).Str("http", n.listen.HTTP).Str("https", n.listen.HTTPS).Str("mesh", n.listen.Mesh).
		Str("admin", n.listen.Admin).Str("gossip", n.listen.Gossip).Str("rpc", n.listen.RPC).
		Uint64("routes_version", n.routes.table().Version()).Dur("after_ms", n.world.now().Sub(n.started)).Msg("serving")
	if err := n.writeReady(); err != nil {
		return err
	}
	return notify("READY=1")
}

func (n *Node) writeReady() error {
	if n.cfg.ReadyFile == "" {
		return nil
	}
	data, err := json.Marshal(n.listen)
	if err == nil {
		err = datadir.Replace(n.cfg.ReadyFile, data)
	}
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}
