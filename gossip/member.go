package gossip

import (
	"cmp"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// Tags that every node of the mesh carries. Everything else a node tells of
// itself is a State: tags are few, short, and open to `serf tags`.
const (
	tagRole    = "role"
	tagRegion  = "region"
	tagVersion = "pv"

	role            = "meshgw"
	protocolVersion = "1"
)

// A Member is one process that Serf knows: a node of the mesh, or a stock agent.
type Member struct {
	Name   string
	Addr   string // IP and port of gossip
	Region string
	Status string // alive, leaving, left or failed, as Serf says
	Node   bool   // a meshgw node, not a stock agent
	Self   bool
	Failed time.Time     // since when it has failed, as this node knows; zero where it has not
	RTT    time.Duration // estimated from here by Serf's coordinates; 0 when not known yet
}

// A Change is what happened to a member.
type Change string

// The changes of a member.
const (
	Joined    Change = "joined"
	Failed    Change = "failed"
	Left      Change = "left"
	Updated   Change = "updated"
	Forgotten Change = "forgotten" // gone for so long that Serf dropped it
)

// view is what a node believes of the members at one moment.
type view struct {
	members []Member             // by name
	byName  map[string]Member    // the same
	peers   []memberlist.Address // living nodes but this one
	failed  map[string]time.Time // since when, of those that failed while we watched
	sum     uint64               // hash of who is alive where, to compare views by
	since   time.Time            // when sum became what it is
}

// Members returns all members that Serf remembers, by name, with this node.
func (m *Mesh) Members() []Member {
	members := slices.Clone(m.view.Load().members)
	s := m.session.Load()
	if s == nil {
		return members
	}
	here, err := s.serf().GetCoordinate()
	if err != nil {
		return members
	}
	for i := range members {
		if there, ok := s.serf().GetCachedCoordinate(members[i].Name); ok && !members[i].Self {
			members[i].RTT = here.DistanceTo(there)
		}
	}
	return members
}

// Isolated reports whether this node sees fewer than half of the nodes that it
// could see: those alive and those that failed in the last ten minutes. A node
// that never saw another is not isolated but alone.
func (m *Mesh) Isolated() bool {
	v := m.view.Load()
	alive, failed := 0, 0
	for _, member := range v.members {
		switch {
		case !member.Node:
		case member.Status == serf.StatusAlive.String():
			alive++
		case member.Status == serf.StatusFailed.String() && time.Since(v.failed[member.Name]) < recently:
			failed++
		}
	}
	return 2*alive < alive+failed
}

// recently is how long a peer that is gone still counts as one of us.
const recently = 10 * time.Minute

// look takes Serf's members into a new view.
func (m *Mesh) look(s *session) {
	m.looking.Lock()
	defer m.looking.Unlock()
	old := m.view.Load()
	next := &view{byName: map[string]Member{}, failed: map[string]time.Time{}}
	now := time.Now()
	for _, sm := range s.serf().Members() {
		member := Member{
			Name:   sm.Name,
			Addr:   net.JoinHostPort(sm.Addr.String(), strconv.Itoa(int(sm.Port))),
			Region: regionOf(sm),
			Status: sm.Status.String(),
			Node:   sm.Tags[tagRole] == role,
			Self:   sm.Name == m.cfg.Name,
		}
		switch {
		case member.Self || !member.Node:
		case sm.Status == serf.StatusAlive:
			next.peers = append(next.peers, memberlist.Address{Addr: member.Addr, Name: member.Name})
		case sm.Status == serf.StatusFailed:
			member.Failed = now
			if since, ok := old.failed[member.Name]; ok {
				member.Failed = since
			}
			next.failed[member.Name] = member.Failed
		}
		next.members = append(next.members, member)
		next.byName[member.Name] = member
		if !member.Self && member.Node {
			m.book.note(member, now)
		}
	}
	slices.SortFunc(next.members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	next.sum, next.since = sumOf(next.members), old.since
	if next.sum != old.sum {
		next.since = now
		signal(m.moved)
	}
	m.view.Store(next)
	if slices.ContainsFunc(old.peers, func(p memberlist.Address) bool { return !slices.Contains(next.peers, p) }) {
		signal(m.missed)
	}
}

// regionOf is the region that a member says it is of. It labels metrics.
func regionOf(sm serf.Member) string {
	region := sm.Tags[tagRegion]
	if !utf8.ValidString(region) || len(region) > maxName {
		return ""
	}
	return region
}

// signal wakes whoever waits for c, or does so in time.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func sumOf(members []Member) uint64 {
	var d xxhash.Digest
	for _, member := range members {
		if member.Status == serf.StatusAlive.String() {
			_, _ = d.WriteString(member.Name + "@" + member.Addr + "\n")
		}
	}
	return d.Sum64()
}

// living returns where the member called name is believed to be alive; "" when
// nowhere.
func (m *Mesh) living(name string) (addr string) {
	if member := m.view.Load().byName[name]; member.Status == serf.StatusAlive.String() {
		return member.Addr
	}
	return ""
}

// nameAt is who is known to live at addr, or empty.
func (m *Mesh) nameAt(addr string) string {
	for _, member := range m.view.Load().members {
		if member.Addr == addr && member.Status == serf.StatusAlive.String() {
			return member.Name
		}
	}
	return ""
}

func (m *Mesh) peers() []memberlist.Address { return m.view.Load().peers }

// some returns up to k living peers, in random order.
func (m *Mesh) some(k int) []memberlist.Address {
	peers := m.peers()
	k = min(k, len(peers))
	picked := make([]memberlist.Address, 0, k)
	for _, i := range rand.Perm(len(peers))[:k] {
		picked = append(picked, peers[i])
	}
	return picked
}

// send pushes one of our messages to a peer, best effort and sealed like all
// packets.
func (m *Mesh) send(peer memberlist.Address, msg []byte) {
	if s := m.session.Load(); s != nil {
		// A packet that cannot be sent is a packet lost.
		_ = s.serf().Memberlist().SendToAddress(peer, msg)
	}
}
