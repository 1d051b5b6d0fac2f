package dataplane

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
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

// requestBody is the streamed body of a request.
type requestBody struct{ h1 *h1 }

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
	if s.identify(x) && s.match(x) && s.admit(x) {
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
		_ = f.conn.SetReadDeadline(now.Add(bodyIdle))
	}
	n, err := f.ctx.Request.BodyStream().Read(p)
	f.read += int64(n)
	return n, err
}

// StopBody implements Front.
func (f *h1) StopBody() {
	f.conn.stopped.Store(true)
	f.conn.unread = true
	_ = f.conn.SetReadDeadline(time.Unix(1, 0))
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
	head := appendStatusLine(nil, status)
	for _, field := range f.server.interim(fields) {
		head = appendField(head, field.Name, field.Value)
	}
	_, _ = f.conn.send(append(head, "\r\n"...)) // a client that is gone is found out with the answer
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

// Send implements Front. The answer is written here, past fasthttp: head and
// body in as few writes as can be, every piece of a stream as it comes.
func (f *h1) Send(x *Exchange, r *reply) {
	last := r.close || f.ctx.Request.Header.ConnectionClose()
	if r.tunnel {
		f.hijack(r)
		return
	}
	if r.stream != nil && r.length < 0 && x.Protocol == "HTTP/1.0" {
		last = true // no chunks for HTTP/1.0: the end of the connection ends the body
	}
	b := f.appendAnswer(x.scratch.out[:0], r, last)
	var err error
	switch {
	case r.stream != nil:
		b, err = f.stream(b, r)
	case !x.isHead() && hasBody(r.status):
		b = append(b, r.body...)
		fallthrough
	default:
		_, err = f.conn.send(b)
	}
	x.scratch.out = b
	f.conn.muted = true
	if last || err != nil {
		f.conn.unread = f.conn.unread || err == nil && x.leavesBody(r.close)
		f.ctx.SetConnectionClose()
	}
	f.end(err)
}

// appendAnswer appends the head with its framing.
func (f *h1) appendAnswer(b []byte, r *reply, last bool) []byte {
	b = appendStatusLine(b, r.status)
	for i := range r.fields {
		b = appendField(b, r.fields[i].Name, r.fields[i].Value)
	}
	http10 := f.x.Protocol == "HTTP/1.0"
	switch {
	case r.length >= 0 && (hasBody(r.status) || r.status == 304 && r.length > 0):
		b = append(b, "content-length: "...)
		b = append(strconv.AppendInt(b, r.length, 10), "\r\n"...)
	case r.stream != nil && !http10:
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	switch {
	case last:
		b = append(b, "connection: close\r\n"...)
	case http10:
		b = append(b, "connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

// stream writes head and then the body as it comes. It returns the memory of
// head for another use.
func (f *h1) stream(head []byte, r *reply) ([]byte, error) {
	chunks := r.length < 0 && f.x.Protocol == "HTTP/1.1"
	b := head
	if r.stream.conn.buffered() == 0 {
		if _, err := f.conn.send(b); err != nil {
			return b, err
		}
		b = b[:0]
	}
	for {
		piece, err := r.stream.next()
		if errors.Is(err, io.EOF) && r.stream.done {
			break
		}
		if err != nil {
			_, _ = f.conn.send(b) // what came before the cut
			return b, &cutError{kind: failover.Reset, err: err}
		}
		b = appendPiece(b, piece, chunks)
		f.x.out += int64(len(piece))
		if _, err = f.conn.send(b); err != nil {
			return b, err
		}
		b = b[:0]
	}
	if chunks {
		b = append(b, "0\r\n"...)
		b = appendTrailers(b, r.stream.trailers)
		b = append(b, "\r\n"...)
	}
	if len(b) == 0 {
		return b, nil
	}
	_, err := f.conn.send(b)
	return b, err
}

// appendPiece appends a piece of a body, as a chunk if asked to.
func appendPiece(b, piece []byte, chunk bool) []byte {
	if !chunk {
		return append(b, piece...)
	}
	b = append(strconv.AppendInt(b, int64(len(piece)), 16), "\r\n"...)
	return append(append(b, piece...), "\r\n"...)
}

func appendStatusLine(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(status), 10), ' ')
	return append(append(b, http.StatusText(status)...), "\r\n"...)
}

// hijack answers 101 and makes the connection a tunnel.
func (f *h1) hijack(r *reply) {
	head := appendStatusLine(nil, r.status)
	for i := range r.fields {
		head = appendField(head, r.fields[i].Name, r.fields[i].Value)
	}
	head = append(head, "\r\n"...)
	conn, done := f.conn, make(chan struct{})
	conn.hijacked = done
	f.ctx.HijackSetNoResponse(true)
	f.ctx.Hijack(func(c net.Conn) {
		defer close(done)
		_, err := conn.send(head)
		if err == nil {
			err = f.server.tunnel(&f.x, hijacked{c, conn})
		}
		f.end(err)
	})
}

// hijacked is a client's connection together with what was read of it already.
type hijacked struct {
	net.Conn
	below *clientConn
}

// Write writes past fasthttp.
func (h hijacked) Write(p []byte) (int, error) { return h.below.send(p) }

// CloseWrite ends the writing side.
func (h hijacked) CloseWrite() error { return h.below.CloseWrite() }

// end finishes the exchange and gives the front back.
func (f *h1) end(err error) {
	f.server.finish(&f.x, err)
	f.server.fronts.Put(f)
}
