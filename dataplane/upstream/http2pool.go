package upstream

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

// HTTP2Pool holds the HTTP/2 connections to one endpoint. Each carries as many
// exchanges at once as the endpoint allows; the slots of pool bound them all.
// net/http frames; which connection is used and what is retried is decided
// here.
type HTTP2Pool struct {
	transport *http.Transport
	connects  Dialer
	timeout   *atomic.Int64 // to connect, ns
	registry  *Registry
	spawn     func(func())

	open    atomic.Pointer[[]*HTTP2Conn] // available to new exchanges; never modified in place
	retired atomic.Bool

	mu      sync.Mutex // guards the rest, and changes of open
	opening *opening   // in progress; else nil
}

// opening is a connection that is being opened, for all exchanges that wait for it.
type opening struct {
	done chan struct{}
	conn *HTTP2Conn // held and reserved for the exchange that began it; valid when done is closed
	err  error      // likewise
}

// NewHTTP2Pool returns a pool that dials with connects, and gives a connection timeout
// (in ns) to open. The connections are registered until they are closed; spawn runs
// what may outlast a request.
func NewHTTP2Pool(connects Dialer, timeout *atomic.Int64, registry *Registry, spawn func(func()), cfg *http.HTTP2Config) *HTTP2Pool {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	p := &HTTP2Pool{
		connects: connects, timeout: timeout, registry: registry, spawn: spawn,
		transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return ctx.Value(settingsConnKey{}).(*settingsConn), nil //nolint:forcetypeassert // dial put it there
			},
			Protocols:              &protocols,
			DisableCompression:     true, // Accept-Encoding is the client's
			MaxResponseHeaderBytes: maxHead,
			HTTP2:                  cfg,
		},
	}
	// The HTTP/2 client in net/http of Go 1.26 deadlocks when an endpoint opens the
	// window of a stream too far, and with it whatever looks at the connection. The
	// one in x/net does not, and is net/http's from Go 1.27 on.
	if err := http2.ConfigureTransport(p.transport); err != nil { //nolint:staticcheck // deprecated for that reason
		panic(err) // fails only if called twice
	}
	p.open.Store(new([]*HTTP2Conn))
	return p
}

type settingsConnKey struct{}

// dialHTTP2 dials an endpoint. One that speaks TLS has to agree on HTTP/2.
func dialHTTP2(ctx context.Context, dial Dialer) (net.Conn, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, errors.Join(lacksHTTP2, c.Close())
	}
	return c, nil
}

// Reserve returns a connection that will take one exchange: RoundTrip or
// Release has to be called once on it, and release at the end. fresh means that
// it was opened for this. Only one is opened at a time, and the exchange that
// began to open it gets it before all others.
func (p *HTTP2Pool) Reserve(ctx context.Context) (c *HTTP2Conn, fresh bool, err error) {
	for {
		if c = p.available(time.Now()); c != nil {
			return c, false, nil
		}
		o, mine := p.begin()
		select {
		case <-o.done:
			if mine || o.err != nil {
				return o.conn, true, o.err
			}
		case <-ctx.Done():
			if mine {
				p.spawn(o.discard)
			}
			return nil, false, ctx.Err()
		}
	}
}

// available reserves a place on an open connection; nil if none can take more.
func (p *HTTP2Pool) available(now time.Time) *HTTP2Conn {
	for _, c := range *p.open.Load() {
		if now.Before(c.expires) && c.reserve() {
			return c
		}
	}
	return nil
}

// begin starts to open a connection, unless one is being opened. mine reports
// whether the caller has started it.
func (p *HTTP2Pool) begin() (o *opening, mine bool) {
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

// discard releases the connection for an exchange that no longer waits for it.
func (o *opening) discard() {
	<-o.done
	if o.err == nil {
		o.conn.conn.Release()
		o.conn.Release()
	}
}

// add opens a connection.
func (p *HTTP2Pool) add(o *opening) {
	c, err := p.connect()
	p.opened(o, c, err)
	if err != nil {
		return
	}
	// Not under the lock, which the hook takes: despite its documentation, net/http
	// calls the hook from here if the connection has died already. What ended
	// before there was a hook is noticed by the call after it.
	c.conn.SetStateHook(p.changed)
	p.changed(c.conn)
}

// connect opens a connection that takes at least one exchange.
func (p *HTTP2Pool) connect() (*HTTP2Conn, error) {
	c, hello, err := p.dial(context.Background()) // bounded by connects
	if err != nil {
		return nil, err
	}
	ctx, cancel := WithTimeout(context.Background(), time.Duration(p.timeout.Load()))
	defer cancel()
	select {
	case <-hello.received:
		if err = c.Reserve(); err != nil {
			err = errors.Join(hello.err, err)
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.Close(c)
		return nil, fmt.Errorf("open HTTP/2: %w", err)
	}
	return newHTTP2Conn(p, c), nil
}

// opened hands a connection, or the error, to all that wait for it.
func (p *HTTP2Pool) opened(o *opening, c *HTTP2Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		open := append(slices.Clone(*p.open.Load()), c)
		p.open.Store(&open)
	}
	o.conn, o.err, p.opening = c, err, nil
	close(o.done)
}

// changed is called by net/http when an exchange over c has ended, or c itself. It
// may be called with a lock of another connection held.
func (p *HTTP2Pool) changed(c *http.ClientConn) {
	if p.retired.Load() || c.Err() != nil || refusesStreams(c) {
		p.Sweep(time.Now())
	}
}

// dial opens a connection and registers it until it is closed.
func (p *HTTP2Pool) dial(ctx context.Context) (*http.ClientConn, *settingsConn, error) {
	conn, err := dialHTTP2(ctx, p.connects)
	if err != nil {
		return nil, nil, err
	}
	hello := newSettingsConn(conn)
	c, err := p.transport.NewClientConn(context.WithValue(ctx, settingsConnKey{}, hello), "https", "endpoint:443") // that is, hello
	if err != nil {
		return nil, nil, errors.Join(err, hello.Close())
	}
	if !p.registry.add(c) {
		return nil, nil, errors.Join(net.ErrClosed, c.Close())
	}
	return c, hello, nil
}

// Sweep releases the connections that are to take no new exchanges: those that are
// broken or too old, and those that have been idle too long.
func (p *HTTP2Pool) Sweep(now time.Time) {
	p.mu.Lock()
	var open, over []*HTTP2Conn
	for _, c := range *p.open.Load() {
		if p.retired.Load() || c.expired(now) {
			over = append(over, c)
		} else {
			open = append(open, c)
		}
	}
	p.open.Store(&open)
	p.mu.Unlock()
	for _, c := range over {
		c.Release()
	}
}

// DialOnce opens a connection for one exchange, which is not kept; close has to
// follow.
func (p *HTTP2Pool) DialOnce(ctx context.Context) (*http.ClientConn, error) {
	c, _, err := p.dial(ctx)
	return c, err
}

// Close closes a connection.
func (p *HTTP2Pool) Close(c *http.ClientConn) {
	p.registry.remove(c)
	_ = c.Close()
}

// Retire closes idle connections now, and the others when they become idle.
func (p *HTTP2Pool) Retire() {
	p.retired.Store(true)
	p.Sweep(time.Now())
}

// WithTimeout is context.WithTimeout, without a timeout if d is not positive.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}
