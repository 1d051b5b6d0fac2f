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
	"github.com/meshgw/meshgw/failover"
)

// standstill is how late the watch has to be for this node to have stood still: it
// was frozen, or had no CPU. What times out meanwhile says nothing of others.
const standstill = 5 * watchEvery

// dialer is how connections to one endpoint are opened.
type dialer func(ctx context.Context) (net.Conn, error)

// patient makes a dialer wait for room first, and gives it timeout (ns) from then
// on. Where that ran out because this node stood still, it has it once more.
func (s *Server) patient(dial dialer, timeout *atomic.Int64) dialer {
	within := func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := withTimeout(ctx, time.Duration(timeout.Load()))
		defer cancel()
		return dial(ctx)
	}
	return func(ctx context.Context) (net.Conn, error) {
		if err := s.roomToDial(ctx); err != nil {
			return nil, err
		}
		begun := time.Now()
		c, err := within(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return c, err
		case socket.OutOfDescriptors(err): // others were faster
			if err = s.roomToDial(ctx); err != nil {
				return nil, err
			}
		case !s.stoodStill(begun):
			return nil, err
		}
		return within(ctx)
	}
}

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// dial connects to the first address of names that answers.
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
			err = handshakeMisfit(err, secure.NextProtos)
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

// roomToDial waits until there is room for a connection to an endpoint, for
// roomWait at most.
func (s *Server) roomToDial(ctx context.Context) error {
	if limit := socket.DescriptorLimit(); !socket.DescriptorsScarce(limit, spareOfAll(limit)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, roomWait)
	defer cancel()
	select {
	case s.room.dialling <- struct{}{}:
		defer func() { <-s.room.dialling }()
	case <-ctx.Done():
		return syscall.EMFILE
	}
	if !s.keepRoom(ctx.Done(), spareOfAll) {
		return syscall.EMFILE
	}
	return nil
}

// stoodStill reports whether this node has stood still since then.
func (s *Server) stoodStill(then time.Time) bool {
	return time.Since(s.lately()) >= standstill || s.stood.Load() >= then.UnixNano()
}

// fair is what the kind of an outcome says of an endpoint that was asked at begun:
// a failure says nothing where it was this node that stood still.
func (s *Server) fair(kind failover.Kind, begun time.Time) failover.Kind {
	if kind.Failed() && s.stoodStill(begun) {
		return failover.Canceled
	}
	return kind
}

// isOwn reports whether err is that this process, or its machine, has run out of
// something, which says nothing of the endpoint.
func isOwn(err error) bool {
	for _, own := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}
