package discovery

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
	refreshAfter   = 10 * time.Second // the age from which addresses in use are looked up again
	resolveTimeout = 12 * time.Second // Go's resolver gives up a silent name server after 5, and asks the next
)

// Lookup returns the addresses of a host name.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// SystemLookup asks the resolver of the system.
func SystemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// UntilEnded returns lookup with a function that cancels all of its calls, present
// and future.
func UntilEnded(lookup Lookup) (cancellable Lookup, end func()) {
	ended, end := context.WithCancel(context.Background())
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(ended, cancel)()
		return lookup(ctx, host)
	}, end
}

// Resolver caches the addresses of one host name. They are looked up again when
// they are used and older than 10 s, in the background; if that fails, the last
// good ones stay. It is safe for concurrent use.
type Resolver struct {
	host   string
	port   uint16
	lookup Lookup
	spawn  func(func())

	mu        sync.Mutex // guards the rest
	addresses []netip.AddrPort
	uses      int
	endedAt   time.Time // of the last query
	query     *query    // in progress; nil = none
}

// query is a lookup in progress.
type query struct {
	done chan struct{} // closed when it has ended
	err  error         // valid when done is closed
}

// NewResolver returns a Resolver for host, which may be an IP address, and port.
// Lookups run in spawn.
func NewResolver(host string, port uint16, lookup Lookup, spawn func(func())) *Resolver {
	return &Resolver{host: host, port: port, lookup: lookup, spawn: spawn}
}

// Addresses returns the addresses to try, in order. Each call starts with another
// one, so that all are used. While none are known it waits for the lookup, until ctx
// ends; the lookup goes on for later calls.
func (r *Resolver) Addresses(ctx context.Context) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(r.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), r.port)}, nil
	}
	known, q, first := r.known()
	if len(known) == 0 {
		select {
		case <-q.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("resolve %s: %w", r.host, ctx.Err())
		}
		if q.err != nil {
			return nil, q.err
		}
		known, _, first = r.known()
	}
	first %= len(known)
	return append(append([]netip.AddrPort(nil), known[first:]...), known[:first]...), nil
}

// known returns the known addresses, and which of them is the next to start with.
// It starts a query if they are old or there are none; then q is not nil.
func (r *Resolver) known() (addresses []netip.AddrPort, q *query, first int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.query == nil && (len(r.addresses) == 0 || time.Since(r.endedAt) > refreshAfter) {
		q := &query{done: make(chan struct{})}
		r.query = q
		r.spawn(func() { r.run(q) })
	}
	r.uses++
	return r.addresses, r.query, r.uses
}

// run does a query and stores its result.
func (r *Resolver) run(q *query) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	addresses, err := r.resolve(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.addresses = addresses
	}
	r.endedAt, r.query, q.err = time.Now(), nil, err // after a failure, the last good ones stay for as long again
	close(q.done)
}

func (r *Resolver) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	found, err := r.lookup(ctx, r.host)
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
