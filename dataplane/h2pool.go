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

// h2Pool holds the HTTP/2 connections to one endpoint. Each carries as many
// exchanges at once as the endpoint allows; the slots of pool bound them all.
// net/http frames; which connection is used and what is retried is decided
// here.
type h2Pool struct {
	transport *http.Transport
	connects  dialer
	timeout   *atomic.Int64 // to connect, ns
	registry  *connRegistry
	spawn     func(func())

	open    atomic.Pointer[[]*h2UpstreamConn] // available to new exchanges; never modified in place
	retired atomic.Bool

	mu      sync.Mutex // guards the rest, and changes of open
	opening *opening   // in progress; else nil
}

// opening is a connection that is being opened, for all exchanges that wait for it.
type opening struct {
	done chan struct{}
	conn *h2UpstreamConn // held and reserved for the exchange that began it; valid when done is closed
	err  error           // likewise
}

func (s *Server) newH2Pool(connects dialer, timeout *atomic.Int64) *h2Pool {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	p := &h2Pool{
		connects: connects, timeout: timeout, registry: &s.upstreams, spawn: s.spawn,
		transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return ctx.Value(settingsConnKey{}).(*settingsConn), nil //nolint:forcetypeassert // dial put it there
			},
			Protocols:              &protocols,
			DisableCompression:     true, // Accept-Encoding is the client's
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
	// The HTTP/2 client in net/http of Go 1.26 deadlocks when an endpoint opens the
	// window of a stream too far, and with it whatever looks at the connection. The
	// one in x/net does not, and is net/http's from Go 1.27 on.
	if err := http2.ConfigureTransport(p.transport); err != nil { //nolint:staticcheck // deprecated for that reason
		panic(err) // fails only if called twice
	}
	p.open.Store(new([]*h2UpstreamConn))
	return p
}

type settingsConnKey struct{}

// dialHTTP2 dials an endpoint. One that speaks TLS has to agree on HTTP/2.
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

// reserve returns a connection that will take one exchange: RoundTrip or
// Release has to be called once on it, and release at the end. fresh means that
// it was opened for this. Only one is opened at a time, and the exchange that
// began to open it gets it before all others.
func (p *h2Pool) reserve(ctx context.Context) (link *h2UpstreamConn, fresh bool, err error) {
	for {
		if l := p.available(time.Now()); l != nil {
			return l, false, nil
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
func (p *h2Pool) available(now time.Time) *h2UpstreamConn {
	for _, l := range *p.open.Load() {
		if now.Before(l.expires) && l.reserve() {
			return l
		}
	}
	return nil
}

// begin starts to open a connection, unless one is being opened. mine reports
// whether the caller has started it.
func (p *h2Pool) begin() (o *opening, mine bool) {
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
		o.conn.release()
	}
}

// add opens a connection.
func (p *h2Pool) add(o *opening) {
	l, err := p.connect()
	p.opened(o, l, err)
	if err != nil {
		return
	}
	// Not under the lock, which the hook takes: despite its documentation, net/http
	// calls the hook from here if the connection has died already. What ended
	// before there was a hook is noticed by the call after it.
	l.conn.SetStateHook(p.changed)
	p.changed(l.conn)
}

// connect opens a connection that takes at least one exchange.
func (p *h2Pool) connect() (*h2UpstreamConn, error) {
	c, hello, err := p.dial(context.Background()) // bounded by connects
	if err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(context.Background(), time.Duration(p.timeout.Load()))
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
		p.close(c)
		return nil, fmt.Errorf("open HTTP/2: %w", err)
	}
	return newH2UpstreamConn(p, c), nil
}

// opened hands a connection, or the error, to all that wait for it.
func (p *h2Pool) opened(o *opening, l *h2UpstreamConn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		open := append(slices.Clone(*p.open.Load()), l)
		p.open.Store(&open)
	}
	o.conn, o.err, p.opening = l, err, nil
	close(o.done)
}

// changed is called by net/http when an exchange over c has ended, or c itself. It
// may be called with a lock of another connection held.
func (p *h2Pool) changed(c *http.ClientConn) {
	if p.retired.Load() || c.Err() != nil || refusesStreams(c) {
		p.sweep(time.Now())
	}
}

// dial opens a connection and registers it until it is closed.
func (p *h2Pool) dial(ctx context.Context) (*http.ClientConn, *settingsConn, error) {
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

// sweep releases the connections that are to take no new exchanges: those that are
// broken or too old, and those that have been idle too long.
func (p *h2Pool) sweep(now time.Time) {
	p.mu.Lock()
	var open, over []*h2UpstreamConn
	for _, l := range *p.open.Load() {
		if p.retired.Load() || l.expired(now) {
			over = append(over, l)
		} else {
			open = append(open, l)
		}
	}
	p.open.Store(&open)
	p.mu.Unlock()
	for _, l := range over {
		l.release()
	}
}

func (p *h2Pool) close(c *http.ClientConn) {
	p.registry.remove(c)
	_ = c.Close()
}

// retire closes idle connections now, and the others when they become idle.
func (p *h2Pool) retire() {
	p.retired.Store(true)
	p.sweep(time.Now())
}
