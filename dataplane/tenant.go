package dataplane

import (
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// findTenant sets the tenant of x by a header, which only trusted proxies may set.
// Credentials, if there are any, take precedence: see authenticate.
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

// Rank returns the rank of the request among those that wait for a connection.
func (x *Exchange) Rank() upstream.Rank {
	p := upstream.Rank{Priority: x.priority}
	switch {
	case x.from != nil:
		p.Tenant = string(x.from.tenant)
	case x.tenant != nil:
		p.Tenant = x.tenant.Name
	}
	return p
}
