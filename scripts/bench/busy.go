//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// busyNodes are those whose mesh the subject joins: all have the same routes, and
// each serves busyRate requests/s under the same limit, so that weights, loads
// and leases are in the news all the time.
const (
	busyNodes = 9
	busyRate  = 50
)

// busy measures what it costs to be a member of a mesh of ten nodes that work. A
// node alone runs beside the same nine, so that the load's core is as full. What a
// core could do is not asked, since the other nine share the load's: at the same
// rate for both, what more of its core the member uses is what it could do less.
func (b *bench) busy() error {
	p := b.meshgw()
	if p == nil {
		return nil
	}
	upstreams, _, err := b.startBackends(1)
	if err != nil {
		return err
	}
	seed := ""
	for i := range busyNodes {
		s := &setup{
			Features: true, Upstreams: upstreams, Threads: 1, Dir: filepath.Join(b.dir, fmt.Sprintf("busy-%d", i)),
			Listen: fmt.Sprintf("127.0.0.1:%d", 8300+i), Admin: fmt.Sprintf("127.0.0.1:%d", 8320+i),
			Node: fmt.Sprintf("busy-%d", i), Bind: fmt.Sprintf("127.0.0.1:%d", 8340+i), Join: seed,
		}
		s.routes(200)
		run, err := b.serve(p, s, loadCore)
		if err != nil {
			return err
		}
		seed = "127.0.0.1:8340"
		if _, err := b.start(loadCore, b.self, "open", "-addr", s.Listen, "-host", run.host, "-path", run.path+"/1k",
			"-rate", strconv.Itoa(busyRate), "-conns", "2", "-for", time.Hour.String()); err != nil {
			return err
		}
	}
	subjects := []*peer{
		p.variant("alone", func(s *setup) { s.routes(200) }),
		p.variant("in a mesh of ten busy nodes", func(s *setup) { s.routes(200); s.Join = seed }),
	}
	return b.latencyOf(subjects, 1000) // with more, the load's core is full
}

// meshgw is the peer of that name; nil where it is not to be measured.
func (b *bench) meshgw() *peer {
	at := slices.IndexFunc(b.peers, func(p *peer) bool { return p.name == "meshgw" })
	if at < 0 {
		return nil
	}
	return b.peers[at]
}

// variant is p as another subject.
func (p *peer) variant(name string, vary func(*setup)) *peer {
	other := *p
	other.name, other.vary = name, vary
	return &other
}
