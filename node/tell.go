package node

import (
	"context"
	"strings"
	"time"

	"github.com/meshgw/meshgw/roster"
)

// tell reports this node to the mesh at once.
func (n *Node) tell() {
	if n.say() {
		n.mesh.Push(nodesState)
	}
}

// say makes this node's report anew and reports whether it is another.
func (n *Node) say() bool {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.toldLoad = *n.load.Load()
	return n.roster.Tell(roster.Node{
		Name: n.cfg.Node.Name, Region: n.cfg.Node.Region, Zone: n.cfg.Node.Zone, Weight: int(n.weight.Load()),
		Build: n.build, StartedAt: n.started.UnixMilli(), Phase: *n.phase.Load(),
		Listen: wordOf(n.listen), Listeners: strings.Join(n.cfg.Listen.Names(), ","), Load: n.toldLoad,
		Routes: n.routes.word(),
	})
}

// published takes a new table into service and tells the mesh what runs here.
func (n *Node) published() {
	n.plane.Publish(n.routes.table())
	n.credentials.keep(n.routes.table())
	n.tell()
}

// tellLoad measures the load, and reports it when it has changed: with the periodic
// rounds, and the less often the more nodes there are.
func (n *Node) tellLoad(ctx context.Context) {
	var m meter
	var o overload
	var last time.Time
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			l := n.plane.Load()
			load := m.measure(now, cpuTime(), l.Requests, l.Inflight)
			n.load.Store(&load)
			n.shed(&o, o.observe(now, m.used, n.cfg.ShedCPU, l.Arrived))
			n.drift.look(now, n.holders())
			pause := max(time.Second, time.Duration(len(n.roster.Nodes()))*50*time.Millisecond)
			if now.Sub(last) >= pause && (worthTelling(n.lastTold(), load) || !n.roster.Told()) {
				n.say()
				last = now
			}
		}
	}
}

func (n *Node) lastTold() roster.Load {
	n.telling.Lock()
	defer n.telling.Unlock()
	return n.toldLoad
}
