package sim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/internal/meshtest"
	"github.com/meshgw/meshgw/logs"
	"github.com/meshgw/meshgw/node"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
)

const (
	gossipPort = "7946"
	adminPort  = "9901"
	httpPort   = "8080"
)

// machine is a name in the mesh, over all starts of its node.
type machine struct {
	world *world
	index int
	name  string
	ip    string
	dir   string // what the disk holds now
	boots int
	off   bool          // gone with its address, not only its process
	away  bool          // the disk cannot be written to
	clock atomic.Int64  // how far its wall clock is ahead, ns
	slow  time.Duration // what it sends takes longer
	boot  *boot         // nil while down

	mu    sync.Mutex // guards acked
	acked []*changeset
}

// boot is one life of a node.
type boot struct {
	machine *machine
	node    *node.Node
	host    *meshtest.Host
	client  *api.Client
	stop    context.CancelFunc
	killed  atomic.Bool
	ended   chan struct{}
	err     error // of Run; valid when ended is closed
}

// at is where the machine is on the network.
func (m *machine) at() *meshtest.Host {
	if m.boot != nil {
		return m.boot.host
	}
	return m.world.net.Host(m.ip)
}

// start runs the machine's node on what its disk holds.
func (m *machine) start() {
	w := m.world
	m.boots++
	m.off = false
	b := &boot{machine: m, host: w.net.Host(m.ip), ended: make(chan struct{})}
	b.host.Slow(m.slow)
	m.boot = b
	b.node = node.New(m.config(), "sim", logs.Plain(w.story.logOf(m.name))).In(node.World{
		Gossip: b.host, Listen: b.host.ListenStream,
		Now: func() time.Time { return time.Now().Add(time.Duration(m.clock.Load())) },
	})
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return w.operator.Dial(ctx, addr) },
	}
	var err error
	if b.client, err = api.New(net.JoinHostPort(m.ip, adminPort), "", &http.Client{Transport: transport}); err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	b.stop = stop
	w.boots.Go(func() {
		b.err = b.node.Run(ctx)
		close(b.ended)
	})
	w.boots.Go(func() { b.watch() })
	w.story.tell("%s starts at %s", m.name, m.ip)
}

func (m *machine) config() config.Config {
	c := config.Config{DataDir: m.dir, Insecure: true}
	c.Node = config.Identity{Name: m.name, Region: "eu", Weight: 100}
	c.Listen = config.Listen{HTTP: net.JoinHostPort(m.ip, httpPort), Admin: net.JoinHostPort(m.ip, adminPort)}
	c.Gossip = config.Gossip{Bind: net.JoinHostPort(m.ip, gossipPort), KeyringFile: m.world.keys, Profile: "lan"}
	for _, seed := range m.world.machines[:m.world.seeds()] {
		c.Gossip.Join = append(c.Gossip.Join, net.JoinHostPort(seed.ip, gossipPort))
	}
	c.Drain = config.Drain{AcceptFor: 100 * time.Millisecond, FinishIn: time.Second}
	return c
}

// seeds counts the machines that everybody is told of; these never move.
func (w *world) seeds() int { return min(3, w.scenario.nodes-1) }

// watch judges every table that the node serves, until it ends or is killed.
func (b *boot) watch() {
	var last *routetable.Table
	judged := 0
	for {
		select {
		case <-b.ended:
			if !b.killed.Load() && b.err != nil {
				b.machine.world.story.fail("%s ended by itself: %v", b.machine.name, b.err)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
		if ready, _ := b.node.Ready(); !ready || b.killed.Load() {
			continue
		}
		must := b.machine.promised()
		table := b.node.Table()
		if table == last && len(must) == judged {
			continue
		}
		if last != nil && table.Stamp().Less(last.Stamp()) {
			b.machine.world.story.fail("%s went back from %s to %s", b.machine.name, last.Stamp(), table.Stamp())
		}
		b.judge(table, must)
		last, judged = table, len(must)
	}
}

// judge looks for an explanation of table; when it has none it asks the node for
// what it knows, for news may be here before the edit is answered.
func (b *boot) judge(table *routetable.Table, must []*changeset) {
	w := b.machine.world
	if w.ledger.explain(table, must) == nil {
		return
	}
	if err := b.study(); err != nil {
		if !b.killed.Load() && !b.over() {
			w.story.fail("%s does not tell its history: %v", b.machine.name, err)
		}
		return
	}
	if err := w.ledger.explain(table, must); err != nil && !b.killed.Load() {
		w.story.fail("%s serves at %s what nobody wrote so: %v", b.machine.name, table.Stamp(), err)
	}
}

func (b *boot) over() bool {
	ready, _ := b.node.Ready()
	return !ready
}

// study learns the node's history.
func (b *boot) study() error {
	history, err := b.history()
	for _, c := range history {
		b.machine.world.ledger.learn(c)
	}
	return err
}

func (b *boot) history() ([]*changeset, error) {
	ctx, cancel := b.machine.world.ask()
	defer cancel()
	told, err := b.client.History(ctx)
	var all []*changeset
	for _, t := range told {
		c, bad := changesetOf(t.ID, t.Message, t.Changes)
		if bad != nil {
			return nil, bad
		}
		all = append(all, c)
	}
	return all, err
}

// promised is what the machine has acknowledged and must hold.
func (m *machine) promised() []*changeset {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.acked)
}

func (m *machine) promise(c *changeset) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acked = append(m.acked, c)
}

const (
	tableFile    = "routes.snapshot"
	identityFile = "identity.json"
	peersFile    = "peers.json"
)

// stored returns what the machine's node would start from: the newest snapshot
// on its disk that is sound, or an empty table.
func (m *machine) stored() *replica.Store {
	for _, name := range []string{tableFile, tableFile + ".previous"} {
		s := replica.NewStore(m.name)
		data, err := os.ReadFile(filepath.Join(m.disk(), name))
		if err == nil && s.Restore(data) == nil {
			return s
		}
	}
	return replica.NewStore(m.name)
}

// disk is where the machine's files are; a disk that is away has them still.
func (m *machine) disk() string {
	if m.away {
		return m.dir + ".away"
	}
	return m.dir
}

// apply sends a route file to the machine's node and writes down what came of it.
func (m *machine) apply(what string, send func(ctx context.Context, c *api.Client, o api.ApplyOptions) (api.Applied, error)) {
	w, b := m.world, m.boot
	message, ok := w.ledger.next()
	if !ok {
		return
	}
	w.story.tell("%s at %s: %s", message, m.name, what)
	ctx, cancel := w.ask()
	defer cancel()
	a, err := send(ctx, b.client, api.ApplyOptions{Message: message})
	if p, refused := errors.AsType[*api.Problem](err); refused {
		w.ledger.refuse(message, p)
		w.story.tell("%s refused: %v", message, p)
		return
	}
	if err != nil {
		w.story.tell("%s in doubt: %v", message, err)
		return
	}
	if a.ID == "" {
		w.story.tell("%s changes nothing", message)
		return
	}
	c, err := changesetOf(a.ID, message, a.Changes)
	if err != nil {
		w.story.fail("%s: %v", m.name, err)
		return
	}
	w.story.tell("%s acknowledged as %s", message, a.ID)
	w.ledger.acknowledge(c)
	if !b.killed.Load() {
		m.promise(c)
	}
}
