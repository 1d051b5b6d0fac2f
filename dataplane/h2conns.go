package dataplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

var errNoHTTP2 = errors.New("endpoint does not speak HTTP/2")

// h2Conns are the HTTP/2 connections to one endpoint. Each carries as many
// exchanges at once as the endpoint allows; the pool's slots bound them all.
// net/http frames, but which connection is used and what is tried again is
// decided here.
type h2Conns struct {
	transport *http.Transport
	connects  dialer
	timeout   *atomic.Int64 // to connect, ns
	registry  *connRegistry
	spawn     func(func())

	open    atomic.Pointer[[]*h2Link] // for new exchanges; never changed in place
	retired atomic.Bool

	mu      sync.Mutex // guards the rest, and changes of open
	opening *opening   // under way; else nil
}

// opening is a connection that is being opened, for all who wait for it.
type opening struct {
	done chan struct{}
	link *h2Link // held, and reserved, for who began it; valid when done is closed
	err  error   // likewise
}

func (s *Server) newH2Conns(connects dialer, timeout *atomic.Int64) *h2Conns {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	p := &h2Conns{
		connects: connects, timeout: timeout, registry: &s.upstreams, spawn: s.spawn,
		transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return ctx.Value(greetingKey{}).(*greeting), nil //nolint:forcetypeassert // dial put it there
			},
			Protocols:              &protocols,
			DisableCompression:     true, // what the client accepts, it says itself
			MaxResponseHeaderBytes: maxHead,
			HTTP2: &http.HTTP2Config{
				MaxReadFrameSize:              h2Frame,
				MaxReceiveBufferPerStream:     h2StreamWindow,
				MaxReceiveBufferPerConnection: 4 * h2ConnWindow,
				SendPingTimeout:               h2PingAfter,
				PingTimeout:                   h2PingTimeout,
				WriteByteTimeout:              h2WriteProgress,
			},
		},
	}
	// net/http's own framing of HTTP/2, in Go 1.26, takes a lock twice when an
	// endpoint opens the window of a stream too far: whoever looks at the connection
	// then waits for ever. This one does not, and is net/http's from Go 1.27 on.
	if err := http2.ConfigureTransport(p.transport); err != nil { //nolint:staticcheck // deprecated for that reason
		panic(err) // it was done before
	}
	p.open.Store(new([]*h2Link))
	return p
}

type greetingKey struct{}

// dialHTTP2 dials an endpoint in clear, or one that agrees on HTTP/2 over TLS.
func dialHTTP2(ctx context.Context, dial dialer) (net.Conn, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, errors.Join(lacksHTTP2, c.Close())
	}
	return c, nil
}

// reserve returns a connection that will take one exchange, for which RoundTrip
// or Release is to be called once, and letGo in the end. fresh: it was opened for
// this. Nobody opens more than one: who does has it before all others.
func (p *h2Conns) reserve(ctx context.Context) (link *h2Link, fresh bool, err error) {
	for {
		if l := p.available(time.Now()); l != nil {
			return l, false, nil
		}
		o, mine := p.begin()
		select {
		case <-o.done:
			if mine || o.err != nil {
				return o.link, true, o.err
			}
		case <-ctx.Done():
			if mine {
				p.spawn(o.forgo)
			}
			return nil, false, ctx.Err()
		}
	}
}

// available reserves on an open connection; nil if none can take more.
func (p *h2Conns) available(now time.Time) *h2Link {
	for _, l := range *p.open.Load() {
		if now.Before(l.expires) && l.reserve() {
			return l
		}
	}
	return nil
}

// begin begins to open a connection, unless one is being opened: then it is not
// the caller's.
func (p *h2Conns) begin() (o *opening, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opening != nil {
		return p.opening, false
	}
	o = &opening{done: make(chan struct{})}
	p.opening = o
	p.spawn(func() { p.add(o) })
	return o, true
}

// forgo gives the connection back that was opened for somebody who has left.
func (o *opening) forgo() {
	<-o.done
	if o.err == nil {
		o.link.conn.Release()
		o.link.letGo()
	}
}

// add opens a connection.
func (p *h2Conns) add(o *opening) {
	l, err := p.connect()
	p.opened(o, l, err)
	if err != nil {
		return
	}
	// Not under the lock, which the hook takes: it is called in here for a
	// connection that has died already, in this goroutine, whatever net/http's
	// documentation says. What ended before there was a hook is seen afterwards.
	l.conn.SetStateHook(p.changed)
	p.changed(l.conn)
}

// connect opens a connection that takes an exchange at least.
func (p *h2Conns) connect() (*h2Link, error) {
	c, hello, err := p.dial(context.Background()) // connects knows how long that may take
	if err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(context.Background(), time.Duration(p.timeout.Load()))
	defer cancel()
	select {
	case <-hello.taken:
		if err = c.Reserve(); err != nil {
			err = errors.Join(hello.failed, err)
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.close(c)
		return nil, fmt.Errorf("open HTTP/2: %w", err)
	}
	return newH2Link(p, c), nil
}

// opened makes a connection known to all who wait for it.
func (p *h2Conns) opened(o *opening, l *h2Link, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		open := append(slices.Clone(*p.open.Load()), l)
		p.open.Store(&open)
	}
	o.link, o.err, p.opening = l, err, nil
	close(o.done)
}

// changed hears that an exchange over c has ended, or c itself. It may be called
// while net/http holds a lock of another connection.
func (p *h2Conns) changed(c *http.ClientConn) {
	if p.retired.Load() || c.Err() != nil || takesNothing(c) {
		p.sweep(time.Now())
	}
}

// dial opens a connection, which is known to the registry until it is closed.
func (p *h2Conns) dial(ctx context.Context) (*http.ClientConn, *greeting, error) {
	conn, err := dialHTTP2(ctx, p.connects)
	if err != nil {
		return nil, nil, err
	}
	hello := newGreeting(conn)
	c, err := p.transport.NewClientConn(context.WithValue(ctx, greetingKey{}, hello), "https", "endpoint:443") // that is, hello
	if err != nil {
		return nil, nil, errors.Join(err, hello.Close())
	}
	if !p.registry.add(c) {
		return nil, nil, errors.Join(net.ErrClosed, c.Close())
	}
	return c, hello, nil
}

// sweep lets go of the connections that are for no new exchanges: those that
// broke or grew old, and those that nobody uses and that were idle too long.
func (p *h2Conns) sweep(now time.Time) {
	p.mu.Lock()
	var open, over []*h2Link
	for _, l := range *p.open.Load() {
		if p.retired.Load() || l.over(now) {
			over = append(over, l)
		} else {
			open = append(open, l)
		}
	}
	p.open.Store(&open)
	p.mu.Unlock()
	for _, l := range over {
		l.letGo()
	}
}

func (p *h2Conns) close(c *http.ClientConn) {
	p.registry.remove(c)
	_ = c.Close()
}

// retire closes what is idle now, and the others as they come free.
func (p *h2Conns) retire() {
	p.retired.Store(true)
	p.sweep(time.Now())
}
