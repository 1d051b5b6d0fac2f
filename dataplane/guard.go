package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
)

var errForbiddenAddress = errors.New("address that no route may reach")

// guard refuses addresses that a route must not publish: this node's own
// control ports, link-local ones (where clouds serve metadata and credentials),
// multicast and the unspecified address. It looks at resolved addresses only,
// so that no name leads around it.
func (s *Server) guard(to netip.AddrPort) error {
	ip := to.Addr()
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || s.cfg.Control != nil && s.cfg.Control(to) {
		return fmt.Errorf("%s: %w", to, errForbiddenAddress)
	}
	return nil
}
