package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
)

var errForbiddenAddress = errors.New("address that no route may reach")

// guard refuses addresses that a route must not publish: this node's own control
// ports, and what is off limits. It looks at resolved addresses only, so that no
// name leads around it.
func (s *Server) guard(to netip.AddrPort) error {
	if OffLimits(to.Addr()) || s.cfg.Control != nil && s.cfg.Control(to) {
		return fmt.Errorf("%s: %w", to, errForbiddenAddress)
	}
	return nil
}

// OffLimits reports whether nobody may be sent to ip, whoever asks: link-local
// addresses and others at which clouds serve metadata and credentials to their
// machines, multicast and the unspecified address. What a NAT64 leads to
// counts as what it stands for.
func OffLimits(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() && netip.MustParsePrefix("64:ff9b::/96").Contains(ip) { // RFC 6052
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || isMetadata(ip)
}

// isMetadata reports whether a cloud tells its machines about themselves at ip,
// where that is not link-local as 169.254.169.254 is.
func isMetadata(ip netip.Addr) bool {
	switch ip.String() {
	case "fd00:ec2::254", // AWS
		"fd20:ce::254",       // Google
		"fd00:c1::a9fe:a9fe", // Oracle
		"100.100.100.200",    // Alibaba
		"168.63.129.16":      // Azure
		return true
	}
	return false
}
