package ban

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// A Set is networks to look addresses up in. It does not change; the zero Set
// holds nobody. Its methods may be called from several goroutines at once.
type Set struct{ networks bart.Lite }

// Contains reports whether an address is of one of the networks. It does not
// allocate.
func (s *Set) Contains(ip netip.Addr) bool { return s.networks.Lookup(ip) }
