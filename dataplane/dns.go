package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	resolveEvery   = 10 * time.Second
	resolveTimeout = 5 * time.Second
)

// resolver keeps the addresses of one name. A name is resolved again when its
// addresses are used and 10 s old, in the background; where that fails, the
// last good ones stay.
type resolver struct {
	host  string
	port  uint16
	look  func(ctx context.Context, host string) ([]netip.Addr, error)
	spawn func(func())

	mu        sync.Mutex // guards the rest
	addresses []netip.AddrPort
	turn      int
	at        time.Time
	refresh   bool // under way
}

// addrs returns the addresses to try, in order; each call begins with another,
// so that all are used.
func (r *resolver) addrs(ctx context.Context) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(r.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), r.port)}, nil
	}
	r.mu.Lock()
	known, stale := r.addresses, time.Since(r.at) > resolveEvery
	if len(known) > 0 && stale && !r.refresh {
		r.refresh = true
		r.spawn(r.again)
	}
	r.turn++
	turn := r.turn
	r.mu.Unlock()
	if len(known) == 0 {
		var err error
		if known, err = r.resolve(ctx); err != nil {
			return nil, err
		}
	}
	turn %= len(known)
	return append(append([]netip.AddrPort(nil), known[turn:]...), known[:turn]...), nil
}

func (r *resolver) again() {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	_, err := r.resolve(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh = false
	if err != nil {
		r.at = time.Now() // the last good ones for another while
	}
}

func (r *resolver) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	found, err := r.look(ctx, r.host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", r.host, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("resolve %s: %w", r.host, errors.New("no address"))
	}
	addresses := make([]netip.AddrPort, len(found))
	for i, ip := range found {
		addresses[i] = netip.AddrPortFrom(ip.Unmap(), r.port)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addresses, r.at = addresses, time.Now()
	return addresses, nil
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
