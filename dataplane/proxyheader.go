package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/meshgw/meshgw/dataplane/proxyproto"
)

// takeProxyHeader reads the PROXY header that conn, a connection from a load
// balancer, begins with. What follows stays unread. It reports whether there was one
// and whether its client may have another connection.
func (c *clientConn) takeProxyHeader(conn net.Conn) bool {
	s := c.server
	err := conn.SetReadDeadline(time.Now().Add(headTimeout))
	var from netip.Addr
	if err == nil {
		from, err = proxyproto.Read(conn)
	}
	if err == nil {
		err = conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		s.metrics.closed.WithLabelValues("proxy_header").Inc()
		now, warned := time.Now().UnixNano(), s.proxyWarned.Load()
		if errors.Is(err, proxyproto.ErrHeader) && now-warned >= int64(warnEvery) && s.proxyWarned.CompareAndSwap(warned, now) {
			s.log.Warn().Stringer("from", c.peer).Str("listener", c.listener).Err(err).
				Msg("connection of a load balancer closed: have it send the PROXY protocol, or take its network out of proxy_protocol")
		}
		return false
	}
	if !from.IsValid() {
		return true // the load balancer asks for itself
	}
	if refused := s.clients.identify(c, from, !s.trusts(from)); refused != "" {
		s.metrics.closed.WithLabelValues(refused).Inc()
		return false
	}
	return true
}
