package gossip

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/serf/serf"
)

// A Link is the result of a direct probe of another node. Serf considers a node
// alive if any other reaches it, so only this shows a broken path from here.
type Link struct {
	Name    string
	Reached bool          // it answered a packet, straight
	Heard   time.Duration // since the last packet of its came in; negative = none that is remembered
}

// reachTries are packets that are sent before a node counts as out of reach: one
// may be lost.
const reachTries = 3

// Reach sends a probe to every live node, and returns which of them answer, by
// name. It takes at most three times the probe timeout, or until ctx ends.
func (m *Mesh) Reach(ctx context.Context) []Link {
	s := m.session.Load()
	if s == nil {
		return nil
	}
	var links []Link
	for _, member := range m.view.Load().members {
		if member.Node && !member.Self && member.Status == serf.StatusAlive.String() {
			links = append(links, Link{Name: member.Name})
		}
	}
	var wg sync.WaitGroup
	for i := range links {
		wg.Go(func() { links[i].Reached = m.reaches(ctx, s, links[i].Name) })
	}
	wg.Wait()
	now := time.Now()
	for i := range links {
		links[i].Heard = m.heard.since(now, m.living(links[i].Name))
	}
	return links
}

func (m *Mesh) reaches(ctx context.Context, s *session, name string) bool {
	at, err := net.ResolveUDPAddr("udp", m.living(name)) // no look-up: an IP and a port
	if err != nil {
		return false
	}
	for range reachTries {
		if ctx.Err() != nil {
			return false
		}
		if _, err := s.serf().Memberlist().Ping(name, at); err == nil {
			return true
		}
	}
	return false
}

// heard is when packets last came in, by the address that they came from.
type heard struct {
	mu   sync.Mutex // guards last
	last map[netip.AddrPort]time.Time
}

// mostHeard bounds what strangers can make a node remember.
const mostHeard = 4096

func (h *heard) note(now time.Time, from net.Addr) {
	a, ok := from.(*net.UDPAddr)
	if !ok {
		return
	}
	key := netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil || len(h.last) >= mostHeard {
		h.last = map[netip.AddrPort]time.Time{}
	}
	h.last[key] = now
}

// since returns how long nothing came from addr; negative where nothing is
// remembered.
func (h *heard) since(now time.Time, addr string) time.Duration {
	key, err := netip.ParseAddrPort(addr)
	if err != nil {
		return -1
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.last[netip.AddrPortFrom(key.Addr().Unmap(), key.Port())]
	if !ok {
		return -1
	}
	return now.Sub(at)
}
