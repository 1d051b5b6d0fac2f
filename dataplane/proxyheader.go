package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// The PROXY protocol, versions 1 and 2, by which a load balancer of TCP says, in
// front of what a client sends, who the client is:
// https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt
const (
	shortestProxyHeader = 15      // "PROXY UNKNOWN\r\n"
	longestProxyLine    = 107     // of version 1, its end included
	longestProxyBlock   = 4 << 10 // of version 2, after its 16 bytes; addresses and what load balancers add of their own
	proxySignature      = "\r\n\r\n\x00\r\nQUIT\n"
)

var errProxyHeader = errors.New("no header of the PROXY protocol")

// takeProxyHeader reads the PROXY header that conn, a connection from a load
// balancer, begins with. What follows stays unread. It reports whether there was one
// and whether its client may have another connection.
func (c *clientConn) takeProxyHeader(conn net.Conn) bool {
	s := c.server
	err := conn.SetReadDeadline(time.Now().Add(headTimeout))
	var from netip.Addr
	if err == nil {
		from, err = readProxyHeader(conn)
	}
	if err == nil {
		err = conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		s.metrics.closed.WithLabelValues("proxy_header").Inc()
		now, warned := time.Now().UnixNano(), s.proxyWarned.Load()
		if errors.Is(err, errProxyHeader) && now-warned >= int64(warnEvery) && s.proxyWarned.CompareAndSwap(warned, now) {
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

// readProxyHeader reads a header of either version from r, and not a byte more. The
// address is invalid where the header names no client.
func readProxyHeader(r io.Reader) (netip.Addr, error) {
	head := make([]byte, shortestProxyHeader, longestProxyLine)
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.Addr{}, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(proxySignature)):
		return readProxyBlock(r, head)
	case bytes.HasPrefix(head, []byte("PROXY ")):
		return readProxyLine(r, head)
	}
	return netip.Addr{}, errProxyHeader
}

// readProxyLine reads the rest of a header of version 1, a byte at a time: where it
// ends is known only then.
func readProxyLine(r io.Reader, line []byte) (netip.Addr, error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == longestProxyLine {
			return netip.Addr{}, errProxyHeader
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return netip.Addr{}, err
		}
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if words[1] == "UNKNOWN" {
		return netip.Addr{}, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return netip.Addr{}, errProxyHeader
	}
	from, err := netip.ParseAddr(words[2])
	if err != nil || from.Is4() != (words[1] == "TCP4") || from.Zone() != "" {
		return netip.Addr{}, errProxyHeader
	}
	return from.Unmap(), nil
}

// readProxyBlock reads the rest of a header of version 2.
func readProxyBlock(r io.Reader, head []byte) (netip.Addr, error) {
	head = head[:16]
	if _, err := io.ReadFull(r, head[shortestProxyHeader:]); err != nil {
		return netip.Addr{}, err
	}
	command, family, length := head[12], head[13], binary.BigEndian.Uint16(head[14:])
	if command>>4 != 2 || length > longestProxyBlock {
		return netip.Addr{}, errProxyHeader
	}
	block := make([]byte, length)
	if _, err := io.ReadFull(r, block); err != nil {
		return netip.Addr{}, err
	}
	switch {
	case command == 0x20: // the load balancer itself, as for a health check
		return netip.Addr{}, nil
	case command != 0x21:
		return netip.Addr{}, errProxyHeader
	case family == 0x11 && length >= 12:
		return netip.AddrFrom4([4]byte(block)), nil
	case family == 0x21 && length >= 36:
		return netip.AddrFrom16([16]byte(block)).Unmap(), nil
	case family == 0x11, family == 0x21:
		return netip.Addr{}, errProxyHeader
	}
	return netip.Addr{}, nil // of a family that no client of HTTP has
}
