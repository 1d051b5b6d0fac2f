package dataplane

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Opening streams and resetting them is cheap for a client and expensive for a
// server (CVE-2023-44487, rapid reset).
const (
	earlyReset      = time.Second            // a request cancelled sooner counts as a reset
	maxResets       = 200                    // resets beyond other requests at which the connection is closed
	toleratedResets = 16                     // above this many, requests are delayed:
	delayPerReset   = 100 * time.Microsecond // for each reset
)

// count counts how a request ended, and closes the connection of a client that
// resets too many. Gateways are exempt: they carry the requests of many
// clients, each of whom is judged where it connects.
func (h *h2Conn) count(reset bool) {
	switch {
	case h.client.link:
	case !reset:
		if h.resets.Add(-1) < 0 {
			h.resets.CompareAndSwap(-1, 0)
		}
	case h.resets.Add(1) == maxResets:
		s := h.client.server
		s.metrics.h2Error("too_many_resets")
		if !s.trusts(h.client.peer) {
			s.cooldown.add(h.client.peer, time.Now())
		}
		h.client.abort()
	}
}

// delayAbuser gives a client that has reset many requests time to reset this
// one too, before it costs a connection to an endpoint.
func (h *h2Conn) delayAbuser(ctx context.Context) {
	resets := h.resets.Load()
	if resets < toleratedResets {
		return
	}
	timer := time.NewTimer(time.Duration(resets) * delayPerReset)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

const (
	cooldownEvery = time.Second     // between two connections
	maxCooldown   = 5 * time.Second // that a connection waits; beyond, it is closed
	maxCooldowns  = 4096            // addresses that are remembered
)

// cooldown slows clients that were disconnected for abusing HTTP/2: for a
// while, connections from their address are accepted one per second. It only
// slows, since others may share the address.
type cooldown struct {
	mu   sync.Mutex               // guards the rest
	next map[netip.Addr]time.Time // when the next connection is served
}

// add starts a cooldown for addr.
func (c *cooldown) add(addr netip.Addr, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.next) >= maxCooldowns {
		c.prune(now)
	}
	from, next := network(addr), now.Add(cooldownEvery)
	if len(c.next) < maxCooldowns && next.After(c.next[from]) {
		c.next[from] = next
	}
}

// prune removes those that are over, c.mu held.
func (c *cooldown) prune(now time.Time) {
	for addr, next := range c.next {
		if next.Before(now) {
			delete(c.next, addr)
		}
	}
}

// wait returns how long a connection from addr has to wait; false if it is to be
// closed, since too many wait already.
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
	case next.Sub(now) > maxCooldown:
		return 0, false
	}
	c.next[from] = next.Add(cooldownEvery)
	return next.Sub(now), true
}

// network returns the address that stands for all addresses of one client: in IPv6
// those of a /64.
func network(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	prefix, _ := addr.Prefix(64) // there are so many bits
	return prefix.Addr()
}
