package dataplane

import (
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// findTenant finds whose request x is by a header, which is believed from trusted
// proxies only. What the client shows of itself is for authenticate, and wins.
func (s *Server) findTenant(x *Exchange) {
	if !x.trusted {
		return
	}
	if t := x.rule.plan.table.TenantByHeader(&x.scratch.view); t != nil {
		x.belongTo(t)
	}
}

// belongTo makes x a request of tenant t of its table.
func (x *Exchange) belongTo(t *routetable.TenantRule) {
	x.tenant = x.rule.plan.tenants[t.Index]
	if t.HasPriority {
		x.priority = failover.Priority(t.Priority)
	}
}

// place is where the request stands among those that wait for a connection.
func (x *Exchange) place() place {
	p := place{priority: x.priority}
	switch {
	case x.from != nil:
		p.tenant = string(x.from.tenant)
	case x.tenant != nil:
		p.tenant = x.tenant.Name
	}
	return p
}
