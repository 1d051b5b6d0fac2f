package node

import (
	"context"
	"net/netip"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/roster"
)

const (
	lookEvery = 100 * time.Millisecond // between two looks at what others report of endpoints
	tellEvery = time.Second            // of the room here, and that this node is there
)

// followHealth tells the mesh how endpoints are and what room there is here, and
// the data plane what the others tell, until ctx ends.
func (n *Node) followHealth(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var told time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if n.health.tellVerdicts(n.plane.Verdicts()) {
				n.mesh.Push(healthState)
			}
			if now.Sub(told) >= tellEvery {
				told = now
				n.health.tellLoads(n.room())
				if n.plane.Checks() {
					n.health.beat(now)
				}
			}
			n.plane.SetMesh(n.neighbourhood())
		}
	}
}

// room is what this node offers the mesh: nothing while it sees less than half of
// it, for others are better off elsewhere then.
func (n *Node) room() []failover.Load {
	l := n.load.Load()
	loads := n.plane.Loads(l.RequestsPerSecond, l.CPU)
	if n.mesh.Isolated() {
		for i := range loads { // to tell nothing would be to have told nothing yet
			loads[i] = failover.Load{Upstream: loads[i].Upstream}
		}
	}
	return loads
}

// neighbourhood is what this node knows of the living ones, for the data plane.
func (n *Node) neighbourhood() *dataplane.Mesh {
	m := &dataplane.Mesh{RoundTrip: map[string]time.Duration{}, Links: map[string]string{}}
	own := n.peer(roster.Node{
		ID: n.identity.ID, Name: n.cfg.Node.Name, Incarnation: n.identity.Incarnation, Region: n.cfg.Node.Region, Weight: int(n.weight.Load()), Phase: *n.phase.Load(),
	})
	var peers []failover.Peer
	m.Words = n.health.verdictChanges() // before they are read, so that none is missed
	for _, v := range n.view() {
		if v.member.Status != api.MemberAlive || v.member.Self || v.word.ID == "" {
			continue
		}
		peers = append(peers, n.peer(v.word))
		m.Words = m.Words*31 + xxhash.Sum64String(v.word.Name+"/"+v.word.Region) + uint64(v.word.Incarnation)
		if rtt, known := m.RoundTrip[v.word.Region]; v.member.RTT > 0 && (!known || v.member.RTT < rtt) {
			m.RoundTrip[v.word.Region] = v.member.RTT
		}
		if addr := reachable(v.word.Listen.Mesh, v.member.Addr); addr != "" {
			m.Links[v.word.Name] = addr
		}
	}
	m.View = failover.NewView(own, peers)
	return m
}

// peer is a node with what it told of endpoints. It goes by its name, which is
// unique among the living and what people read in reasons.
func (n *Node) peer(word roster.Node) failover.Peer {
	said := n.health.of(word.ID)
	return failover.Peer{
		ID: word.Name, Region: word.Region, Incarnation: word.Incarnation, Weight: word.Weight,
		Ready: word.Phase == roster.Serving, Heard: said.heard, Verdicts: said.verdicts, Loads: said.loads,
	}
}

// reachable is where a peer's listener is reached: where it listens, or on the
// address of its gossip if it listens on all; empty where it cannot be, as on the
// loopback of another machine.
func reachable(listen, gossip string) string {
	at, err := netip.ParseAddrPort(listen)
	if err != nil {
		return ""
	}
	peer, err := netip.ParseAddrPort(gossip)
	switch {
	case err != nil, at.Addr().IsLoopback() && !peer.Addr().IsLoopback():
		return ""
	case at.Addr().IsUnspecified():
		return netip.AddrPortFrom(peer.Addr(), at.Port()).String()
	}
	return listen
}
