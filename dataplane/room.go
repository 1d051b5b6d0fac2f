package dataplane

import (
	"cmp"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/meshgw/meshgw/dataplane/socket"
)

const (
	spareShare = 16                     // one descriptor in so many is to be spare
	spareLeast = 16                     // and so many, unless that is half of all
	mostAtOnce = 128                    // are closed: to find them is paid for by as many who come
	slowAfter  = time.Second            // who lets the node wait for so long is slow
	slowLook   = 200 * time.Millisecond // between two looks at who does
	roomLook   = 20 * time.Millisecond  // between two at whether there is room
	roomTell   = 10 * time.Second       // between two lines of the log
	roomWait   = 5 * time.Second        // for a connection to an endpoint: those who are slow are found in less
)

// room is what is known while room for connections is made.
type room struct {
	dialling chan struct{} // is held by who waits to dial, one after the other

	mu                  sync.Mutex // guards the rest
	swept, looked, told time.Time
}

// keepRoom returns when there are descriptors to spare. Connections that are of
// no use are closed for that, or those whose client is slow; where there are none
// it waits, until stop is closed. It reports whether there are.
func (s *Server) keepRoom(stop <-chan struct{}, spare func(limit int) int) bool {
	for limit := socket.DescriptorLimit(); socket.DescriptorsScarce(limit, spare(limit)); limit = socket.DescriptorLimit() {
		pause := roomLook
		if s.makeRoom(limit) > 0 {
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

// spareOfClients is how many descriptors clients leave: to endpoints, to the disk
// and to the mesh.
func spareOfClients(limit int) int { return min(max(limit/spareShare, spareLeast), limit/2) }

// spareOfAll is how many connections to endpoints leave.
func spareOfAll(limit int) int { return spareOfClients(limit) / 2 }

// makeRoom closes connections, of so many that there may be, and returns how
// many: first those that nobody has used for a while, then those whose client is
// slow, at last those that rest between two requests.
func (s *Server) makeRoom(of int) int {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	now, want := time.Now(), min(max(1, of/spareShare), mostAtOnce)
	if now.Sub(s.room.swept) >= slowAfter {
		s.room.swept = now
		s.plan.Load().sweep(now.Add(connIdle - slowAfter)) // of endpoints: what was unused for as long
	}
	idle, slow := s.clients.closeIdle(want, now.Add(-slowAfter)), 0
	if now.Sub(s.room.looked) >= slowLook {
		s.room.looked = now
		slow = s.closeSlow(want-idle, now)
	}
	idle += s.clients.closeIdle(want-idle-slow, now)
	s.metrics.madeRoom(idle, slow)
	if idle+slow > 0 && now.Sub(s.room.told) >= roomTell {
		s.room.told = now
		s.log.Warn().Int("idle", idle).Int("slow", slow).Int("limit", of).Msg("connections closed to make room")
	}
	return idle + slow
}

// closeIdle closes up to n connections that have had no request under way since
// then, those first that have had none for longest, and returns how many.
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

// closeSlow closes up to n connections whose client lets the node wait, and
// returns how many. It notes how far all are, for the next look.
func (s *Server) closeSlow(n int, now time.Time) int {
	slow := longest(n, s.clients.all(), now.Add(-slowAfter), func(c *clientConn) int64 { return c.slowSince(now) })
	for _, conn := range slow {
		s.spawn(conn.abort) // which waits for what is under way
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

// longest returns the n of conns that have been in a state for longest, since then
// at least, those first. since tells from when on, in ns since 1970; 0 = it is
// not in that state.
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

// idleSince is from when on no request has been under way; 0 = one is, or the
// first is still to come.
func (c *clientConn) idleSince() int64 {
	if c.awaited.Load() != 0 {
		return 0
	}
	if h := c.h2.Load(); h != nil {
		return h.idleSince()
	}
	return max(0, c.state.Load())
}

// slowSince is from when on the client has let the node wait for a head, for a
// body or for an answer to be taken; 0 = it does not.
func (c *clientConn) slowSince(now time.Time) int64 {
	state, since := c.state.Load(), c.awaited.Load()
	switch {
	case state == connClosed:
		return 0
	case since == 0 && state == connActive:
		return c.taking.stuckSince(socket.Unwrap(c.Conn), now)
	case since != 0 && socket.HasUnread(socket.Raw(socket.Unwrap(c.Conn))): // it is this node that is late
		return 0
	}
	return since
}

// closeUnused closes the connection if no request is under way, and reports
// whether it did.
func (c *clientConn) closeUnused() bool {
	if h := c.h2.Load(); h != nil && h.idleSince() > 0 {
		c.server.spawn(c.abort)
		return true
	}
	return c.closeIfIdle()
}

// taking is how a client takes what it is sent, as the kernel tells it. Only
// makeRoom looks at it.
type taking struct {
	taken uint64 // bytes, as of since
	since int64  // in ns since 1970; 0 = there was nothing to be taken
}

// stuckSince is from when on nothing was taken of what c was sent; 0 = it was, or
// there is nothing.
func (t *taking) stuckSince(c net.Conn, now time.Time) int64 {
	taken, left := socket.Outgoing(socket.Raw(c))
	switch {
	case !left:
		t.since = 0
	case t.since == 0 || taken != t.taken:
		t.taken, t.since = taken, now.UnixNano()
	}
	return t.since
}

// tookSpare reports whether the descriptor of c should have been spare.
func tookSpare(c net.Conn) (took bool) {
	if raw := socket.Raw(c); raw != nil {
		limit := socket.DescriptorLimit()
		_ = raw.Control(func(fd uintptr) { took = int(fd) >= limit-spareOfClients(limit) })
	}
	return took
}
