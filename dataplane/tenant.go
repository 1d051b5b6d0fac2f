package dataplane

import "github.com/meshgw/meshgw/failover"

// findTenant finds whose request x is, if that of a tenant in the table. A header
// is believed from trusted proxies only. The other ways to identify a tenant need
// a route's auth, and with it are refused.
func (s *Server) findTenant(x *Exchange) {
	if !x.trusted {
		return
	}
	p := x.rule.plan
	t := p.table.TenantByHeader(&x.scratch.view)
	if t == nil {
		return
	}
	x.tenant = p.tenants[t.Index]
	if t.HasPriority {
		x.priority = failover.Priority(t.Priority)
	}
}
