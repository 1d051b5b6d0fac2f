package routetable

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// AccessRule says which clients are admitted at all. It combines every Access. The
// zero AccessRule admits everybody.
type AccessRule struct {
	allow, deny *bart.Lite // nil = nothing is said
}

// Admits reports whether a client may ask. It does not allocate.
func (a *AccessRule) Admits(ip netip.Addr) bool {
	if a.deny != nil && a.deny.Lookup(ip) {
		return false
	}
	return a.allow == nil || a.allow.Lookup(ip)
}

func accessRule(all []*Access) (r AccessRule) {
	for _, a := range all {
		r.allow = withNetworks(r.allow, a.Allow)
		r.deny = withNetworks(r.deny, a.Deny)
	}
	return r
}

func withNetworks(set *bart.Lite, c *CIDRs) *bart.Lite {
	if c == nil {
		return set
	}
	if set == nil {
		set = new(bart.Lite)
	}
	for _, p := range prefixes(c) {
		set.Insert(p)
	}
	return set
}

func (v *validator) access(a *Access) {
	if a.Allow == nil && a.Deny == nil {
		v.errorf("", "expected allow or deny")
	}
	v.cidrs("allow", a.Allow)
	v.cidrs("deny", a.Deny)
}
