package dataplane

import (
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/meshgw/meshgw/failover"
)

const (
	headLimit   = 32 << 10 // of a request
	targetLimit = 8 << 10
	smallBody   = 8 << 10          // read before the endpoint is asked, so that it can be sent again
	bodyIdle    = 30 * time.Second // between bytes of a body
	bodyRate    = 240              // bytes a second, at least, on average
)

// newFront returns the server that reads HTTP/1.1 from clients.
func (s *Server) newFront() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                       s.serveH1,
		ExpectHandler:                 s.expectH1,
		ErrorHandler:                  s.refuseH1,
		HeaderReceived:                receivedH1,
		ConnState:                     connState,
		ReadBufferSize:                headLimit,
		WriteBufferSize:               readBuffer + 4<<10,
		ReadTimeout:                   headTimeout,
		IdleTimeout:                   parkAfter,
		Concurrency:                   1 << 30, // the listener bounds connections
		StreamRequestBody:             true,
		ReduceMemoryUsage:             true, // also flushes each answer, so that interim ones keep their place
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		SecureErrorLogMessage:         true,
		Logger:                        silent{},
	}
}

// silent drops what fasthttp would log: malformed requests of clients, which
// the access log has.
type silent struct{}

// Printf implements fasthttp.Logger.
func (silent) Printf(string, ...any) {}

// receivedH1 lets fasthttp read small bodies whole, of others one byte only:
// the rest is for the upload.
func receivedH1(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	config := fasthttp.RequestConfig{MaxRequestBodySize: smallBody}
	if n := h.ContentLength(); n > smallBody {
		config.MaxRequestBodySize = 1
	}
	if h.ContentLength() != 0 {
		config.ReadTimeout = bodyIdle
	}
	return config
}

// connState follows whether a request is under way.
func connState(c net.Conn, to fasthttp.ConnState) {
	cc := c.(*clientConn) // ServeConn is given nothing else
	switch to {
	case fasthttp.StateActive:
		cc.state.CompareAndSwap(connIdleState, connActive)
	case fasthttp.StateIdle:
		cc.inBody.Store(false)
		cc.muted = false
		cc.state.CompareAndSwap(connActive, connIdleState)
	}
}

// h1 is the front of one HTTP/1.1 exchange.
type h1 struct {
	server *Server
	ctx    *fasthttp.RequestCtx
	conn   *clientConn
	read   int64 // of the request's body
	began  time.Time
	body   requestBody
	x      Exchange
}

func newH1(s *Server) *h1 {
	f := &h1{server: s}
	f.body.h1 = f
	return f
}

func (s *Server) h1(ctx *fasthttp.RequestCtx) *h1 {
	f := s.fronts.Get().(*h1) // the pool holds nothing else
	f.ctx, f.read = ctx, 0
	f.conn = ctx.Conn().(*clientConn) // ServeConn is given nothing else
	f.x.reset()
	return f
}

// serveH1 handles a request.
func (s *Server) serveH1(ctx *fasthttp.RequestCtx) {
	f := s.h1(ctx)
	if r := f.open(); r != nil {
		f.x.refused = r
		s.reject(&f.x)
		return
	}
	if r := f.takeBody(); r != nil {
		f.x.refused = r
		s.reject(&f.x)
		return
	}
	s.handle(&f.x)
}

// expectH1 decides about a request that waits for 100 Continue.
func (s *Server) expectH1(ctx *fasthttp.RequestCtx) int {
	f := s.h1(ctx)
	x := &f.x
	if r := f.open(); r != nil {
		x.refused = r
		s.reject(x)
		return http.StatusExpectationFailed // answered: fasthttp's own goes nowhere
	}
	x.Body = &f.body // to come: unread if refused
	if s.enter(x) {
		s.fronts.Put(f)
		return fasthttp.StatusContinue // the body follows, then serveH1
	}
	s.begin()
	s.refuse(x)
	return http.StatusExpectationFailed
}

// refuseH1 answers what fasthttp could not read.
func (s *Server) refuseH1(ctx *fasthttp.RequestCtx, err error) {
	f := s.h1(ctx)
	f.conn.unread = true
	f.common()
	switch {
	case isTooSmall(err):
		f.x.refused = &refusal{code: TooLarge, status: 431, detail: "The request's head is larger than 32 KiB.", close: true}
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.x.refused = malformed(408, "The request did not come in time.")
	default:
		f.x.refused = malformed(400, "The request is malformed.")
	}
	s.reject(&f.x)
}

func isTooSmall(err error) bool {
	_, ok := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	return ok
}

// reject refuses a request before it has become one.
func (s *Server) reject(x *Exchange) {
	s.begin()
	x.Client = x.Peer
	x.RequestID = appendRequestID(x.scratch.id[:0], x.Start)
	x.trace = readTrace(nil)
	s.refuse(x)
}

func (f *h1) common() {
	x := &f.x
	x.Front, x.Start, x.presence = f, time.Now(), &f.conn.presence
	x.Listener, x.Peer, x.Secure = f.conn.listener, f.conn.peer, f.conn.secure
	x.Link, x.Certificate, x.Shown = f.conn.link, f.conn.shown, f.conn.client
	x.Protocol, x.priority = "HTTP/1.1", failover.Normal
}

// end finishes the exchange and gives the front back.
func (f *h1) end(err error) {
	f.server.finish(&f.x, err)
	f.server.fronts.Put(f)
}
