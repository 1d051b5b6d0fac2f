package dataplane

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/meshgw/meshgw/dataplane/ids"
	"github.com/meshgw/meshgw/dataplane/message"
)

// identify determines the client and the ids of the request.
func (s *Server) identify(x *Exchange) bool {
	x.trusted = s.trusts(x.Peer)
	x.Client = x.Peer
	if x.trusted {
		x.Client = s.clientBehindProxies(x)
	}
	s.trace(x)
	if s.isLoop(x) {
		return x.fail(refusal{code: ForwardLoop, detail: "The request has passed this node before."})
	}
	return true
}

// trace sets the ids of the request: those it was sent with, or new ones.
func (s *Server) trace(x *Exchange) {
	x.RequestID, _ = message.Find(x.Fields, message.RequestID)
	if !ids.ValidRequestID(x.RequestID) {
		x.RequestID = ids.AppendRequestID(x.scratch.id[:0], x.Start)
	}
	parent, count := message.Find(x.Fields, message.Traceparent)
	if count > 1 {
		parent = nil
	}
	x.trace = ids.ReadTrace(parent, s.sampledBelow)
}

// isLoop reports whether the request has passed this node, by Via.
func (s *Server) isLoop(x *Exchange) bool {
	for i := range x.Fields {
		if x.Fields[i].ID == message.Via {
			for hop := range message.Listed(x.Fields[i].Value) {
				if _, by := message.CutByte(hop, ' '); bytes.Equal(by, s.via) {
					return true
				}
			}
		}
	}
	return false
}

func (s *Server) trusts(ip netip.Addr) bool { return contains(s.cfg.TrustedProxies, ip) }

func contains(networks []netip.Prefix, ip netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// clientBehindProxies returns the rightmost address of X-Forwarded-For that is not a
// trusted proxy.
func (s *Server) clientBehindProxies(x *Exchange) netip.Addr {
	client := x.Peer
	for _, f := range slices.Backward(x.Fields) {
		if f.ID != message.XForwardedFor {
			continue
		}
		for rest := f.Value; len(rest) > 0; {
			comma := bytes.LastIndexByte(rest, ',')
			hop := bytes.Trim(rest[comma+1:], " \t")
			rest = rest[:max(comma, 0)]
			ip, ok := forwardedAddr(hop)
			if !ok {
				return client // nothing to its left can be trusted
			}
			if client = ip; !s.trusts(ip) {
				return client
			}
		}
	}
	return client
}

// forwardedAddr parses an address, with or without port and brackets.
func forwardedAddr(hop []byte) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(string(bytes.Trim(hop, "[]"))); err == nil {
		return ip.Unmap().WithZone(""), true
	}
	if at, err := netip.ParseAddrPort(string(hop)); err == nil {
		return at.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}
