package dataplane

import "github.com/meshgw/meshgw/routetable/canonical"

// setTarget parses the request's target, and sets the canonical path and the query.
func (x *Exchange) setTarget(raw []byte) (canonical.Target, *refusal) {
	if len(raw) > targetLimit {
		return canonical.Target{}, &refusal{code: TooLarge, status: 414, detail: "The request target is longer than 8 KiB.", close: true}
	}
	target, err := canonical.ParseTarget(x.scratch.path[:0], raw)
	if err != nil || string(target.Path) == "*" {
		return target, malformed(400, "The request target is not accepted.")
	}
	x.scratch.path = target.Path
	x.Path, x.Query, x.HasQuery = target.Path, target.Query, target.HasQuery
	return target, nil
}

// setHost parses the authority of the request, and sets the canonical host. It
// reports whether it is well-formed.
func (x *Exchange) setHost(authority []byte) bool {
	host, _, err := canonical.ParseHost(x.scratch.host[:0], authority)
	if err != nil {
		return false
	}
	x.Host, x.scratch.host, x.Authority = host, host, authority
	return true
}
