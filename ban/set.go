package ban

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// A Set is a set of networks for looking up addresses. It is immutable; the
// zero Set is empty.
type Set struct{ networks bart.Lite }

// Contains reports whether an address is in one of the networks. It does not
// allocate.
func (s *Set) Contains(ip netip.Addr) bool { return s.networks.Lookup(ip) }
