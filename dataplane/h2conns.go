package dataplane

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var errNoHTTP2 = errors.New("endpoint does not speak HTTP/2")

// h2Conns are the HTTP/2 connections to one endpoint. Each carries as many
// exchanges at once as the endpoint allows; the pool's slots bound them all.
// net/http frames, but which connection is used and what is tried again is
// decided here.
type h2Conns struct {
	transport *http.Transport
	registry  *connRegistry
	spawn     func(func())

	open    atomic.Pointer[[]*h2Link] // for new exchanges; never changed in place
	retired atomic.Bool

	mu      sync.Mutex // guards the rest, and changes of open
	leaving []*h2Link  // to be closed when what is in flight has ended
	opening *opening   // under way; else nil
}

// h2Link is one connection.
type h2Link struct {
	*http.ClientConn
	expires time.Time
	used    atomic.Int64 // when last, in ns since 1970
}

// opening is a connection that is being opened, for all who wait for it.
type opening struct {
	done chan struct{}
	err  error // valid when done is closed
}

func (s *Server) newH2Conns(dial func(context.Context) (net.Conn, error)) *h2Conns {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	p := &h2Conns{
		registry: &s.upstreams, spawn: s.spawn,
		transport: &http.Transport{
			DialTLSContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dialHTTP2(ctx, dial) },
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
	p.open.Store(new([]*h2Link))
	return p
}

// dialHTTP2 dials an endpoint in clear, or one that agrees on HTTP/2 over TLS.
func dialHTTP2(ctx context.Context, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	t, ok := c.(*tls.Conn)
	switch {
	case !ok:
		return &firstFrame{Conn: c}, nil
	case t.ConnectionState().NegotiatedProtocol != "h2":
		return nil, errors.Join(lacksHTTP2, c.Close())
	}
	return c, nil
}

// reserve returns a connection that will take one exchange, for which RoundTrip
// or Release is to be called once.
func (p *h2Conns) reserve(ctx context.Context) (*http.ClientConn, error) {
	for {
		if c := p.available(time.Now()); c != nil {
			return c, nil
		}
		o := p.begin()
		select {
		case <-o.done:
			if o.err != nil {
				return nil, o.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// available reserves on an open connection; nil if none can take more.
func (p *h2Conns) available(now time.Time) *http.ClientConn {
	for _, c := range *p.open.Load() {
		if now.Before(c.expires) && c.Reserve() == nil {
			c.used.Store(now.UnixNano())
			return c.ClientConn
		}
	}
	return nil
}

// begin begins to open a connection, unless one is being opened.
func (p *h2Conns) begin() *opening {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opening == nil {
		o := &opening{done: make(chan struct{})}
		p.opening = o
		p.spawn(func() { p.add(o) })
	}
	return p.opening
}

// add opens a connection.
func (p *h2Conns) add(o *opening) {
	c, err := p.dial(context.Background()) // the time to connect is bounded in there
	p.opened(o, c, err)
	if err != nil {
		return
	}
	// Not under the lock, which the hook takes: it is called in here for a
	// connection that has died already, in this goroutine, whatever net/http's
	// documentation says. What ended before there was a hook is seen afterwards.
	c.SetStateHook(p.changed)
	p.changed(c)
}

// opened makes a connection known to all who wait for it.
func (p *h2Conns) opened(o *opening, c *http.ClientConn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		now := time.Now()
		l := &h2Link{ClientConn: c, expires: lifetime(now)}
		l.used.Store(now.UnixNano())
		open := append(slices.Clone(*p.open.Load()), l)
		p.open.Store(&open)
	}
	o.err, p.opening = err, nil
	close(o.done)
}

// changed hears that an exchange over c has ended, or c itself.
func (p *h2Conns) changed(c *http.ClientConn) {
	if p.retired.Load() || c.Err() != nil {
		p.sweep(time.Now())
	}
}

// dial opens a connection, which is known to the registry until it is closed.
func (p *h2Conns) dial(ctx context.Context) (*http.ClientConn, error) {
	c, err := p.transport.NewClientConn(ctx, "https", "endpoint:443") // dialHTTP2 knows better
	if err != nil {
		return nil, err
	}
	if !p.registry.add(c) {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	return c, nil
}

// sweep closes the connections that are used no more: those that broke or grew
// old, once nothing is in flight over them, and those that were idle too long.
func (p *h2Conns) sweep(now time.Time) {
	p.mu.Lock()
	var open, leaving, closing []*h2Link
	for _, c := range *p.open.Load() {
		idle := c.InFlight() == 0 && now.Sub(time.Unix(0, c.used.Load())) > connIdle
		if p.retired.Load() || c.Err() != nil || now.After(c.expires) || idle {
			p.leaving = append(p.leaving, c)
		} else {
			open = append(open, c)
		}
	}
	for _, c := range p.leaving {
		if c.InFlight() > 0 {
			leaving = append(leaving, c)
		} else {
			closing = append(closing, c)
		}
	}
	p.open.Store(&open)
	p.leaving = leaving
	p.mu.Unlock()
	for _, c := range closing {
		p.close(c.ClientConn)
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
