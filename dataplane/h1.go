package dataplane

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
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
	cc := c.(*clientConn) //nolint:forcetypeassert // ServeConn is given nothing else
	switch to {
	case fasthttp.StateActive:
		cc.state.CompareAndSwap(connIdleState, connActive)
	case fasthttp.StateIdle:
		cc.inBody.Store(false)
		cc.state.CompareAndSwap(connActive, connIdleState)
	}
}

// h1 is the front of one HTTP/1.1 exchange.
type h1 struct {
	server *Server
	ctx    *fasthttp.RequestCtx
	conn   *clientConn
	stream *answer
	direct bool // the body goes past fasthttp's buffer, so that no byte waits in it
	cut    error
	read   int64
	began  time.Time
	body   requestBody
	out    answerBody
	x      Exchange
}

func newH1(s *Server) *h1 {
	f := &h1{server: s}
	f.body.h1, f.out.h1 = f, f
	return f
}

// requestBody is the streamed body of a request.
type requestBody struct{ h1 *h1 }

// answerBody is the streamed body of an answer, as fasthttp takes it.
type answerBody struct{ h1 *h1 }

func (s *Server) h1(ctx *fasthttp.RequestCtx) *h1 {
	f := s.fronts.Get().(*h1) //nolint:forcetypeassert // the pool holds nothing else
	f.ctx, f.stream, f.cut = ctx, nil, nil
	f.conn = ctx.Conn().(*clientConn) //nolint:forcetypeassert // ServeConn is given nothing else
	f.direct, f.read = false, 0
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
		return ctx.Response.StatusCode()
	}
	if s.identify(x) && s.match(x) && s.admit(x) {
		s.fronts.Put(f)
		return fasthttp.StatusContinue // the body follows, then serveH1
	}
	s.begin()
	s.refuse(x)
	return ctx.Response.StatusCode()
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
	x.Front, x.Start = f, time.Now()
	x.Listener, x.Peer, x.Secure = f.conn.listener, f.conn.peer, f.conn.secure
	x.Protocol = "HTTP/1.1"
}

// open reads and checks the request's head. Nothing of it has been believed
// before: fasthttp found its end and framing, this finds whatever could be read
// in two ways.
func (f *h1) open() *refusal {
	f.common()
	x, h := &f.x, &f.ctx.Request.Header
	x.Method = h.Method()
	switch string(h.Protocol()) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		x.Protocol = "HTTP/1.0"
	default:
		return malformed(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
	}
	if r := f.checkFields(); r != nil {
		return r
	}
	switch string(x.Method) {
	case "CONNECT", "TRACE", "TRACK":
		return malformed(405, "The method is not allowed through this gateway.")
	}
	return f.checkTarget()
}

func (f *h1) checkFields() *refusal {
	x, raw := &f.x, f.ctx.Request.Header.RawHeaders()
	http10 := x.Protocol == "HTTP/1.0"
	if len(raw) > 0 {
		var err error
		x.Fields, err = parseFields(x.scratch.fields[:0], raw)
		x.scratch.fields = x.Fields
		switch {
		case errors.Is(err, errTooManyFields):
			return &refusal{code: TooLarge, status: 431, detail: "The request has more than 100 header fields.", close: true}
		case err != nil:
			return malformed(400, "A header field is malformed.")
		}
	}
	var err error
	x.Length, _, err = framing(x.Fields, http10)
	switch {
	case errors.Is(err, errTransferCoding):
		return malformed(501, "Only the transfer coding chunked is understood.")
	case err != nil:
		return malformed(400, "The framing of the request's body is ambiguous.")
	}
	if expect, n := find(x.Fields, fieldExpect); n > 1 || n == 1 && !http10 && !equalFold(expect, "100-continue") {
		return malformed(417, "The expectation cannot be met.")
	}
	if !http10 {
		x.Upgrade = upgradable(x.Fields)
	}
	if x.Upgrade != nil && (x.Length != 0 || string(x.Method) != "GET") {
		return malformed(400, "An upgrade must be asked for with GET and without a body.")
	}
	return nil
}

// checkTarget makes host and path canonical. A target with an authority must
// agree with Host, so that no two parties can take different ones.
func (f *h1) checkTarget() *refusal {
	x := &f.x
	raw := f.ctx.Request.Header.RequestURI()
	if len(raw) > targetLimit {
		return &refusal{code: TooLarge, status: 414, detail: "The request target is longer than 8 KiB.", close: true}
	}
	target, err := routetable.ParseTarget(x.scratch.path[:0], raw)
	if err != nil || string(target.Path) == "*" {
		return malformed(400, "The request target is not accepted.")
	}
	x.scratch.path = target.Path
	x.Path, x.Query, x.HasQuery = target.Path, target.Query, target.HasQuery
	host, count := find(x.Fields, fieldHost)
	switch {
	case count > 1, count == 0 && x.Protocol == "HTTP/1.1":
		return malformed(400, "The request must have one Host field.")
	case count == 0 && target.Authority == nil:
		return nil // HTTP/1.0: for every host
	case count == 0:
		host = target.Authority
	}
	if x.Host, _, err = routetable.ParseHost(x.scratch.host[:0], host); err != nil {
		return malformed(400, "The Host field is malformed.")
	}
	x.scratch.host, x.Authority = x.Host, host
	if target.Authority != nil && !bytes.EqualFold(target.Authority, host) {
		return malformed(400, "The request target and Host name different hosts.")
	}
	return nil
}

// takeBody readies the body: small ones whole, others to be streamed.
func (f *h1) takeBody() *refusal {
	x := &f.x
	if x.Length == 0 {
		return nil
	}
	if x.Length > 0 && x.Length <= smallBody {
		// fasthttp has read it with the head.
		x.scratch.body = slices.Grow(x.scratch.body[:0], int(x.Length))[:x.Length]
		if _, err := io.ReadFull(f.ctx.Request.BodyStream(), x.scratch.body); err != nil {
			return malformed(400, "The request's body is cut short.")
		}
		x.Buffered, x.in = x.scratch.body, x.Length
		return nil
	}
	f.conn.inBody.Store(true)
	f.began = x.Start
	x.Body = &f.body
	return nil
}

// Read reads from the streamed body of the request, not too slowly.
func (b *requestBody) Read(p []byte) (int, error) {
	f := b.h1
	now := time.Now()
	if took := now.Sub(f.began); took > bodyIdle && float64(f.read) < bodyRate*took.Seconds() {
		return 0, os.ErrDeadlineExceeded
	}
	if !f.conn.stopped.Load() {
		_ = f.conn.Conn.SetReadDeadline(now.Add(bodyIdle))
	}
	n, err := f.ctx.Request.BodyStream().Read(p)
	f.read += int64(n)
	return n, err
}

// StopBody implements Front.
func (f *h1) StopBody() {
	f.conn.stopped.Store(true)
	f.conn.unread = true
	_ = f.conn.Conn.SetReadDeadline(time.Unix(1, 0))
}

// Trailers implements Front.
func (f *h1) Trailers(dst []Field) ([]Field, error) {
	text := f.ctx.Request.Header.TrailerHeader()
	return parseFields(dst, text)
}

// Inform implements Front.
func (f *h1) Inform(status int, fields []Field) {
	if f.x.Protocol == "HTTP/1.0" {
		return
	}
	head := appendHead(nil, status, http.StatusText(status), f.server.interim(fields))
	_, _ = f.conn.Write(head) // a client that is gone is found out with the answer
}

// interim returns the fields of an interim answer that may pass.
func (s *Server) interim(from []Field) []Field {
	var fields []Field
	tokens := connectionOptions(nil, from)
	for _, f := range from {
		if f.id == otherField && !isListed(tokens, f.Name) {
			fields = append(fields, f)
		}
	}
	return fields
}

// Send implements Front.
func (f *h1) Send(x *Exchange, r *reply) {
	switch {
	case r.tunnel:
		f.hijack(r, func(c net.Conn) error { return f.server.tunnel(x, hijacked{c, f.conn}) })
		return
	case r.stream != nil && r.length < 0 && x.Protocol == "HTTP/1.0":
		// No chunks for HTTP/1.0: the end of the connection ends the body.
		f.stream = r.stream
		r.fields = own(r.fields, "connection", []byte("close"))
		f.hijack(r, func(net.Conn) error { return f.copyDirect() })
		return
	}
	f.writeHead(r)
	resp := &f.ctx.Response
	switch {
	case r.stream != nil:
		f.stream = r.stream
		f.direct = r.length >= 0
		resp.ImmediateHeaderFlush = true
		resp.SetBodyStream(&f.out, int(max(r.length, chunked)))
		return // WriteTo, then Close
	case x.isHead() || !hasBody(r.status):
		resp.SkipBody = true
		if r.length != 0 || hasBody(r.status) {
			resp.Header.SetContentLength(int(max(r.length, chunked)))
		}
	default:
		resp.SetBody(r.body)
	}
	f.end(nil)
}

func (f *h1) writeHead(r *reply) {
	h := &f.ctx.Response.Header
	h.DisableNormalizing()
	f.ctx.Response.SetStatusCode(r.status)
	for i := range r.fields {
		h.AddBytesKV(r.fields[i].Name, r.fields[i].Value)
	}
	if r.close {
		f.conn.unread = f.conn.unread || f.x.Length != 0
		h.SetConnectionClose()
	}
}

// hijack writes the head itself and gives the connection to then.
func (f *h1) hijack(r *reply, then func(net.Conn) error) {
	head := appendHead(nil, r.status, http.StatusText(r.status), r.fields)
	f.conn.hijacked = make(chan struct{})
	f.ctx.HijackSetNoResponse(true)
	f.ctx.Hijack(func(c net.Conn) {
		defer close(f.conn.hijacked)
		_, err := f.conn.Write(head)
		if err == nil {
			err = then(c)
		}
		f.end(err)
	})
}

// hijacked is a client's connection together with what was read of it already.
type hijacked struct {
	net.Conn
	below *clientConn
}

// CloseWrite ends the writing side.
func (h hijacked) CloseWrite() error { return h.below.CloseWrite() }

// copyDirect writes the body as it comes, unframed.
func (f *h1) copyDirect() error {
	_, err := f.copyStream(f.conn)
	return err
}

// Close ends the exchange after its stream: fasthttp calls it when the last byte
// is written, or will never be.
func (b *answerBody) Close() error {
	f := b.h1
	err := f.cut
	if err == nil && !f.stream.done && !f.x.isHead() {
		err = errClientGone
	}
	f.end(err)
	return nil
}

var errClientGone = errors.New("the client is gone")

// Read is not used: fasthttp takes WriteTo.
func (b *answerBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// SupportsBodyWriteTo makes fasthttp use WriteTo for chunks too.
func (b *answerBody) SupportsBodyWriteTo() bool { return true }

// WriteTo writes the answer's body as it comes. Its trailers become those of
// the answer to the client.
func (b *answerBody) WriteTo(w io.Writer) (int64, error) {
	f := b.h1
	if f.direct {
		w = f.conn
	}
	n, err := f.copyStream(w)
	if err != nil {
		return n, err
	}
	for i := range f.stream.trailers {
		if t := &f.stream.trailers[i]; t.mayTrail() && f.stream.length == chunked {
			h := &f.ctx.Response.Header
			if h.AddTrailerBytes(t.Name) == nil {
				h.AddBytesKV(t.Name, t.Value)
			}
		}
	}
	return n, nil
}

func (f *h1) copyStream(w io.Writer) (int64, error) {
	var total int64
	for {
		piece, err := f.stream.next()
		if errors.Is(err, io.EOF) && f.stream.done {
			return total, nil
		}
		if err != nil {
			f.cut = &cutError{kind: failover.Reset, err: err}
			return total, f.cut
		}
		n, err := w.Write(piece)
		total += int64(n)
		f.x.out = total
		if err != nil {
			f.cut = err
			return total, err
		}
	}
}

// end finishes the exchange and gives the front back.
func (f *h1) end(err error) {
	f.server.finish(&f.x, err)
	f.server.fronts.Put(f)
}
