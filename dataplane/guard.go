package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
)

var errForbiddenAddress = errors.New("address that no route may reach")

// guard refuses addresses that a route must not reach: this node's control ports, and
// those of OffLimits. It checks resolved addresses, so that no name gets around it.
func (s *Server) guard(to netip.AddrPort) error {
	if OffLimits(to.Addr()) || s.cfg.Control != nil && s.cfg.Control(to) {
		return fmt.Errorf("%s: %w", to, errForbiddenAddress)
	}
	return nil
}

// OffLimits reports whether requests must never be sent to ip: to link-local and
// other addresses at which clouds serve metadata and credentials to their machines,
// to multicast and to the unspecified address. An address behind NAT64 counts as the
// IPv4 address that it stands for.
func OffLimits(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() && netip.MustParsePrefix("64:ff9b::/96").Contains(ip) { // RFC 6052
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || isMetadata(ip)
}

// isMetadata reports whether ip is the metadata service of a cloud, other than
// 169.254.169.254, which is link-local.
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
