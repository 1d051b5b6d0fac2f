package dataplane

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
)

// call is an exchange with an endpoint over HTTP/2, and the body of its answer.
// What ended it early is the cause of its context.
type call struct {
	ctx          context.Context //nolint:containedctx // of this one request
	cancel       context.CancelCauseFunc
	guard        watchdog
	inform       interims
	retriesStall bool // is retried elsewhere if the endpoint is found to stall
	conn         *upstream.HTTP2Conn
	fresh        bool // conn was opened for this call
	resp         *http.Response
	upload       *callBody     // nil if no body is streamed
	until        time.Time     // deadline of the whole call; zero = none
	idle         time.Duration // between bytes of the body; 0 = no bound
	length       int64         // of the body, -1 = unknown
	pieces       *sync.Pool    // of *[]byte of BufferSize
	buf          *[]byte
	gotInterim   bool // an interim answer has arrived
	begun        bool // a piece has been read
	done         bool // the body has ended
	trail        []message.Field
}

// tryHTTP2 is try for endpoints that speak HTTP/2.
func (s *Server) tryHTTP2(x *Exchange, e *endpoint, begun time.Time) (*failure, failover.Kind) {
	s.buildHead(x, e)
	for left := 0; ; left++ {
		c := s.newCall(x)
		x.presence.closeOnLeave(c)
		s.awaitHead(c, x, e, begun)
		err := c.ask(x, e)
		switch {
		case err == nil:
			return nil, x.kind()
		case c.conn == nil:
			s.log.Debug().Err(err).Str("endpoint", e.address.URL).Msg("connect failed")
			return s.connectFailure(x, e, err)
		case left == maxClosingConns || !c.connWasClosing(x, err):
			return s.failed(x, err)
		}
		s.closeUpstream(x)
	}
}

// ask sends the request and waits for the answer's head.
func (c *call) ask(x *Exchange, e *endpoint) (err error) {
	if c.conn, c.fresh, err = e.h2.Reserve(c.ctx); err != nil {
		return c.cause(err)
	}
	req, err := c.request(x, e)
	if err != nil {
		c.conn.GiveUp()
		return err
	}
	c.resp, err = c.conn.RoundTrip(req) //nolint:bodyclose // end does
	c.gotInterim = c.inform.wait()
	if err == nil {
		err = c.answered(x)
	}
	if err != nil {
		return c.cause(err)
	}
	return nil
}

// maxClosingConns is how many connections one try may find to be closing: each that
// was opened by others may be at its end.
const maxClosingConns = 3

// connWasClosing reports whether err means that the endpoint was closing a
// connection which others have used: no failure of the endpoint's, if the
// request may be sent again.
func (c *call) connWasClosing(x *Exchange, err error) bool {
	if c.fresh || c.gotInterim || x.upload != nil || x.presence.hasLeft() || c.ctx.Err() != nil {
		return false
	}
	if _, reset := errors.AsType[http2.StreamError](err); reset || errors.Is(err, message.ErrAnswer) {
		return false
	}
	return x.idempotent() || unprocessed(err)
}

func (s *Server) newCall(x *Exchange) *call {
	c := &call{until: x.until, idle: x.target.timeouts.Idle, pieces: &s.answers, inform: interims{front: x.Front}}
	c.ctx, c.cancel = context.WithCancelCause(c.inform.traced(context.Background()))
	x.call = c
	if x.Body != nil {
		c.upload = s.newCallBody(x, c)
	}
	return c
}

// awaitHead bounds the time until the head has arrived. Once a body is sent,
// its own timeouts apply. A request that may be retried does not wait at an
// endpoint that is found to stall.
func (s *Server) awaitHead(c *call, x *Exchange, e *endpoint, begun time.Time) {
	deadline, late := x.headDeadline(begun), false
	next := deadline
	if c.retriesStall = x.mayRetryStall(); c.retriesStall {
		next = earlier(deadline, begun.Add(stallLook))
	}
	c.guard.expire = func(now time.Time) (again time.Time) {
		switch {
		case c.retriesStall && e.state.Stalled(now):
			c.cancel(errStalled)
		case c.retriesStall && (deadline.IsZero() || now.Before(deadline)):
			again = earlier(deadline, now.Add(stallLook))
		case !late && s.wasFrozen(begun): // it may have arrived meanwhile
			late, again = true, now.Add(stallLook)
		default:
			c.cancel(os.ErrDeadlineExceeded)
		}
		return again
	}
	c.guard.start(next)
}

// cause returns why the call failed, of which err may only be the consequence.
func (c *call) cause(err error) error {
	if why := context.Cause(c.ctx); why != nil {
		return why
	}
	return err
}

// request returns the head that buildHead has made, with the body, as a request of
// net/http.
func (c *call) request(x *Exchange, e *endpoint) (*http.Request, error) {
	req, err := requestOf(x.scratch.head[:len(x.scratch.head)-len(x.Buffered)], e)
	if err != nil {
		return nil, err
	}
	switch {
	case c.upload != nil:
		c.upload.announce(req)
		c.upload.start()
		req.Body, req.ContentLength = c.upload, x.Length
	case len(x.Buffered) > 0: // a copy: net/http may use it longer than the exchange lasts
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(bytes.Clone(x.Buffered))), int64(len(x.Buffered))
	}
	return req.WithContext(c.ctx), nil
}

// requestOf converts a head that buildHead has made.
func requestOf(head []byte, e *endpoint) (*http.Request, error) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	method, target, _ := bytes.Cut(bytes.TrimSuffix(line, []byte(" HTTP/1.1")), []byte{' '})
	req := &http.Request{
		Method: string(method), URL: &url.URL{Scheme: e.scheme(), Host: e.address.HostPort, Opaque: string(target)},
		Header: http.Header{"User-Agent": nil}, // keep net/http from adding its own
	}
	for {
		line, after, ok := bytes.Cut(rest, []byte("\r\n"))
		if !ok || len(line) == 0 {
			return req, nil
		}
		rest = after
		f, err := message.ParseField(line)
		if err != nil {
			return nil, err
		}
		switch f.ID {
		case message.Host:
			req.Host = string(f.Value)
		case message.Connection, message.Upgrade, message.TransferEncoding, message.ContentLength, message.Trailer: // are HTTP/1.1's own, or set by net/http
		default:
			addField(req.Header, "", &f)
		}
	}
}

// answered takes over the head of the answer.
func (c *call) answered(x *Exchange) error {
	if c.upload != nil {
		c.upload.answerBegan()
	}
	c.guard.stop()
	c.retriesStall = false // it has begun to answer
	if c.resp.StatusCode < 200 || c.resp.StatusCode > 599 {
		return message.ErrAnswer
	}
	fields := appendFields(x.scratch.upstream[:0], c.resp.Header)
	x.scratch.upstream = fields
	x.answer = upstream.Answer{Status: c.resp.StatusCode, Fields: fields, Length: c.resp.ContentLength}
	if x.isHead() || !message.HasBody(x.answer.Status) {
		x.answer.Length = 0
	}
	c.length = x.answer.Length
	c.done = c.length == 0 && len(c.resp.Trailer) == 0
	return nil
}

// appendFields appends the fields of header, without copying.
func appendFields(fields []message.Field, header map[string][]string) []message.Field {
	for name, values := range header {
		n := view(name)
		for _, value := range values {
			fields = append(fields, message.Field{Name: n, Value: view(value), ID: message.Identify(n)})
		}
	}
	return fields
}

// Next implements message.Stream.
func (c *call) Next() ([]byte, error) {
	if c.done {
		return nil, io.EOF
	}
	if c.buf == nil {
		c.buf = c.pieces.Get().(*[]byte) // the pool holds nothing else
	}
	c.begun = true
	now := time.Now()
	c.guard.start(earlier(within(now, c.idle), c.until))
	n, err := c.resp.Body.Read(*c.buf)
	c.guard.stop()
	switch {
	case n > 0:
		return (*c.buf)[:n], nil
	case errors.Is(err, io.EOF):
		c.done = true
		return nil, io.EOF
	case err == nil:
		return nil, io.ErrNoProgress
	}
	return nil, c.cause(err)
}

// Ready implements message.Stream. A body of known length is sure to follow its head.
func (c *call) Ready() bool { return c.done || c.length >= 0 && !c.begun }

// Trailers implements message.Stream.
func (c *call) Trailers() []message.Field {
	for name, values := range c.resp.Trailer {
		n := view(textproto.CanonicalMIMEHeaderKey(name))
		for _, value := range values {
			c.trail = append(c.trail, message.Field{Name: n, Value: view(value), ID: message.Identify(n)})
		}
	}
	return c.trail
}

// Close ends the call for a client that has left.
func (c *call) Close() error {
	c.cancel(errClientLeft)
	return nil
}

var errCallEnded = errors.New("no more is wanted")

// end releases what the call holds, whatever its state.
func (c *call) end() {
	c.guard.stop()
	c.cancel(errCallEnded)
	if c.upload != nil {
		_ = c.upload.Close() // net/http closes it as well, if it got that far
	}
	if c.resp != nil {
		_ = c.resp.Body.Close()
	}
	if c.conn != nil {
		c.conn.Release()
		c.conn = nil
	}
	if c.buf != nil {
		c.pieces.Put(c.buf)
		c.buf = nil
	}
}

// unprocessed reports whether err means that the endpoint has not processed the
// request. net/http has no error types for what a GOAWAY leaves out, or for a
// connection that ended before it was used.
func unprocessed(err error) bool {
	if reset, ok := errors.AsType[http2.StreamError](err); ok {
		return reset.Code == http2.ErrCodeRefusedStream // RFC 9113, section 8.7
	}
	for _, text := range []string{
		"http2: Transport received Server's graceful shutdown GOAWAY",
		"http2: Transport received GOAWAY from server", // with an error, which leaves out the first stream
		"http2: client conn not usable",
		"http2: client conn could not be established",
	} {
		if strings.HasPrefix(err.Error(), text) {
			return true
		}
	}
	return false
}
