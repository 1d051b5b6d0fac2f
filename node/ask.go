package node

import (
	"context"
	"sync"
	"time"

	"github.com/meshgw/meshgw/api"
)

// answered is one node's answer to a question to all.
type answered struct {
	node string
	data []byte
	err  error // why there is none

	asked, ended time.Time // by this node's wall clock
}

const (
	// askTimeout is enough for a busy node far away; a node that exceeds it is
	// reported as silent.
	askTimeout = 3 * time.Second
	askAtOnce  = 32
)

// askAll asks the named service of every node that has not left, this one too,
// and returns what each said, ordered by name: one that is out of reach may yet
// serve clients of its own. See gossip.Config.Services.
func (n *Node) askAll(ctx context.Context, service string, request []byte) []answered {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var all []answered
	for _, m := range n.mesh.Members() { // by name
		if m.Node && (m.Status == api.MemberAlive || m.Status == api.MemberFailed) {
			all = append(all, answered{node: m.Name})
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for i := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			all[i].asked = n.world.now()
			all[i].data, all[i].err = n.mesh.Call(ctx, all[i].node, service, request)
			all[i].ended = n.world.now()
		})
	}
	wg.Wait()
	return all
}
