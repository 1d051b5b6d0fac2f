package dataplane

import (
	"sync"
	"time"

	"github.com/meshgw/meshgw/routetable"
)

// orphanLasts is how long a tunnel may go on once its route was deleted.
const orphanLasts = 5 * time.Minute

// tunnels are those that are open, by their route. One whose route was deleted ends
// after orphanLasts, unless the route is back by then; other changes of the table do
// not touch it. Those of other gateways' clients end where the client came in.
type tunnels struct {
	mu   sync.Mutex // guards the rest, each openTunnel too
	open map[*openTunnel]struct{}
}

type openTunnel struct {
	route string
	end   func()
	timer *time.Timer // running since the route was deleted; nil = it is there
}

// add takes up a tunnel that end ends, and returns what takes it out again. table is
// what follow was called with last, or will be soon.
func (t *tunnels) add(route string, end func(), table func() *routetable.Table) (remove func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[*openTunnel]struct{}{}
	}
	o := &openTunnel{route: route, end: end}
	t.open[o] = struct{}{}
	o.heed(table())
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		o.adopt()
		delete(t.open, o)
	}
}

// follow heeds which routes table has.
func (t *tunnels) follow(table *routetable.Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for o := range t.open {
		o.heed(table)
	}
}

// heed ends the tunnel in time where table does not have its route, tunnels.mu held.
func (o *openTunnel) heed(table *routetable.Table) {
	switch deleted := table.Rule(o.route) == nil; {
	case !deleted:
		o.adopt()
	case o.timer == nil:
		o.timer = time.AfterFunc(orphanLasts, o.end)
	}
}

// adopt lets the tunnel go on, tunnels.mu held.
func (o *openTunnel) adopt() {
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
}
