package dataplane

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestClientsThatAbusedHTTP2AreTakenUpOneByOne(t *testing.T) {
	c := cooldown{next: map[netip.Addr]time.Time{}}
	now := time.Unix(1000, 0)
	wait := func(addr string) string {
		d, ok := c.wait(netip.MustParseAddr(addr), now)
		return fmt.Sprint(d, ok)
	}
	if got := wait("10.0.0.1"); got != "0s true" {
		t.Errorf("a stranger: %s", got)
	}
	c.add(netip.MustParseAddr("10.0.0.1"), now)
	c.add(netip.MustParseAddr("2001:db8::1"), now)
	for i := range 5 {
		if got, want := wait("10.0.0.1"), fmt.Sprint(time.Duration(i+1)*time.Second, true); got != want {
			t.Errorf("connection %d: %s, want %s", i, got, want)
		}
	}
	for addr, want := range map[string]string{"10.0.0.1": "0s false", "10.0.0.2": "0s true", "2001:db8::2:3": "1s true", "2001:db8:0:1::1": "0s true"} {
		if got := wait(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	now = now.Add(7 * time.Second)
	if got := wait("10.0.0.1"); got != "0s true" || len(c.next) != 1 {
		t.Errorf("when it is over: %s, %d remembered", got, len(c.next))
	}
}

func TestCooldownsAreBounded(t *testing.T) {
	c := cooldown{next: map[netip.Addr]time.Time{}}
	now := time.Unix(1000, 0)
	for i := range maxCooldowns + 100 {
		c.add(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now)
	}
	if len(c.next) != maxCooldowns {
		t.Errorf("%d remembered, want %d", len(c.next), maxCooldowns)
	}
	c.add(netip.AddrFrom4([4]byte{10, 1, 1, 1}), now.Add(2*cooldownEvery))
	if len(c.next) != 1 {
		t.Errorf("%d remembered when the others are over, want 1", len(c.next))
	}
}

func TestADrainDoesNotWaitForACooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, begun := netip.MustParseAddr("10.0.0.1"), time.Now()
		s := &Server{cooldown: cooldown{next: map[netip.Addr]time.Time{peer: begun.Add(maxCooldown)}}}
		s.clients.init(1, 0)
		c := &clientConn{server: s, peer: peer}
		c.state.Store(connClosed)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.serveHTTP2(nil)
		}()
		synctest.Wait() // it waits for its turn
		s.clients.drain(time.Second)
		<-ended
		if took := time.Since(begun); took != 0 {
			t.Errorf("a drain waits for %v", took)
		}
	})
}
