package gossip

import (
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"
)

// delegate stands between memberlist and the delegate that Serf has set: Serf's
// messages go through untouched, ours are taken out and put in.
type delegate struct {
	inner memberlist.Delegate
	mesh  *Mesh
	seen  atomic.Bool // memberlist has called it
}

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(limit int) []byte {
	d.seen.Store(true)
	return d.inner.NodeMeta(limit)
}

// NotifyMsg implements memberlist.Delegate.
func (d *delegate) NotifyMsg(msg []byte) {
	if len(msg) > 0 && msg[0] == ours {
		d.mesh.hear(msg[1:])
		return
	}
	if !d.mesh.clocks.believe(msg) {
		d.mesh.stats.refused("serf", "too_far_ahead")
		return
	}
	d.inner.NotifyMsg(msg)
}

// GetBroadcasts implements memberlist.Delegate: Serf's first, so that membership
// never starves; ours in what room is left.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	out := d.inner.GetBroadcasts(overhead, limit)
	for _, msg := range out {
		limit -= len(msg) + overhead
	}
	for _, r := range d.mesh.replicas {
		d.mesh.flush(r)
	}
	if limit > overhead {
		out = append(out, d.mesh.lazy.GetBroadcasts(overhead, limit)...)
	}
	return out
}

// LocalState implements memberlist.Delegate.
func (d *delegate) LocalState(join bool) []byte {
	return appendTrailer(d.inner.LocalState(join), d.mesh.hashes())
}

// MergeRemoteState implements memberlist.Delegate.
func (d *delegate) MergeRemoteState(blob []byte, join bool) {
	serfPart, ourPart := splitTrailer(blob)
	if !d.mesh.clocks.believe(serfPart) {
		d.mesh.stats.refused("serf", "too_far_ahead")
		return
	}
	d.inner.MergeRemoteState(serfPart, join)
	if ourPart != nil {
		d.mesh.hear(append([]byte{wireVersion}, ourPart...))
	}
}

// mergeGuard refuses a join that would bring one name to two living addresses.
// memberlist would keep the older and ignore the newer, and Serf's vote over the
// name could shut either of them down. An address that has died is no obstacle.
type mergeGuard struct {
	inner memberlist.MergeDelegate // nil when Serf set none
	mesh  *Mesh
}

// NotifyMerge implements memberlist.MergeDelegate.
func (g *mergeGuard) NotifyMerge(theirs []*memberlist.Node) error {
	for _, n := range theirs {
		if n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect {
			continue
		}
		addr := net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
		if mine := g.mesh.living(n.Name); mine != "" && mine != addr {
			g.mesh.contest(dispute{name: n.Name, ours: mine, theirs: addr})
			return fmt.Errorf("%w: %s is alive at %s and said to be at %s", ErrNameInUse, n.Name, mine, addr)
		}
	}
	if g.inner != nil {
		return g.inner.NotifyMerge(theirs)
	}
	return nil
}

// aliveGuard refuses members that no node is: what they say of themselves is told
// by metrics and logs, and kept as long as they are remembered.
type aliveGuard struct {
	inner memberlist.AliveDelegate // nil when Serf set none
	mesh  *Mesh
}

// Bounds of the members that are believed in.
const (
	maxMembers = 4096
	maxName    = 128 // bytes, as Serf bounds it
)

// NotifyAlive implements memberlist.AliveDelegate.
func (g *aliveGuard) NotifyAlive(n *memberlist.Node) error {
	v := g.mesh.view.Load()
	_, known := v.byName[n.Name]
	switch {
	case n.Name == "" || len(n.Name) > maxName || !utf8.ValidString(n.Name):
		g.mesh.stats.refused("member", "name")
		return fmt.Errorf("member with a name of %d bytes, or no text: %w", len(n.Name), errMalformed)
	case !known && len(v.members) >= maxMembers:
		g.mesh.stats.refused("member", "too_many")
		return fmt.Errorf("%d members already", len(v.members))
	case g.inner != nil:
		return g.inner.NotifyAlive(n)
	}
	return nil
}

// lazyQueue holds what the lazy rounds still have to tell.
type lazyQueue struct {
	memberlist.TransmitLimitedQueue
}

// maxLazy bounds the queue: what is pushed out is found again by repair.
const maxLazy = 1024

func (q *lazyQueue) enqueue(msg []byte) {
	q.QueueBroadcast(broadcast(msg))
	if q.NumQueued() > maxLazy {
		q.Prune(maxLazy)
	}
}

// broadcast is a message that makes no other obsolete: an older one does no harm.
type broadcast []byte

// Invalidates implements memberlist.Broadcast.
func (broadcast) Invalidates(memberlist.Broadcast) bool { return false }

// Message implements memberlist.Broadcast.
func (b broadcast) Message() []byte { return b }

// Finished implements memberlist.Broadcast.
func (broadcast) Finished() {}

// UniqueBroadcast implements memberlist.UniqueBroadcast.
func (broadcast) UniqueBroadcast() {}
