package node

import (
	"context"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/roster"
)

func (n *Node) heardTable() <-chan struct{} { return n.mesh.Heard(routesState) }

func (n *Node) isFirst() bool {
	for _, m := range n.mesh.Members() { // by name
		if m.Node && m.Status == api.MemberAlive {
			return m.Self
		}
	}
	return true
}

const peersFile = "peers.json"

// peersBefore are those of an earlier run. Without them a node still has its seeds, so
// nothing here is fatal.
func (n *Node) peersBefore() []gossip.Peer {
	peers, _ := datadir.ReadJSON[[]gossip.Peer](n.dir, peersFile)
	return peers
}

// rememberPeers keeps the peers file up to date, for the next start.
func (n *Node) rememberPeers(ctx context.Context) {
	var last []gossip.Peer
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.peersMoved:
		case <-time.After(10 * time.Second): // those seen lately change places with those that are not
		}
		peers := n.mesh.Peers()
		if samePeers(last, peers) {
			continue
		}
		if err := n.dir.WriteJSON(peersFile, peers); err != nil {
			n.log.Error().Err(err).Msg("peers not remembered")
			continue
		}
		last = peers
	}
}

// samePeers compares who is known and where; when they were last seen matters
// only by the minute.
func samePeers(a, b []gossip.Peer) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Addr != b[i].Addr || b[i].Seen.Sub(a[i].Seen) > time.Minute {
			return false
		}
	}
	return true
}

// memberChanged saves the peers at once: a node without seeds that dies a
// moment after its first join has no other way back. It also drops what a node
// told of itself once Serf has forgotten it.
func (n *Node) memberChanged(m gossip.Member, change gossip.Change) {
	select {
	case n.peersMoved <- struct{}{}:
	default:
	}
	signal(n.limits.moved)
	for _, id := range n.departed.follow(m.Name, change, n.roster.Nodes()) {
		n.roster.Forget(id)
		n.health.forget(id)
	}
}

// departures are the members that have gone and are not forgotten yet: by name,
// the identities that had it then. A node that comes back without its disk has the
// name with another identity, and may be heard of before Serf forgets the first.
type departures map[string][]string

// follow processes what happened to a member and returns the identities to forget.
func (d departures) follow(name string, change gossip.Change, known []roster.Node) (forget []string) {
	var now []string
	for _, node := range known {
		if node.Name == name {
			now = append(now, node.ID)
		}
	}
	switch change {
	case gossip.Failed, gossip.Left:
		d[name] = now
	case gossip.Joined:
		delete(d, name)
	case gossip.Forgotten:
		was, seen := d[name]
		if delete(d, name); seen {
			return was
		}
		return now // it went while this node was not there
	}
	return nil
}

// warnIsolated says so each minute while this node sees less than half of the
// mesh, and when that is over.
func (n *Node) warnIsolated(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var since, said time.Time
	for {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
		switch isolated := n.mesh.Isolated(); {
		case isolated && now.Sub(said) >= time.Minute:
			if since.IsZero() {
				since = now
			}
			said = now
			n.log.Warn().Time("since", since).Str("reason", "less than half of the mesh is in sight; serving on").Msg("isolated")
		case !isolated && !since.IsZero():
			n.log.Info().Time("since", since).Msg("no longer isolated")
			since, said = time.Time{}, time.Time{}
		}
	}
}
