package gossip

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/cmd/serf/command/agent"
	"github.com/hashicorp/serf/serf"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// Config configures a Mesh.
type Config struct {
	Name   string // unique in the mesh
	ID     string // who this node is, whatever its name and address
	Region string

	Bind      string // IP and port of gossip; port 0 picks a free one
	Advertise string // IP and port told to others; "" = detected
	RPC       string // address of Serf's RPC; "" = none
	RPCAuth   string

	Seeds   []string // host, host:port or dnssrv+NAME
	Peers   []Peer   // of an earlier run
	Profile Profile

	Sealed      map[string]uint64 // what earlier runs sealed, by a key's fingerprint
	KeyringFile string            // a JSON array of base64 keys, rewritten when keys are rotated; "" = in the clear

	TLS *StreamTLS // of streams between nodes; nil = the keyring alone

	ReconnectTimeout time.Duration // how long Serf remembers who failed; 0 = 72 h
	Network          Network       // nil = Sockets

	// Queries answer `serf query NAME PAYLOAD` with at most 1 KB.
	Queries map[string]func(payload []byte) []byte
	// Services answer what other nodes ask by Mesh.Call, with at most MaxAnswer
	// bytes. They only read, and may be called from several goroutines at once.
	Services map[string]Service
	// Datagrams take what Datagram of other nodes sent, by service. They are
	// called one at a time and must not block; data is theirs to keep.
	Datagrams map[string]func(data []byte)
	// OnChange hears what happens to members, one at a time. It must not block.
	OnChange func(Member, Change)
}

// ErrLeft means that this node was told to leave by `serf leave`.
var ErrLeft = errors.New("left the mesh by serf leave")

// A Mesh is this node's membership in the mesh. It is safe for concurrent use.
type Mesh struct {
	cfg      Config
	pace     pace
	network  Network
	replicas map[string]*replica
	services map[string]Service
	log      zerolog.Logger
	stats    stats

	instance   string
	addr       atomic.Pointer[string]
	rpcAddr    atomic.Pointer[string]
	first      *sockets // opened by Listen for the first session
	keys       atomic.Pointer[memberlist.Keyring]
	sealed     seals
	session    atomic.Pointer[session]
	view       atomic.Pointer[view]
	looking    sync.Mutex // held while a view is made, so that none is overtaken by an older one
	events     chan serf.Event
	moved      chan struct{} // the view changed
	strangers  chan string   // a peer whose view differs
	doubters   chan string   // a peer that looks for us where we are
	disputes   chan dispute
	joining    chan struct{} // held while Serf joins
	missed     chan struct{} // a peer is gone, or Serf was started again and knows nobody
	started    chan struct{} // closed when Serf runs for the first time
	startOnce  sync.Once
	lazy       lazyQueue
	book       book
	self       addrSet // addresses that turned out to be our own
	absence    absences
	heard      heard
	clocks     clocks
	holding    holding
	complaints bucket // lines about what is refused: a hostile peer can cause any number
}

// New returns the mesh of one node. It starts nothing: Listen opens the ports,
// Run does the rest.
func New(cfg Config, states map[string]State, log zerolog.Logger) (*Mesh, error) {
	pace, err := cfg.Profile.pace()
	if err != nil {
		return nil, err
	}
	m := &Mesh{
		cfg: cfg, pace: pace, network: cfg.Network, log: log,
		replicas:   map[string]*replica{},
		instance:   uuid.NewString(),
		events:     make(chan serf.Event, 4096),
		moved:      make(chan struct{}, 1),
		strangers:  make(chan string, 1),
		doubters:   make(chan string, 1),
		disputes:   make(chan dispute, 1),
		joining:    make(chan struct{}, 1),
		missed:     make(chan struct{}, 1),
		started:    make(chan struct{}),
		complaints: bucket{rate: 2},
	}
	if m.network == nil {
		m.network = Sockets{}
	}
	for name, state := range states {
		m.replicas[name] = newReplica(name, state)
	}
	m.services = map[string]Service{"who": m.serveWho, "sync": m.serveSync, "deliver": m.serveDeliver}
	for name, serve := range cfg.Services {
		if m.services[name] != nil {
			return nil, fmt.Errorf("service %q is gossip's own", name)
		}
		m.services[name] = bounded(serve)
	}
	m.view.Store(&view{byName: map[string]Member{}})
	m.lazy.RetransmitMult = 4
	m.lazy.NumNodes = func() int { return len(m.peers()) + 1 }
	m.book.load(cfg.Peers)
	m.sealed.load(cfg.Sealed)
	return m, nil
}

// Addr returns the IP and port at which others reach this node's gossip; ""
// before Listen.
func (m *Mesh) Addr() string { return deref(m.addr.Load()) }

// RPCAddr returns where Serf's RPC listens; "" before Listen and without RPC.
func (m *Mesh) RPCAddr() string { return deref(m.rpcAddr.Load()) }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Push sends the changes of the named State to a few peers at once. Without it
// they wait for the next periodic round, which is cheaper.
func (m *Mesh) Push(state string) {
	r := m.replicas[state]
	r.original.Store(true)
	r.hurry()
}

// Started returns a channel that is closed when Serf is running.
func (m *Mesh) Started() <-chan struct{} { return m.started }

func (m *Mesh) keyring() *memberlist.Keyring { return m.keys.Load() }

// sockets are what one session listens on.
type sockets struct {
	packets net.PacketConn
	streams net.Listener
	rpc     net.Listener // nil = none
}

func (s *sockets) close() {
	_ = s.packets.Close()
	_ = s.streams.Close()
	if s.rpc != nil {
		_ = s.rpc.Close()
	}
}

// Listen opens this node's ports and reads its keyring, so that configuration
// errors show before anything runs. Run or Close closes the ports.
func (m *Mesh) Listen() error {
	if m.cfg.KeyringFile != "" {
		keys, err := loadKeyring(m.cfg.KeyringFile)
		if err != nil {
			return err
		}
		m.keys.Store(keys)
	}
	s, err := m.open(m.cfg.Bind, m.cfg.RPC)
	if err != nil {
		return err
	}
	addr, err := m.advertised(s.streams.Addr())
	if err != nil {
		s.close()
		return err
	}
	m.addr.Store(&addr)
	if s.rpc != nil {
		m.rpcAddr.Store(new(s.rpc.Addr().String()))
	}
	m.first = s
	return nil
}

// Close closes the ports that Listen opened, if Run is not called.
func (m *Mesh) Close() {
	if m.first != nil {
		m.first.close()
	}
}

// maxRPCConns bounds the connections of Serf's RPC, which closes none that are idle.
const maxRPCConns = 64

func (m *Mesh) open(bind, rpc string) (*sockets, error) {
	packets, streams, err := m.network.Listen(bind)
	if err != nil {
		return nil, fmt.Errorf("listen for gossip: %w", err)
	}
	s := &sockets{packets: packets, streams: streams}
	if rpc != "" {
		listener, err := net.Listen("tcp", rpc)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("listen for Serf RPC: %w", err)
		}
		s.rpc = netutil.LimitListener(listener, maxRPCConns)
	}
	return s, nil
}

// advertised is the configured address, else the one bound to, else, bound to
// all, the first private one of this machine.
func (m *Mesh) advertised(bound net.Addr) (string, error) {
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", err
	}
	if m.cfg.Advertise != "" {
		wanted, wantedPort, err := net.SplitHostPort(m.cfg.Advertise)
		if err != nil {
			return "", fmt.Errorf("advertise %s: %w", m.cfg.Advertise, err)
		}
		if wantedPort != "0" {
			port = wantedPort
		}
		host = wanted
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return "", fmt.Errorf("advertise %s: not an IP", host)
	}
	if ip.IsUnspecified() {
		if host, err = reachableIP(m.cfg.Bind); err != nil {
			return "", err
		}
		if net.ParseIP(host).IsLoopback() {
			m.log.Warn().Str("address", host).Msg("no address that others could reach; give one with --advertise")
		}
	}
	return net.JoinHostPort(host, port), nil
}

// reachableIP is the first private address of this machine, else its first
// public one, of the family that bind is of: a socket bound to 0.0.0.0 is reached
// by IPv4 alone. A machine that has neither is reached from itself.
func reachableIP(bind string) (string, error) {
	private, err := sockaddr.GetPrivateIPs()
	if err != nil {
		return "", fmt.Errorf("find an address to advertise: %w", err)
	}
	public, err := sockaddr.GetPublicIPs()
	if err != nil {
		return "", fmt.Errorf("find an address to advertise: %w", err)
	}
	four := strings.HasPrefix(bind, "0.0.0.0")
	for ip := range strings.FieldsSeq(private + " " + public) {
		if !four || net.ParseIP(ip).To4() != nil {
			return ip, nil
		}
	}
	if four {
		return "127.0.0.1", nil
	}
	return "::1", nil
}

// loadKeyring reads a keyring file. An empty one is refused: memberlist would
// take it for encryption and send plaintext.
func loadKeyring(file string) (*memberlist.Keyring, error) {
	data, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w", err)
	}
	keys, err := parseKeyring(data)
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", file, err)
	}
	return keys, nil
}

func parseKeyring(data []byte) (*memberlist.Keyring, error) {
	var encoded []string
	if err := json.Unmarshal(data, &encoded); err != nil {
		return nil, fmt.Errorf("want a JSON array of base64 keys: %w", err)
	}
	if len(encoded) == 0 {
		return nil, errors.New("it holds no key")
	}
	keys := make([][]byte, len(encoded))
	for i, text := range encoded {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64", i+1)
		}
		if err := memberlist.ValidateKey(key); err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		keys[i] = key
	}
	return memberlist.NewKeyring(keys, keys[0])
}

// ReloadKeys reads the keyring file again: new keys are installed, the first
// becomes the primary one, keys that are no longer in the file are removed. An
// invalid file changes nothing.
func (m *Mesh) ReloadKeys() error {
	live := m.keyring()
	if live == nil {
		return nil
	}
	read, err := loadKeyring(m.cfg.KeyringFile)
	if err != nil {
		return err
	}
	for _, key := range read.GetKeys() {
		if err := live.AddKey(key); err != nil {
			return fmt.Errorf("install key: %w", err)
		}
	}
	if err := live.UseKey(read.GetPrimaryKey()); err != nil {
		return fmt.Errorf("use key: %w", err)
	}
	for _, key := range slices.Clone(live.GetKeys()) {
		if !slices.ContainsFunc(read.GetKeys(), func(k []byte) bool { return bytes.Equal(k, key) }) {
			if err := live.RemoveKey(key); err != nil {
				return fmt.Errorf("remove key: %w", err)
			}
		}
	}
	return nil
}

// Run joins the mesh, rejoins as long as peers are missing, and leaves when ctx
// ends. It then returns nil; ErrLeft after `serf leave`, ErrNameInUse if
// another live process has the name. It returns when all it started has ended.
func (m *Mesh) Run(ctx context.Context) error {
	group, inner := errgroup.WithContext(context.WithoutCancel(ctx))
	for _, r := range m.replicas {
		group.Go(func() error { m.work(inner, r); return nil })
		group.Go(func() error { m.reconcile(inner, r); return nil })
	}
	group.Go(func() error { m.repair(inner); return nil })
	group.Go(func() error { m.listen(inner); return nil })
	joining, stopJoining := context.WithCancel(inner)
	defer stopJoining()
	defer context.AfterFunc(ctx, stopJoining)() // who leaves joins no more
	group.Go(func() error { return m.rejoin(joining) })
	group.Go(func() error { m.regather(joining); return nil })
	group.Go(func() error { m.concede(joining); return nil })
	group.Go(func() error {
		if err := m.live(ctx, inner); err != nil {
			return err
		}
		return errDone // ends the others
	})
	if err := group.Wait(); !errors.Is(err, errDone) {
		return err
	}
	return nil
}

var errDone = errors.New("done")

// live runs one session after the other: Serf shuts itself down when it loses a
// vote over its name, and is made anew.
func (m *Mesh) live(ctx, inner context.Context) error {
	socks := m.first
	m.first = nil
	for {
		s, err := m.begin(socks)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			s.leave()
			m.end(s)
			return nil
		case <-inner.Done():
			m.end(s)
			return nil
		case <-s.agent.ShutdownCh():
		}
		left := s.left()
		m.end(s)
		if left {
			return ErrLeft
		}
		m.log.Warn().Msg("serf shut itself down, most likely over a conflict of names; starting it again")
		if socks, err = m.reopen(ctx); err != nil {
			return err
		}
		if socks == nil {
			return nil
		}
	}
}

// reopen opens the ports of the session before again; nil when ctx ends first.
func (m *Mesh) reopen(ctx context.Context) (*sockets, error) {
	host, _, err := net.SplitHostPort(m.cfg.Bind)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(m.Addr())
	if err != nil {
		return nil, err
	}
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(jitter(time.Second)):
		}
		socks, err := m.open(net.JoinHostPort(host, port), m.RPCAddr())
		if err == nil {
			return socks, nil
		}
		m.log.Error().Err(err).Msg("gossip ports not reopened, will keep trying")
	}
}

// A session is one life of Serf.
type session struct {
	agent     *agent.Agent
	ipc       *agent.AgentIPC // nil without RPC
	transport *transport
}

func (s *session) serf() *serf.Serf { return s.agent.Serf() }

// serfConfig returns the configuration of Serf's agent and of Serf itself.
func (m *Mesh) serfConfig() (*agent.Config, *serf.Config) {
	ac := agent.DefaultConfig()
	ac.NodeName = m.cfg.Name
	ac.KeyringFile = m.cfg.KeyringFile
	ac.EnableCompression = false // LZW for every packet costs more than it saves
	sc := serf.DefaultConfig()
	m.pace.tune(sc)
	sc.NodeName = m.cfg.Name
	sc.Tags = map[string]string{tagRole: role, tagRegion: m.cfg.Region, tagVersion: protocolVersion}
	sc.KeyringFile = m.cfg.KeyringFile
	if m.cfg.ReconnectTimeout > 0 {
		sc.ReconnectTimeout = m.cfg.ReconnectTimeout
		sc.ReapInterval = m.cfg.ReconnectTimeout / 4
	}
	return ac, sc
}

// begin starts Serf on the given sockets.
func (m *Mesh) begin(socks *sockets) (*session, error) {
	ac, sc := m.serfConfig()
	wrapped := &delegate{mesh: m}
	tr, err := m.wrap(wrapped, sc.MemberlistConfig, socks)
	if err != nil {
		return nil, err
	}
	monitor := agent.NewLogWriter(512) // what `serf monitor` shows
	out := io.MultiWriter(&logBridge{log: m.log, stats: &m.stats, rate: bucket{rate: maxLines}}, monitor)
	a, err := agent.Create(ac, sc, out)
	if err != nil {
		socks.close()
		return nil, fmt.Errorf("create serf agent: %w", err)
	}
	a.RegisterEventHandler((*handler)(m))
	if err := a.Start(); err != nil {
		socks.close()
		return nil, fmt.Errorf("start serf: %w", err)
	}
	s := &session{agent: a, transport: tr}
	if !wrapped.seen.Load() {
		_ = a.Shutdown()
		tr.wait()
		socks.close()
		return nil, errors.New("memberlist did not take our delegate: this build does not fit its version")
	}
	if socks.rpc != nil {
		s.ipc = agent.NewAgentIPC(a, m.cfg.RPCAuth, socks.rpc, out, monitor, false)
	}
	m.look(s)
	m.session.Store(s)
	m.startOnce.Do(func() { close(m.started) })
	signal(m.missed)
	return s, nil
}

// wrap gives memberlist a transport over socks that puts ours around Serf's delegates
// as soon as memberlist asks for its address: Serf has set them by then, and nothing
// has been started yet.
func (m *Mesh) wrap(ours *delegate, conf *memberlist.Config, socks *sockets) (*transport, error) {
	host, portText, err := net.SplitHostPort(m.Addr())
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	tr := newTransport(m.network, socks.packets, socks.streams, net.ParseIP(host), port, &m.stats, &m.heard)
	tr.own, tr.sealing = m.serveStream, m.seal
	tr.keyed = func() bool { return m.keyring() != nil }
	tr.onAdvertise = func() {
		ours.inner = conf.Delegate
		conf.Delegate = ours
		conf.Merge = &mergeGuard{inner: conf.Merge, mesh: m}
		conf.Alive = &aliveGuard{inner: conf.Alive, mesh: m}
		m.keys.Store(conf.Keyring)
	}
	conf.Transport = tr
	return tr, nil
}

// left reports whether Serf was told to leave, as opposed to having shut down.
func (s *session) left() bool {
	status := s.serf().LocalMember().Status
	return status == serf.StatusLeaving || status == serf.StatusLeft
}

// leave tells the others. When all leave at once nobody confirms, which is no
// error of ours.
func (s *session) leave() { _ = s.agent.Leave() }

func (m *Mesh) end(s *session) {
	m.session.Store(nil)
	if s.ipc != nil {
		s.ipc.Shutdown()
	}
	if err := s.agent.Shutdown(); err != nil {
		m.log.Error().Err(err).Msg("shut serf down")
	}
	s.transport.wait()
}
