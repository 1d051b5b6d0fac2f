package dataplane

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/meshgw/meshgw/dataplane/ids"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/failover"
)

const (
	headLimit   = 32 << 10 // of a request
	targetLimit = 8 << 10
	smallBody   = 8 << 10 // bodies up to this size are read before the request is sent, so that it can be retried
)

// h1 is the front of HTTP/1.1 exchanges: the loop over requests is ours,
// fasthttp parses heads. A connection holds one only while there is something
// to read; in between it is in a pool.
type h1 struct {
	server   *Server
	conn     *clientConn
	in       *bufio.Reader // reads from conn
	header   fasthttp.RequestHeader
	chunks   chunkReader // decodes a chunked body
	read     int64       // bytes of the request's body
	began    time.Time
	last     bool // close the connection after this exchange
	headRead bool // respond has to be called
	body     requestBody
	x        Exchange
}

func newH1(s *Server) *h1 {
	f := &h1{server: s, in: bufio.NewReaderSize(nil, headLimit)}
	f.header.DisableNormalizing()
	f.header.SetNoDefaultContentType(true)
	f.body.h1 = f
	return f
}

// serve serves the request that has begun to arrive and those pipelined behind it.
// It reports whether the connection stays open.
func (f *h1) serve() bool {
	for !f.last {
		if f.headRead || f.readHead() {
			f.respond()
		}
		if f.in.Buffered() == 0 {
			break
		}
	}
	return !f.last
}

// serveBuffered serves the requests in the buffer as long as they are whole: it
// never reads from the connection. It reports whether it has served all.
func (f *h1) serveBuffered() bool {
	for f.hasWholeHead() && f.readHead() && f.hasNoBody() {
		if f.respond(); f.last {
			return false
		}
		if f.in.Buffered() == 0 {
			return true
		}
	}
	return false
}

// hasWholeHead reports whether a whole head is in the buffer.
func (f *h1) hasWholeHead() bool {
	b, _ := f.in.Peek(f.in.Buffered())
	return message.IsTokenByte(b[0]) && bytes.HasSuffix(b, []byte("\r\n\r\n"))
}

// hasNoBody reports whether the request is well-formed and consists of its head
// alone.
func (f *h1) hasNoBody() bool {
	x := &f.x
	return x.refused == nil && x.Length == 0 && x.Upgrade == nil && !f.expectsContinue()
}

// ReadHead reads the head of a request. It reports whether respond has to follow.
func (f *h1) readHead() bool {
	f.begin()
	f.conn.beginHead()
	err := f.checkLineEnds()
	if err == nil {
		err = f.header.Read(f.in)
	}
	if err == io.EOF || errors.Is(err, net.ErrClosed) { //nolint:errorlint // bare: in the middle of a head it is wrapped
		f.last = true
		return false
	}
	f.conn.endHead()
	if err != nil {
		f.refuse(err)
		return false
	}
	f.x.refused = f.open()
	f.headRead = true
	return true
}

var errBareLF = errors.New("the head's lines end in LF alone")

// checkLineEnds refuses a head that ends in two LF, for whose end fasthttp would
// wait.
func (f *h1) checkLineEnds() error {
	if b, _ := f.in.Peek(f.in.Buffered()); bytes.HasSuffix(b, []byte("\n\n")) && !bytes.Contains(b, []byte("\r\n\r\n")) {
		return errBareLF
	}
	return nil
}

// respond serves the request whose head has been read.
func (f *h1) respond() {
	s, x := f.server, &f.x
	f.headRead = false
	r := x.refused
	if r == nil && f.expectsContinue() {
		x.Body = &f.body // to come: unread if refused
		if !s.enter(x) {
			s.begin()
			s.refuse(x)
			return
		}
		if err := f.conn.send([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			f.last = true
			return
		}
		f.begin()
		r = f.open()
	}
	if r == nil && f.conn.leftInStandstill(x.Start) {
		r = new(clientLeft())
	}
	if r == nil {
		r = f.takeBody()
	}
	if r != nil {
		x.refused = r
		s.reject(x)
		return
	}
	s.handle(x)
}

// begin resets the front for another exchange.
func (f *h1) begin() {
	f.read, f.last = 0, false
	f.x.reset()
}

// refuse answers a request that fasthttp could not parse.
func (f *h1) refuse(err error) {
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
	f.server.reject(&f.x)
}

func isTooSmall(err error) bool {
	_, ok := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	return ok
}

// reject refuses a request that could not be parsed.
func (s *Server) reject(x *Exchange) {
	s.begin()
	x.Client = x.Peer
	x.RequestID = ids.AppendRequestID(x.scratch.id[:0], x.Start)
	x.trace = ids.ReadTrace(nil, s.sampledBelow)
	s.refuse(x)
}

func (f *h1) common() {
	x := &f.x
	x.Front, x.Start, x.presence = f, time.Now(), &f.conn.presence
	x.Listener, x.Peer, x.Secure = f.conn.listener, f.conn.peer, f.conn.secure
	x.Link, x.Certificate, x.ClientCert = f.conn.link, f.conn.linkCert, f.conn.clientCert
	x.Protocol, x.priority = "HTTP/1.1", failover.Normal
}

// end ends the exchange.
func (f *h1) end(err error) { f.server.finish(&f.x, err) }

// Gone implements Front. The end of the client's side alone may be a
// half-close.
func (f *h1) Gone() bool {
	_, broken := f.conn.peerState()
	return broken
}
