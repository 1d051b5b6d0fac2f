package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// silentPeer is an endpoint that tells its settings and then nothing more.
type silentPeer struct {
	settings     []http2.Setting
	opened, gone atomic.Int64 // connections
}

func (p *silentPeer) serve(c net.Conn) {
	defer c.Close()
	defer p.gone.Add(1)
	p.opened.Add(1)
	if http2.NewFramer(c, c).WriteSettings(p.settings...) == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}

// conns returns the connections to p, and what ends all.
func (p *silentPeer) conns(t *testing.T) (*Registry, *HTTP2Pool) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	var registry Registry
	var background sync.WaitGroup
	var timeout atomic.Int64
	timeout.Store(int64(time.Second))
	conns := NewHTTP2Pool(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}, &timeout, &registry, background.Go, &http.HTTP2Config{})
	t.Cleanup(func() {
		registry.Abort()
		background.Wait()
		ln.Close()
		all.Wait()
	})
	return &registry, conns
}

func (r *Registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// Who needs a connection opens one at most, whatever the endpoint allows, and one
// that takes nothing is not kept.
func TestConnectionsThatTakeNothingAreNotHoarded(t *testing.T) {
	peer := &silentPeer{settings: []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}}
	registry, conns := peer.conns(t)
	const many = 20
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, _, err := conns.Reserve(ctx); err == nil {
				t.Error("a place where there is none")
			}
		})
	}
	all.Wait()
	if n := peer.opened.Load(); n > many {
		t.Errorf("%d connections for %d requests", n, many)
	}
	soon(t, "all are closed", func() bool { return peer.gone.Load() == peer.opened.Load() && registry.count() == 0 })
}

// What net/http still counts as in flight, since the endpoint answers no PING,
// keeps no connection open.
func TestAConnectionWithUnansweredResetsIsClosed(t *testing.T) {
	peer := &silentPeer{}
	registry, conns := peer.conns(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	l, fresh, err := conns.Reserve(t.Context())
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: "up", Path: "/"}, Header: http.Header{}}
	if _, err := l.conn.RoundTrip(req.WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) { //nolint:bodyclose // there is none
		t.Fatal(err)
	}
	soon(t, "net/http counts the reset", func() bool { return l.conn.InFlight() > 0 })
	l.Release()
	if len(*conns.open.Load()) != 1 {
		t.Error("it is not kept for others")
	}
	conns.Retire()
	soon(t, "it is closed", func() bool { return peer.gone.Load() == 1 && registry.count() == 0 })
}

// A connection that somebody holds is closed when that one lets go, and taken by
// nobody else then.
func TestAConnectionOutlivesItsRetirementForWhoHoldsIt(t *testing.T) {
	peer := &silentPeer{}
	_, conns := peer.conns(t)
	l, _, err := conns.Reserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conns.Retire()
	if l.conn.Err() != nil || !l.reserve() {
		t.Error("it was closed under who holds it")
	}
	l.Release()
	l.Release()
	if l.conn.Err() == nil || l.hold() {
		t.Error("it was not closed in the end")
	}
}
