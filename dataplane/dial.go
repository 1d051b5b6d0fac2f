package dataplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/dataplane/discovery"
	"github.com/meshgw/meshgw/dataplane/socket"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
)

// frozenAfter is how late a tick of the watch has to be for this process to
// count as frozen: stopped, or without CPU. Timeouts meanwhile say nothing
// about endpoints.
const frozenAfter = 5 * watchEvery

// boundedDialer returns a dialer that first waits for a free descriptor, and
// then has timeout (in ns) to connect. If this process was frozen meanwhile, it
// gets another try.
func (s *Server) boundedDialer(dial upstream.Dialer, timeout *atomic.Int64) upstream.Dialer {
	within := func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := upstream.WithTimeout(ctx, time.Duration(timeout.Load()))
		defer cancel()
		return dial(ctx)
	}
	return func(ctx context.Context) (net.Conn, error) {
		if err := s.waitForDescriptor(ctx); err != nil {
			return nil, err
		}
		begun := time.Now()
		c, err := within(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return c, err
		case socket.OutOfDescriptors(err): // others took the free ones
			if err = s.waitForDescriptor(ctx); err != nil {
				return nil, err
			}
		case !s.wasFrozen(begun):
			return nil, err
		}
		return within(ctx)
	}
}

// dial connects to the first reachable address of names, with TLS unless secure is
// nil.
func (s *Server) dial(ctx context.Context, names *discovery.Resolver, secure *tls.Config) (net.Conn, error) {
	addresses, err := names.Addresses(ctx)
	if err != nil {
		return nil, err
	}
	for _, to := range addresses {
		if err = s.guard(to); err != nil {
			continue
		}
		var c net.Conn
		if c, err = s.dialAt(ctx, to.String()); err != nil {
			continue
		}
		if secure == nil {
			return c, nil
		}
		t := tls.Client(c, secure)
		if err = t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			err = upstream.HandshakeMismatch(err, secure.NextProtos)
			continue
		}
		return t, nil
	}
	return nil, fmt.Errorf("dial: %w", err)
}

// dialAt connects to an address.
func (s *Server) dialAt(ctx context.Context, addr string) (net.Conn, error) {
	c, err := s.cfg.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return socket.Wrap(c), nil
}

// waitForDescriptor waits, for descriptorWait at most, until there is a
// descriptor for a connection to an endpoint.
func (s *Server) waitForDescriptor(ctx context.Context) error {
	if limit := socket.DescriptorLimit(); !socket.DescriptorsScarce(limit, dialReserve(limit)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, descriptorWait)
	defer cancel()
	select {
	case s.eviction.dialing <- struct{}{}:
		defer func() { <-s.eviction.dialing }()
	case <-ctx.Done():
		return syscall.EMFILE
	}
	if !s.freeDescriptors(ctx.Done(), dialReserve) {
		return syscall.EMFILE
	}
	return nil
}

// wasFrozen reports whether this process has been frozen since then.
func (s *Server) wasFrozen(then time.Time) bool {
	return time.Since(s.coarseNow()) >= frozenAfter || s.frozenAt.Load() >= then.UnixNano()
}

// blame returns the kind of outcome to hold against an endpoint for an exchange
// that began at begun: a failure does not count if it was this process that was
// frozen.
func (s *Server) blame(kind failover.Kind, begun time.Time) failover.Kind {
	if kind.Failed() && s.wasFrozen(begun) {
		return failover.Canceled
	}
	return kind
}

// isLocalFailure reports whether err means that this process or its machine has
// run out of a resource, which says nothing about the endpoint.
func isLocalFailure(err error) bool {
	for _, own := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}
