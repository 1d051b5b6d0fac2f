package dataplane

import "slices"

// admit decides whether the request may go on, by load, by whether its rule can
// be served, by client and by size of the body.
func (s *Server) admit(x *Exchange) bool {
	r := x.rule
	s.findTenant(x)
	switch {
	case !s.hasCapacity(x):
		return false
	case r.refused != nil:
		x.refused = r.refused
		return false
	case contains(r.Deny, x.Client), len(r.Allow) > 0 && !contains(r.Allow, x.Client):
		return x.denied(s.metrics.denied.route)
	case r.MaxBody > 0 && x.Length > r.MaxBody && !x.grpc:
		return x.fail(tooLarge())
	}
	return s.authenticate(x) && x.tenantAdmitted()
}

// tenantAdmitted lets pass who belongs to one of the rule's tenants, where it names
// any. A preflight belongs to nobody.
func (x *Exchange) tenantAdmitted() bool {
	all := x.rule.Tenants
	if len(all) == 0 || x.preflight {
		return true
	}
	if x.tenant != nil {
		if _, ok := slices.BinarySearch(all, x.tenant.Name); ok {
			return true
		}
	}
	return x.fail(refusal{code: Denied, detail: "The route is for other tenants."})
}

func tooLarge() refusal {
	return refusal{code: TooLarge, detail: "The body is larger than the route allows.", close: true}
}
