package gossip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/serf/serf"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"
)

// ErrNameInUse means that another living process uses this node's name.
var ErrNameInUse = errors.New("node name in use")

// A Peer is a node seen before: where to look for the mesh after a restart or a
// partition, however long.
type Peer struct {
	Name string    `json:"name"`
	Addr string    `json:"addr"`
	Seen time.Time `json:"seen"` // last seen alive
}

// maxPeers is how many peers are remembered.
const maxPeers = 64

// book remembers peers, failed ones too.
type book struct {
	mu    sync.Mutex // guards peers
	peers map[string]Peer
}

func (b *book) load(peers []Peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers = map[string]Peer{}
	for _, p := range peers {
		b.peers[p.Name] = p
	}
}

// note takes down what became of a member. One that left is not looked for; one
// held for leaving is, until it has: the news may be old, and it long back.
func (b *book) note(member Member, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch member.Status {
	case serf.StatusAlive.String(), serf.StatusLeaving.String():
		b.peers[member.Name] = Peer{Name: member.Name, Addr: member.Addr, Seen: now}
	case serf.StatusLeft.String():
		delete(b.peers, member.Name)
	}
	for len(b.peers) > maxPeers {
		oldest := slices.MinFunc(slices.Collect(maps.Values(b.peers)), func(a, b Peer) int { return a.Seen.Compare(b.Seen) })
		delete(b.peers, oldest.Name)
	}
}

// Peers returns the peers to look for after a restart, by name.
func (m *Mesh) Peers() []Peer {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.book.peers), func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
}

// firstRetry is short because nodes are often started together, and the seed a
// moment after the others.
const firstRetry = 100 * time.Millisecond

// rejoin looks for absent seeds and peers until ctx ends: soon and again while
// any is missing, now and then otherwise. It fails only when this node's name
// belongs to somebody else.
func (m *Mesh) rejoin(ctx context.Context) error {
	soon := firstRetry
	for {
		missing, err := m.lookForAbsent(ctx)
		if err != nil {
			return err
		}
		pause := m.pace.rejoinNone
		if missing {
			pause, soon = soon, min(2*soon, m.pace.rejoinMissing)
		} else {
			soon = firstRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.missed:
			soon = firstRetry
		case <-time.After(jitter(pause)):
		}
	}
}

// lookForAbsent asks every absent address who is there, and joins those that may
// be joined. So Serf's Join, which holds a lock and dials one address after the
// other, never waits for a dead one.
func (m *Mesh) lookForAbsent(ctx context.Context) (missing bool, err error) {
	if m.session.Load() == nil {
		return true, nil
	}
	addrs, missing := m.absent(ctx)
	for _, peer := range m.some(1) {
		if m.lost(ctx, peer.Addr) {
			addrs = append(addrs, peer.Addr)
		}
	}
	joinable := make([]string, len(addrs))
	var group errgroup.Group
	group.SetLimit(8)
	for i, addr := range addrs {
		group.Go(func() error {
			ok, err := m.mayJoin(ctx, addr)
			switch {
			case errors.Is(err, ErrNameInUse):
				return err
			case ctx.Err() != nil: // we are leaving
			case err != nil:
				m.absence.report(m.log, addr, err)
			case ok:
				joinable[i] = addr
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return missing, err
	}
	joinable = slices.DeleteFunc(joinable, func(addr string) bool { return addr == "" })
	if len(joinable) == 0 {
		return missing, nil
	}
	m.join(ctx, joinable)
	return missing, nil
}

// join exchanges members with the nodes at addrs. Serf joins under a lock; we
// queue before it on a channel, for a wait on a lock can neither be ended by a
// context nor be seen by the clock of a test.
func (m *Mesh) join(ctx context.Context, addrs []string) {
	select {
	case m.joining <- struct{}{}:
		defer func() { <-m.joining }()
	case <-ctx.Done():
		return
	}
	s := m.session.Load()
	if s == nil {
		return
	}
	if _, err := s.agent.Join(addrs, false); err != nil {
		m.log.Debug().Err(err).Strs("addresses", addrs).Msg("join")
	}
	m.look(s)
}

// absent returns the addresses of seeds and peers that are not among the living,
// and whether any of them was with us recently.
func (m *Mesh) absent(ctx context.Context) (addrs []string, missing bool) {
	alive := map[string]bool{m.Addr(): true}
	for _, member := range m.view.Load().members {
		if member.Status == serf.StatusAlive.String() {
			alive[member.Addr] = true
		}
	}
	for _, seed := range m.cfg.Seeds {
		at, err := resolveSeed(ctx, seed)
		if err != nil {
			m.absence.report(m.log, seed, err)
			missing = true
			continue
		}
		if slices.ContainsFunc(at, func(addr string) bool { return alive[addr] || m.self.is(addr) }) {
			continue
		}
		addrs, missing = append(addrs, at...), true
	}
	peers := slices.DeleteFunc(m.Peers(), func(p Peer) bool { return alive[p.Addr] })
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	for i, p := range peers {
		missing = missing || time.Since(p.Seen) < recently
		if i < 3 {
			addrs = append(addrs, p.Addr)
		}
	}
	slices.Sort(addrs)
	return slices.Compact(addrs), missing
}

// lost reports whether the peer at addr, alive to us, does not know us where we
// are: it missed the news that we moved or came back. Asking one random peer at
// a time finds that sooner than Serf's exchanges do.
func (m *Mesh) lost(ctx context.Context, addr string) bool {
	they, err := m.askWho(ctx, addr, "")
	return err == nil && they.instance != m.instance && they.holder != m.Addr()
}

// mayJoin asks the process at addr who it is and where it believes our name to
// be. It is safe to join unless our name is alive elsewhere: if its holder
// answers, the name is taken (ErrNameInUse); if it does not, it is the address
// of a process that died, perhaps our own earlier one, and we wait until that
// is noticed. memberlist would refuse the new address before.
func (m *Mesh) mayJoin(ctx context.Context, addr string) (bool, error) {
	they, err := m.askWho(ctx, addr, m.Addr())
	if err != nil {
		return false, err
	}
	switch {
	case they.instance == m.instance: // a seed address that is our own
		m.self.add(addr)
		return false, nil
	case they.name == m.cfg.Name:
		return false, m.inUse(they, addr)
	case they.holder == "" || they.holder == m.Addr():
		return true, nil
	}
	holder, err := m.askWho(ctx, they.holder, "")
	switch {
	case err != nil || holder.name != m.cfg.Name:
		return false, fmt.Errorf("it still believes %s alive at %s, which does not answer", m.cfg.Name, they.holder)
	case holder.instance == m.instance:
		m.self.add(they.holder)
		return true, nil
	}
	return false, m.inUse(holder, they.holder)
}

func (m *Mesh) inUse(who who, addr string) error {
	if who.id == m.cfg.ID {
		return fmt.Errorf("%w: another process runs as %q with this node's id at %s; was its data dir copied?", ErrNameInUse, m.cfg.Name, addr)
	}
	return fmt.Errorf("%w: %q belongs to the node at %s; choose another with --node", ErrNameInUse, m.cfg.Name, addr)
}

// who is a node's answer to "who are you".
type who struct {
	name     string
	id       string
	instance string // random, new at every start
	// Where it believes the asker's name to be alive; "" = nowhere. In a question:
	// where the asker is, who looks for us because we are not alive to it; else "".
	holder string
}

const (
	fieldWhoName     = 1
	fieldWhoID       = 2
	fieldWhoInstance = 3
	fieldWhoHolder   = 4
)

// askWho asks the process at addr who it is. from is where the asker is, told only
// when it looks for somebody there.
func (m *Mesh) askWho(ctx context.Context, addr, from string) (who, error) {
	ctx, cancel := context.WithTimeout(ctx, m.pace.helloTimeout)
	defer cancel()
	s, err := m.dial(ctx, addr, "")
	if err != nil {
		return who{}, err
	}
	defer func() { _ = s.conn.Close() }()
	answer, err := s.call("who", appendWho(who{name: m.cfg.Name, id: m.cfg.ID, instance: m.instance, holder: from}))
	if err != nil {
		return who{}, err
	}
	w, err := decodeWho(answer)
	if err == nil && !s.speaksFor(w.name) {
		return who{}, fmt.Errorf("%s shows a certificate that is not for its name %s", addr, w.name)
	}
	return w, err
}

func (m *Mesh) serveWho(request []byte) ([]byte, error) {
	asker, err := decodeWho(request)
	if err != nil {
		return nil, err
	}
	if asker.holder != "" && m.living(asker.name) == asker.holder {
		select {
		case m.doubters <- asker.holder:
		default: // one at a time is enough: it asks again
		}
	}
	return appendWho(who{name: m.cfg.Name, id: m.cfg.ID, instance: m.instance, holder: m.living(asker.name)}), nil
}

func appendWho(w who) (b []byte) {
	for i, text := range []string{fieldWhoName: w.name, fieldWhoID: w.id, fieldWhoInstance: w.instance, fieldWhoHolder: w.holder} {
		if text != "" {
			b = protowire.AppendString(protowire.AppendTag(b, protowire.Number(i), protowire.BytesType), text)
		}
	}
	return b
}

func decodeWho(b []byte) (w who, err error) {
	for f, err := range wireFields(b) {
		if err != nil {
			return who{}, err
		}
		switch f.num {
		case fieldWhoName:
			w.name = string(f.bytes)
		case fieldWhoID:
			w.id = string(f.bytes)
		case fieldWhoInstance:
			w.instance = string(f.bytes)
		case fieldWhoHolder:
			w.holder = string(f.bytes)
		}
	}
	return w, nil
}

const (
	defaultPort = "7946"
	srvPrefix   = "dnssrv+"
)

// resolveSeed returns the addresses that a seed stands for now: host, host:port,
// or dnssrv+NAME, whose SRV records name hosts and ports.
func resolveSeed(ctx context.Context, seed string) ([]string, error) {
	if name, ok := strings.CutPrefix(seed, srvPrefix); ok {
		_, records, err := net.DefaultResolver.LookupSRV(ctx, "", "", name)
		if err != nil {
			return nil, err
		}
		var addrs []string
		for _, r := range records {
			at, err := resolveHost(ctx, strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
			if err != nil {
				return nil, err
			}
			addrs = append(addrs, at...)
		}
		return addrs, nil
	}
	host, port, err := net.SplitHostPort(seed)
	if err != nil {
		host, port = strings.Trim(seed, "[]"), defaultPort
	}
	return resolveHost(ctx, host, port)
}

func resolveHost(ctx context.Context, host, port string) ([]string, error) {
	if net.ParseIP(host) != nil {
		return []string{net.JoinHostPort(host, port)}, nil
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	for i, ip := range ips {
		ips[i] = net.JoinHostPort(ip, port)
	}
	return ips, nil
}

// addrSet is a set of addresses.
type addrSet struct {
	mu sync.Mutex // guards m
	m  map[string]bool
}

func (s *addrSet) add(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]bool{}
	}
	s.m[addr] = true
}

func (s *addrSet) is(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[addr]
}
