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

	"github.com/meshgw/meshgw/failover"
)

// call is an exchange with an endpoint over HTTP/2, and the body of its answer.
// What ends it early is the cause of its context's end.
type call struct {
	ctx    context.Context //nolint:containedctx // of this one request
	cancel context.CancelCauseFunc
	guard  watchdog
	inform interims
	leaves bool // for another endpoint, if this one is found to stall
	link   *h2Link
	fresh  bool // link was opened for this call
	resp   *http.Response
	upload *callBody     // nil = the request has none that is streamed
	until  time.Time     // for all of the call; zero = no bound
	idle   time.Duration // between bytes of the body; 0 = no bound
	length int64         // of the body, -1 = unknown
	pieces *sync.Pool    // of *[]byte of answerBuffer
	buf    *[]byte
	heard  bool // an interim answer came
	begun  bool // a piece came
	done   bool // the body has ended
	trail  []Field
}

// tryHTTP2 is try for endpoints that speak HTTP/2.
func (s *Server) tryHTTP2(x *Exchange, e *endpoint, begun time.Time) (*failure, failover.Kind) {
	s.buildHead(x, e)
	for left := 0; ; left++ {
		c := s.newCall(x)
		x.presence.over(c)
		s.awaitHead(c, x, e, begun)
		err := c.ask(x, e)
		switch {
		case err == nil:
			return nil, x.kind()
		case c.link == nil:
			s.log.Debug().Err(err).Str("endpoint", e.address.URL).Msg("connect failed")
			return s.unreached(x, e, err)
		case left == mostLeft || !c.wasLeft(x, err):
			return s.failed(x, err)
		}
		s.drop(x)
	}
}

// ask sends the request and waits for the answer's head.
func (c *call) ask(x *Exchange, e *endpoint) (err error) {
	if c.link, c.fresh, err = e.h2.reserve(c.ctx); err != nil {
		return c.cause(err)
	}
	req, err := c.request(x, e)
	if err != nil {
		c.link.conn.Release()
		return err
	}
	c.resp, err = c.link.conn.RoundTrip(req) //nolint:bodyclose // end does
	c.heard = c.inform.end()
	if err == nil {
		err = c.answered(x)
	}
	if err != nil {
		return c.cause(err)
	}
	return nil
}

// mostLeft is how often one try finds that the endpoint leaves the connection: each
// connection that others have opened may be at its end.
const mostLeft = 3

// wasLeft reports whether err is that the endpoint was leaving the connection, as
// it may do with one that others have used: no failure of the endpoint's, where
// the request may be sent again.
func (c *call) wasLeft(x *Exchange, err error) bool {
	if c.fresh || c.heard || x.upload != nil || x.presence.hasLeft() || c.ctx.Err() != nil {
		return false
	}
	if _, reset := errors.AsType[http2.StreamError](err); reset || errors.Is(err, errAnswerSyntax) {
		return false
	}
	return x.idempotent() || unprocessed(err)
}

func (s *Server) newCall(x *Exchange) *call {
	c := &call{until: x.until, idle: x.target.timeouts.Idle, pieces: &s.answers, inform: interims{front: x.Front}}
	c.ctx, c.cancel = context.WithCancelCause(c.inform.within(context.Background()))
	x.call = c
	if x.Body != nil {
		c.upload = s.newCallBody(x, c)
	}
	return c
}

// awaitHead bounds the time until the head has come. From when a body is read its
// pace decides. A request that may be sent again does not wait at an endpoint that
// was found to stall.
func (s *Server) awaitHead(c *call, x *Exchange, e *endpoint, begun time.Time) {
	deadline, late := x.headBy(begun), false
	next := deadline
	if c.leaves = x.mayLeave(); c.leaves {
		next = earlier(deadline, begun.Add(stallLook))
	}
	c.guard.bite = func(now time.Time) (again time.Time) {
		switch {
		case c.leaves && e.state.Stalled():
			c.cancel(errStalled)
		case c.leaves && (deadline.IsZero() || now.Before(deadline)):
			again = earlier(deadline, now.Add(stallLook))
		case !late && s.stoodStill(begun): // it may have come meanwhile
			late, again = true, now.Add(stallLook)
		default:
			c.cancel(os.ErrDeadlineExceeded)
		}
		return again
	}
	c.guard.watch(next)
}

// cause is why the call has failed with err.
func (c *call) cause(err error) error {
	if why := context.Cause(c.ctx); why != nil {
		return why
	}
	return err
}

// request makes net/http's request of the head that every endpoint would see,
// and of the body.
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
	case len(x.Buffered) > 0: // a copy, for net/http may hold it longer than the exchange lasts
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(bytes.Clone(x.Buffered))), int64(len(x.Buffered))
	}
	return req.WithContext(c.ctx), nil
}

// requestOf reads a head that buildHead has made.
func requestOf(head []byte, e *endpoint) (*http.Request, error) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	method, target, _ := bytes.Cut(bytes.TrimSuffix(line, []byte(" HTTP/1.1")), []byte{' '})
	req := &http.Request{
		Method: string(method), URL: &url.URL{Scheme: e.scheme(), Host: e.address.HostPort, Opaque: string(target)},
		Header: http.Header{"User-Agent": nil}, // none of net/http's
	}
	for {
		line, after, ok := bytes.Cut(rest, []byte("\r\n"))
		if !ok || len(line) == 0 {
			return req, nil
		}
		rest = after
		f, err := parseField(line)
		if err != nil {
			return nil, err
		}
		switch f.id {
		case fieldHost:
			req.Host = string(f.Value)
		case fieldConnection, fieldUpgrade, fieldTransferEncoding, fieldContentLength, fieldTrailer: // of HTTP/1.1, or net/http's to say
		default:
			addField(req.Header, "", &f)
		}
	}
}

// answered takes in the head of the answer.
func (c *call) answered(x *Exchange) error {
	if c.upload != nil {
		c.upload.headCame()
	}
	c.guard.rest()
	c.leaves = false // from now on a body is waited for
	if c.resp.StatusCode < 200 || c.resp.StatusCode > 599 {
		return errAnswerSyntax
	}
	fields := appendFields(x.scratch.upstream[:0], c.resp.Header)
	x.scratch.upstream = fields
	x.answer = answer{status: c.resp.StatusCode, fields: fields, length: c.resp.ContentLength}
	if x.isHead() || !hasBody(x.answer.status) {
		x.answer.length = 0
	}
	c.length = x.answer.length
	c.done = c.length == 0 && len(c.resp.Trailer) == 0
	return nil
}

// appendFields appends views of header.
func appendFields(fields []Field, header map[string][]string) []Field {
	for name, values := range header {
		n := view(name)
		for _, value := range values {
			fields = append(fields, Field{Name: n, Value: view(value), id: identify(n)})
		}
	}
	return fields
}

// next implements stream.
func (c *call) next() ([]byte, error) {
	if c.done {
		return nil, io.EOF
	}
	if c.buf == nil {
		c.buf = c.pieces.Get().(*[]byte) // the pool holds nothing else
	}
	c.begun = true
	now := time.Now()
	c.guard.watch(earlier(within(now, c.idle), c.until))
	n, err := c.resp.Body.Read(*c.buf)
	c.guard.rest()
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

// ready implements stream. Of a body whose length is known, the first piece is
// sure to come.
func (c *call) ready() bool { return c.done || c.length >= 0 && !c.begun }

// trailing implements stream.
func (c *call) trailing() []Field {
	for name, values := range c.resp.Trailer {
		n := view(textproto.CanonicalMIMEHeaderKey(name))
		for _, value := range values {
			c.trail = append(c.trail, Field{Name: n, Value: view(value), id: identify(n)})
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

// end lets go of the call, whatever its state.
func (c *call) end() {
	c.guard.rest()
	c.cancel(errCallEnded)
	if c.upload != nil {
		_ = c.upload.Close() // net/http does so as well, if it has come that far
	}
	if c.resp != nil {
		_ = c.resp.Body.Close()
	}
	if c.link != nil {
		c.link.letGo()
		c.link = nil
	}
	if c.buf != nil {
		c.pieces.Put(c.buf)
		c.buf = nil
	}
}

// unprocessed reports whether err says that nothing was done for the request.
// What a GOAWAY leaves out, and a connection that ended before it was used, have no
// type.
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
