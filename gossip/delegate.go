package gossip

import (
	"fmt"
	"net"
	"strconv"
	"sync/atomic"

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
