package node

import (
	"net"
	"time"

	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"
)

// World is what a node finds outside itself. The zero World is this machine.
type World struct {
	Gossip gossip.Network                          // nil = gossip.Sockets
	Listen func(addr string) (net.Listener, error) // for requests and the admin API, at host:port; nil = TCP
	Lines  *telemetry.Lines                        // what is logged, which node does not write itself; nil = unknown
	Now    func() time.Time                        // wall clock: dates what is written, decides nothing; nil = time.Now
}

// In puts n into w before Run, and returns n.
func (n *Node) In(w World) *Node {
	n.world = w
	return n
}

// Table returns the table in service. It may be called once Ready has said yes.
func (n *Node) Table() *routetable.Table { return n.routes.table() }

func (w World) listen(addr string) (net.Listener, error) {
	if w.Listen == nil {
		return net.Listen("tcp", addr)
	}
	return w.Listen(addr)
}

func (w World) now() time.Time {
	if w.Now == nil {
		return time.Now()
	}
	return w.Now()
}
