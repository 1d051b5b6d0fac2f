package dataplane

import (
	"cmp"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/meshgw/meshgw/dataplane/socket"
	"github.com/meshgw/meshgw/dataplane/upstream"
)

const (
	reserveShare   = 16                     // one descriptor in so many is kept free
	minReserve     = 16                     // but at least so many, unless that is half of all
	maxEvictions   = 128                    // connections are closed by one scan of all, which is then paid for by as many new ones
	slowAfter      = time.Second            // a client that lets the node wait for so long is slow
	slowScanEvery  = 200 * time.Millisecond // between two scans for slow clients
	descriptorPoll = 20 * time.Millisecond  // between two checks for free descriptors
	warnEvery      = 10 * time.Second       // between two warnings in the log
	descriptorWait = 5 * time.Second        // for a connection to an endpoint; slow clients are found sooner
)

// eviction is the state of making room by closing connections.
type eviction struct {
	dialing chan struct{} // a semaphore: one dial at a time waits for descriptors

	mu                           sync.Mutex // guards the rest
	sweptAt, scannedAt, warnedAt time.Time
}

// freeDescriptors waits until more than spare(limit) descriptors are free, closing
// connections that are idle or whose client is slow. It reports false if stop is
// closed first.
func (s *Server) freeDescriptors(stop <-chan struct{}, spare func(limit int) int) bool {
	for limit := socket.DescriptorLimit(); socket.DescriptorsScarce(limit, spare(limit)); limit = socket.DescriptorLimit() {
		pause := descriptorPoll
		if s.evictConns(limit) > 0 {
			pause = 0
		}
		select {
		case <-time.After(pause):
		case <-stop:
			return false
		}
	}
	return true
}

// clientReserve is how many of limit descriptors are kept free of client connections,
// for endpoints, files and gossip.
func clientReserve(limit int) int { return min(max(limit/reserveShare, minReserve), limit/2) }

// dialReserve is how many are kept free of connections to endpoints too.
func dialReserve(limit int) int { return clientReserve(limit) / 2 }

// evictConns closes some of the connections and returns how many, where limit is how
// many there may be: first those that have been idle for a while, then those whose
// client is slow, at last those that are idle at all.
func (s *Server) evictConns(limit int) int {
	s.eviction.mu.Lock()
	defer s.eviction.mu.Unlock()
	now, want := time.Now(), min(max(1, limit/reserveShare), maxEvictions)
	if now.Sub(s.eviction.sweptAt) >= slowAfter {
		s.eviction.sweptAt = now
		s.plan.Load().sweep(now.Add(upstream.MaxIdle - slowAfter)) // connections to endpoints that were idle for as long
	}
	idle, slow := s.clients.closeIdle(want, now.Add(-slowAfter)), 0
	if now.Sub(s.eviction.scannedAt) >= slowScanEvery {
		s.eviction.scannedAt = now
		slow = s.closeSlow(max(want, clientReserve(limit))-idle, now) // those who came behind them may be as slow
	}
	idle += s.clients.closeIdle(want-idle-slow, now)
	s.metrics.countEvicted(idle, slow)
	if idle+slow > 0 && now.Sub(s.eviction.warnedAt) >= warnEvery {
		s.eviction.warnedAt = now
		s.log.Warn().Int("idle", idle).Int("slow", slow).Int("limit", limit).Msg("connections closed to make room")
	}
	return idle + slow
}

// closeIdle closes up to n connections that have been idle since then, the longest
// idle first, and returns how many.
func (c *clients) closeIdle(n int, then time.Time) (closed int) {
	if n <= 0 {
		return 0
	}
	for _, conn := range longest(n, c.all(), then, (*clientConn).idleSince) {
		if conn.closeUnused() {
			closed++
		}
	}
	return closed
}

// closeSlow closes up to n connections of slow clients, and returns how many. It
// records the progress of all for the next scan.
func (s *Server) closeSlow(n int, now time.Time) int {
	slow := longest(n, s.clients.all(), now.Add(-slowAfter), func(c *clientConn) int64 { return c.slowSince(now) })
	for _, conn := range slow {
		s.spawn(conn.abort) // which waits for a read callback
	}
	return len(slow)
}

// all returns the connections that are open.
func (c *clients) all() []*clientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*clientConn, 0, len(c.open))
	for conn := range c.open {
		all = append(all, conn)
	}
	return all
}

// longest returns the n of conns that have been in some state for longest, at least
// since then, in that order. since returns since when a connection is in that state,
// in Unix ns; 0 if it is not.
func longest(n int, conns []*clientConn, then time.Time, since func(*clientConn) int64) []*clientConn {
	type aged struct {
		conn  *clientConn
		since int64
	}
	var found []aged
	for _, conn := range conns {
		if at := since(conn); at > 0 && at <= then.UnixNano() {
			found = append(found, aged{conn, at})
		}
	}
	slices.SortFunc(found, func(a, b aged) int { return cmp.Compare(a.since, b.since) })
	conns = conns[:0]
	for _, a := range found[:min(n, len(found))] {
		conns = append(conns, a.conn)
	}
	return conns
}

// idleSince returns since when no request has been in progress, in Unix ns; 0 if one
// is, or the first has not arrived.
func (c *clientConn) idleSince() int64 {
	if c.waitingSince.Load() != 0 {
		return 0
	}
	if h := c.h2.Load(); h != nil {
		return h.idleSince()
	}
	return max(0, c.state.Load())
}

// slowSince returns since when the client has let the node wait: for a head, for a
// body, or to take an answer. In Unix ns; 0 if it does not.
func (c *clientConn) slowSince(now time.Time) int64 {
	state, since := c.state.Load(), c.waitingSince.Load()
	switch {
	case state == connClosed:
		return 0
	case since == 0 && state == connActive:
		return c.progress.stuckSince(socket.Unwrap(c.Conn), now)
	case since != 0 && socket.HasUnread(socket.Raw(socket.Unwrap(c.Conn))): // it is this node that has not read it
		return 0
	}
	return since
}

// closeUnused closes the connection if no request is in progress, and reports
// whether it did.
func (c *clientConn) closeUnused() bool {
	if h := c.h2.Load(); h != nil && h.idleSince() > 0 {
		c.server.spawn(c.abort)
		return true
	}
	return c.closeIfIdle()
}

// sendProgress is how far a client has taken what it was sent, by the kernel. Only
// evictConns uses it.
type sendProgress struct {
	acked uint64 // bytes, at since
	since int64  // in Unix ns; 0 = everything was taken
}

// stuckSince returns since when the peer of c has taken nothing of what it was sent,
// in Unix ns; 0 if it takes it or there is nothing to take.
func (t *sendProgress) stuckSince(c net.Conn, now time.Time) int64 {
	taken, left := socket.Outgoing(socket.Raw(c))
	switch {
	case !left:
		t.since = 0
	case t.since == 0 || taken != t.acked:
		t.acked, t.since = taken, now.UnixNano()
	}
	return t.since
}

// tookReserve reports whether the descriptor of c is one of the reserve.
func tookReserve(c net.Conn) (took bool) {
	if raw := socket.Raw(c); raw != nil {
		limit := socket.DescriptorLimit()
		_ = raw.Control(func(fd uintptr) { took = int(fd) >= limit-clientReserve(limit) })
	}
	return took
}
