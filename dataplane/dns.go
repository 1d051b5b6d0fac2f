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
	resolveTimeout = 12 * time.Second // the resolver gives up a name server that is silent after 5, and asks the next
)

// resolver keeps the addresses of one name. A name is resolved again when its
// addresses are used and 10 s old, in the background; where that fails, the
// last good ones stay.
type resolver struct {
	host  string
	port  uint16
	look  lookup
	spawn func(func())

	mu        sync.Mutex // guards the rest
	addresses []netip.AddrPort
	turn      int
	at        time.Time
	asking    *question // nil = none
}

// question is a look-up under way.
type question struct {
	answered chan struct{} // closed when it has ended
	err      error         // valid then
}

// addrs returns the addresses to try, in order; each call begins with another,
// so that all are used. Who has to wait for the first look-up may leave it to
// others: it goes on.
func (r *resolver) addrs(ctx context.Context) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(r.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), r.port)}, nil
	}
	known, asking, turn := r.known()
	if len(known) == 0 {
		select {
		case <-asking.answered:
		case <-ctx.Done():
			return nil, fmt.Errorf("resolve %s: %w", r.host, ctx.Err())
		}
		if asking.err != nil {
			return nil, asking.err
		}
		known, _, turn = r.known()
	}
	turn %= len(known)
	return append(append([]netip.AddrPort(nil), known[turn:]...), known[:turn]...), nil
}

// known returns the addresses as they are known, and which of them is the next to
// begin with. It asks for them where they are old; where there are none, asking is
// never nil.
func (r *resolver) known() (addresses []netip.AddrPort, asking *question, turn int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking == nil && (len(r.addresses) == 0 || time.Since(r.at) > resolveEvery) {
		q := &question{answered: make(chan struct{})}
		r.asking = q
		r.spawn(func() { r.ask(q) })
	}
	r.turn++
	return r.addresses, r.asking, r.turn
}

func (r *resolver) ask(q *question) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	addresses, err := r.resolve(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.addresses = addresses
	}
	r.at, r.asking, q.err = time.Now(), nil, err // after a failure the last good ones for another while
	close(q.answered)
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
	return addresses, nil
}

// lookup returns the addresses of a name.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

func lookupSystem(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// untilEnded is look until end is called, which ends what is under way.
func untilEnded(look lookup) (ending lookup, end func()) {
	ended, end := context.WithCancel(context.Background())
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(ended, cancel)()
		return look(ctx, host)
	}, end
}
