package dataplane

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// To open streams and reset them is cheap for a client and not for who serves
// them (CVE-2023-44487).
const (
	prematurely = time.Second            // sooner, a request that is cancelled has been work for nothing
	mostResets  = 200                    // more of those than other requests, and the connection is closed
	fewResets   = 16                     // more, and requests wait to be reset:
	hesitation  = 100 * time.Microsecond // for each of them
)

// count judges a client by how its requests end. Gateways carry those of many
// clients, each of whom is judged where it comes in.
func (h *h2Conn) count(reset bool) {
	switch {
	case h.client.link:
	case !reset:
		if h.resets.Add(-1) < 0 {
			h.resets.CompareAndSwap(-1, 0)
		}
	case h.resets.Add(1) == mostResets:
		s := h.client.server
		s.metrics.h2Error("too_many_resets")
		if !s.trusts(h.client.peer) {
			s.cooldown.begin(h.client.peer, time.Now())
		}
		h.client.abort()
	}
}

// hesitate gives a client that has reset many requests the time to reset this one
// too, before it has cost a connection to an endpoint.
func (h *h2Conn) hesitate(ctx context.Context) {
	resets := h.resets.Load()
	if resets < fewResets {
		return
	}
	timer := time.NewTimer(time.Duration(resets) * hesitation)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

const (
	coolEvery = time.Second     // a connection is taken up
	coolMost  = 5 * time.Second // to wait; beyond, connections are closed
	coolAddrs = 4096            // that are remembered
)

// cooldown keeps clients from coming back at once that were closed for what they
// did in HTTP/2: for a while, connections from their address are taken up one by
// one. Others there may be as innocent as they are slowed down.
type cooldown struct {
	mu   sync.Mutex               // guards the rest
	next map[netip.Addr]time.Time // when the next is taken up
}

// begin begins one for addr.
func (c *cooldown) begin(addr netip.Addr, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.next) >= coolAddrs {
		c.forget(now)
	}
	from, next := network(addr), now.Add(coolEvery)
	if len(c.next) < coolAddrs && next.After(c.next[from]) {
		c.next[from] = next
	}
}

// forget lets go of those that are over, c.mu held.
func (c *cooldown) forget(now time.Time) {
	for addr, next := range c.next {
		if next.Before(now) {
			delete(c.next, addr)
		}
	}
}

// wait returns how long a connection from addr has to wait; false if too many do
// already.
func (c *cooldown) wait(addr netip.Addr, now time.Time) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := network(addr)
	next, ok := c.next[from]
	switch {
	case !ok:
		return 0, true
	case next.Before(now):
		delete(c.next, from)
		return 0, true
	case next.Sub(now) > coolMost:
		return 0, false
	}
	c.next[from] = next.Add(coolEvery)
	return next.Sub(now), true
}

// network is what one client may have addresses of: in IPv6 all of a /64.
func network(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	prefix, _ := addr.Prefix(64) // there are so many bits
	return prefix.Addr()
}
