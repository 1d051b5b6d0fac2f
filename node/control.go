package node

import (
	"net"
	"net/netip"
)

// isControl reports whether to is where this node itself is controlled: admin,
// Serf RPC, gossip or the mesh link. A route must not publish those.
func (n *Node) isControl(to netip.AddrPort) bool {
	for _, listen := range []string{n.listen.Admin, n.listen.RPC, n.listen.Gossip, n.listen.Mesh} {
		own, err := netip.ParseAddrPort(listen)
		if err != nil || own.Port() != to.Port() {
			continue
		}
		if own.Addr() == to.Addr().Unmap() || (own.Addr().IsUnspecified() || own.Addr().IsLoopback()) && isOwn(to.Addr()) {
			return true
		}
	}
	return false
}

// isOwn reports whether ip belongs to this machine.
func isOwn(ip netip.Addr) bool {
	ip = ip.Unmap()
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // better refused than let through
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == ip {
			return true
		}
	}
	return false
}
