package dataplane_test

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/ban"
	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func TestABannedClientGets403WhateverItAsks(t *testing.T) {
	var banned atomic.Value
	banned.Store(netip.MustParsePrefix("192.0.2.0/24"))
	g := startGateway(t, dataplane.Config{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Banned:         func(ip netip.Addr) bool { return banned.Load().(netip.Prefix).Contains(ip) },
	}, &routetable.Spec{Routes: []routetable.Route{{Name: "r", Match: []routetable.Match{{PathPrefix: "/known"}}, Respond: &routetable.Respond{Status: 200}}}})
	c := g.dial(t)
	status := func(path, client string) int {
		t.Helper()
		a, body, err := c.send("GET " + path + " HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: " + client + "\r\n\r\n").answer("GET")
		if err != nil {
			t.Fatal(err)
		}
		if a.StatusCode == 403 && (a.Header.Get("X-Meshgw-Error") != "denied" || !strings.Contains(body, `"error":"denied"`)) {
			t.Errorf("refused with %v %s", a.Header, body)
		}
		return a.StatusCode
	}
	for _, path := range []string{"/known", "/unknown"} {
		if got := status(path, "192.0.2.7"); got != 403 {
			t.Errorf("%s of a banned client: %d, want 403", path, got)
		}
	}
	if got := status("/known", "198.51.100.1"); got != 200 {
		t.Errorf("another client: %d, want 200", got)
	}
	banned.Store(netip.MustParsePrefix("127.0.0.0/8")) // the proxy itself
	if got := status("/known", "198.51.100.1"); got != 200 {
		t.Errorf("who stands behind a banned proxy: %d, want 200", got)
	}
	banned.Store(netip.MustParsePrefix("198.51.100.0/24"))
	if got := status("/known", "198.51.100.1"); got != 403 {
		t.Errorf("banned while its connection is open: %d, want 403", got)
	}
	if got := g.denials(t, "ban"); got != 3 {
		t.Errorf("meshgw_denied_total = %v, want 3", got)
	}
}

func TestAccessOfTheTableComesBeforeItsRoutes(t *testing.T) {
	spec := &routetable.Spec{
		Routes: []routetable.Route{{Name: "r", Match: []routetable.Match{{PathPrefix: "/known"}}, Respond: &routetable.Respond{Status: 200}}},
		Access: []routetable.Access{
			{Name: "office", Allow: &routetable.CIDRs{CIDRs: []string{"10.0.0.0/8"}}},
			{Name: "partners", Allow: &routetable.CIDRs{CIDRs: []string{"2001:db8::/32"}}, Deny: &routetable.CIDRs{CIDRs: []string{"10.66.0.0/16"}}},
		},
	}
	g := startGateway(t, dataplane.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, spec)
	status := func(path, client string) int {
		t.Helper()
		a, _, err := g.dial(t).send("GET " + path + " HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: " + client + "\r\n\r\n").answer("GET")
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode
	}
	for client, want := range map[string]int{"10.1.2.3": 200, "2001:db8::7": 200, "10.66.0.1": 403, "192.0.2.1": 403, "::ffff:10.1.2.3": 200} {
		if got := status("/known", client); got != want {
			t.Errorf("%s: %d, want %d", client, got, want)
		}
	}
	if got := status("/unknown", "192.0.2.1"); got != 403 {
		t.Errorf("a stranger learns what is not there: %d, want 403", got)
	}
	if got := g.denials(t, "access"); got != 3 {
		t.Errorf("meshgw_denied_total = %v, want 3", got)
	}
	spec.Access = spec.Access[1:]
	spec.Access[0].Allow = nil
	g.publish(t, spec)
	if got := status("/known", "192.0.2.1"); got != 200 {
		t.Errorf("with deny alone: %d, want 200", got)
	}
}

// denials is what meshgw_denied_total says.
func (g *gateway) denials(t *testing.T, by string) float64 {
	t.Helper()
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "meshgw_denied_total" && m.GetLabel()[0].GetValue() == by {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func TestLookingForBansDoesNotAllocate(t *testing.T) {
	l := ban.NewList()
	for i := range 1000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		if err := l.Put(time.Now(), ban.Ban{Prefix: p, For: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	var set atomic.Pointer[ban.Set]
	set.Store(l.Set(time.Now()))
	cfg := dataplane.Config{Banned: func(ip netip.Addr) bool { return set.Load().Contains(ip) }}
	request := steadyWith(t, cfg, func(addr string) *routetable.Spec { return toUpstream(addr) }, "")
	for range 200 {
		request()
	}
	if n := testing.AllocsPerRun(500, request); n > 0 && !raceEnabled {
		t.Errorf("%v allocations per request, want 0", n)
	}
}
