package dataplane

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/socket"
)

// Listener is where clients connect.
type Listener struct {
	Name         string      // http, https or another name, by which routes refer to it
	net.Listener             // accepts the connections; Serve closes it
	TLS          *tls.Config // nil = plain
	Link         bool        // for other gateways, which TLS must verify, instead of for clients
}

const (
	handshakeTimeout = 10 * time.Second
	sweepEvery       = 5 * time.Second
)

// Serve serves clients of lns until ctx ends or a listener fails, whose error it
// returns. Then it stops accepting, waits up to Config.DrainFinish for requests in
// flight, and closes all connections. It returns when every goroutine it started has
// ended.
func (s *Server) Serve(ctx context.Context, lns ...Listener) error {
	s.coarseTime.Store(new(time.Now()))
	open, enough := context.WithCancel(ctx)
	defer enough()
	var accepting sync.WaitGroup
	failed := make(chan error, len(lns))
	for _, ln := range lns {
		accepting.Go(func() { failed <- s.accept(ln, open.Done()) })
	}
	http2 := s.newH2Server()
	s.spawn(func() { _ = http2.Serve(s.feed) }) // until it is shut down
	stopWatching := make(chan struct{})
	s.spawn(func() { s.watch(stopWatching) })
	s.spawn(func() { s.clients.watchPresence(stopWatching) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed: // without one of its listeners the gateway does not go on
	}
	s.SetDraining(true)
	enough()
	for _, ln := range lns {
		_ = ln.Close()
	}
	accepting.Wait()
	drained, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	s.spawn(func() { _ = http2.Shutdown(drained) }) // sends GOAWAY
	if !s.clients.drain(s.cfg.DrainFinish) {
		s.clients.abort()
		s.upstreams.Abort()
		<-s.clients.empty
	}
	done()
	close(stopWatching)
	s.endLookups()
	s.upstreams.Abort() // what is left are copies to mirrors
	for _, u := range s.plan.Load().upstreams {
		for _, e := range u.endpoints {
			e.retire()
		}
		u.retireGateways()
	}
	s.plan.Load().retireAuthServices(nil)
	s.background.Wait()
	return err
}

// accept accepts connections until ln is closed, which is no error. stop is closed
// before that.
func (s *Server) accept(ln Listener, stop <-chan struct{}) error {
	var told time.Time
	for pause := time.Duration(0); ; {
		c, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
		case errors.Is(err, net.ErrClosed):
			return nil
		case temporary(err):
			// Out of descriptors, most likely.
			if now := time.Now(); now.Sub(told) >= warnEvery {
				told = now
				s.log.Warn().Err(err).Str("listener", ln.Name).Msg("accept failed")
			}
			s.freeDescriptors(stop, clientReserve)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
			continue
		default:
			return err
		}
		c = socket.Wrap(c)
		client := &clientConn{Conn: c, server: s, listener: ln.Name, peer: peerOf(c), secure: ln.TLS != nil, link: ln.Link, presence: presence{left: make(chan struct{})}}
		if client.secure {
			client.Conn = tls.Server(&yieldingConn{Conn: c}, ln.TLS)
		}
		now := time.Now().UnixNano()
		client.state.Store(now)
		client.waitingSince.Store(now)
		balanced := !ln.Link && contains(s.cfg.ProxyProtocol, client.peer)
		if refused := s.clients.add(client, !ln.Link && !balanced && !s.trusts(client.peer)); refused != "" {
			s.metrics.closed.WithLabelValues(refused).Inc()
			_ = c.Close()
			continue
		}
		go func() {
			defer s.clients.remove(client)
			if balanced && !client.takeProxyHeader(c) {
				_ = c.Close()
				return
			}
			client.serve()
		}()
		s.evictForNext(c, stop)
	}
}

// evictForNext makes room for the next connection if c took one of the last places.
func (s *Server) evictForNext(c net.Conn, stop <-chan struct{}) {
	if tookReserve(c) {
		s.freeDescriptors(stop, clientReserve)
	}
	if s.clients.full() {
		s.evictConns(s.cfg.MaxConns)
	}
}

func temporary(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && (t.Timeout() || t.Temporary()) //nolint:staticcheck // deprecated, but just this is meant: accept may be called again
}

func peerOf(c net.Conn) netip.Addr {
	if at, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		return at.Addr().Unmap().WithZone("")
	}
	return netip.IPv6Unspecified() // a listener in memory
}

// clients are the open connections of clients.
type clients struct {
	mu       sync.Mutex // guards the rest
	open     map[*clientConn]struct{}
	perIP    map[netip.Addr]int // by network; nil = not counted
	max, ip  int
	draining bool
	ending   chan struct{} // closed when draining begins
	empty    chan struct{} // closed when draining and open is empty
	closing  atomic.Bool   // connections close as soon as they are idle
}

func (c *clients) init(limit, perIP int) {
	c.open, c.max, c.ip = map[*clientConn]struct{}{}, limit, perIP
	c.ending, c.empty = make(chan struct{}), make(chan struct{})
	if perIP > 0 {
		c.perIP = map[netip.Addr]int{}
	}
}

// add admits a connection, which gives "", unless there are too many, or too many
// of its client where that is counted.
func (c *clients) add(conn *clientConn, counted bool) (refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.max {
		return "full"
	}
	if refused = c.countLocked(conn, counted); refused == "" {
		c.open[conn] = struct{}{}
	}
	return refused
}

// identify sets who the client of an open connection is that was not counted so far,
// with the same result as add.
func (c *clients) identify(conn *clientConn, peer netip.Addr, counted bool) (refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.peer = peer
	return c.countLocked(conn, counted)
}

// countLocked counts a connection among those of its client, if it is to be, c.mu
// held.
func (c *clients) countLocked(conn *clientConn, counted bool) (refused string) {
	if !counted || c.ip == 0 {
		return ""
	}
	from := network(conn.peer)
	if c.perIP[from] >= c.ip {
		return "per_client"
	}
	conn.counted = true
	c.perIP[from]++
	return ""
}

func (c *clients) full() bool { return c.count() >= c.max }

func (c *clients) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

func (c *clients) remove(conn *clientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	if conn.counted {
		from := network(conn.peer)
		if c.perIP[from]--; c.perIP[from] == 0 {
			delete(c.perIP, from)
		}
	}
	if c.draining && len(c.open) == 0 {
		close(c.empty)
	}
}

// drain closes idle connections, waits for the others, and reports whether all
// have ended in time.
func (c *clients) drain(within time.Duration) bool {
	c.closing.Store(true)
	c.mu.Lock()
	c.draining = true
	close(c.ending)
	if len(c.open) == 0 {
		close(c.empty)
	}
	for conn := range c.open {
		conn.closeIfIdle()
	}
	c.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-c.empty:
		return true
	case <-timer.C:
		return false
	}
}

// abort closes the connections that are left, whatever is in progress.
func (c *clients) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		conn.server.spawn(conn.abort) // which waits for a read callback
	}
}
