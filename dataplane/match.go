package dataplane

import (
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// match finds the rule for the request.
func (s *Server) match(x *Exchange) bool {
	p := s.plan.Load()
	m := &x.scratch.match
	*m = routetable.Request{Listener: x.Listener, Method: x.Method, Host: x.Host, Path: x.Path, Fields: &x.scratch.view}
	hit, ok := s.matchPreflight(x, p)
	if !ok {
		hit, ok = p.table.Match(m)
	}
	if !ok {
		return x.fail(refusal{code: NoRoute, detail: "No route matches the request."})
	}
	x.rule, x.prefix = s.live(hit.Rule, p), hit.Prefix
	if !hit.Rule.Takes(x.Path) {
		return x.fail(*malformed(400, "The route takes no escaped slashes in the path."))
	}
	x.priority = failover.Priority(x.rule.Priority)
	return true
}

// fail sets the refusal of the request and returns false.
func (x *Exchange) fail(r refusal) bool {
	x.refused = &r
	return false
}
