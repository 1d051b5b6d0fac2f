package dataplane

import (
	"context"
	"io"
	"log"
	"net/http"
	"strings"
	"time"
	"unsafe"

	"github.com/meshgw/meshgw/failover"
)

const (
	h2Streams        = 128              // concurrent requests of one connection
	h2Frame          = 16 << 10         // the smallest that HTTP/2 allows: a large frame delays the others
	h2StreamWindow   = 256 << 10        // bytes of a request's body in transit or unread
	h2ConnWindow     = 1 << 20          // the same of all bodies from a client together
	h2UpstreamWindow = 4 << 20          // and of all answers from an endpoint
	h2PingAfter      = 30 * time.Second // of silence
	h2PingTimeout    = 10 * time.Second
	h2WriteProgress  = 10 * time.Second // for a connection to make any progress in writing
)

// h2 is the front of one HTTP/2 exchange. net/http frames, and has the request
// as strings; the Exchange gets views of them that are never written to.
type h2 struct {
	server   *Server
	conn     *h2Conn
	w        http.ResponseWriter
	r        *http.Request
	control  *http.ResponseController
	presence presence
	unwatch  func() bool // stops watching the client; false if it has left
	reading  watchdog
	writing  watchdog
	began    time.Time // of the body
	read     int64     // of the body
	reset    bool      // the stream is to be reset
	cut      bool      // the stream was reset while an interim answer was written
	body     h2Body
	x        Exchange
}

func newH2(s *Server) *h2 {
	f := &h2{server: s}
	f.body.h2 = f
	f.reading.expire = func(time.Time) (again time.Time) {
		_ = f.control.SetReadDeadline(longAgo())
		return again
	}
	f.writing.expire = func(time.Time) (again time.Time) {
		_ = f.control.SetWriteDeadline(longAgo())
		return again
	}
	return f
}

// longAgo returns a deadline that has passed.
func longAgo() time.Time { return time.Unix(1, 0) }

// newH2Server returns the server of HTTP/2 connections. Timeouts are up to the
// fronts: those of net/http are totals, which would end long streams.
func (s *Server) newH2Server() *http.Server {
	cfg := h2Config(h2ConnWindow)
	cfg.MaxConcurrentStreams, cfg.CountError = h2Streams, s.metrics.h2Error
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           http.HandlerFunc(s.serveStream),
		Protocols:         &protocols,
		MaxHeaderBytes:    headLimit,
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       keepAlive,
		ConnContext:       s.feed.context,
		ConnState:         s.feed.changed,
		ErrorLog:          log.New(io.Discard, "", 0), // about peers that violate the protocol, which CountError counts
		HTTP2:             cfg,
	}
}

// h2Config configures a connection in either direction; window is in bytes.
func h2Config(window int) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxReadFrameSize:              h2Frame,
		MaxReceiveBufferPerStream:     h2StreamWindow,
		MaxReceiveBufferPerConnection: window,
		SendPingTimeout:               h2PingAfter,
		PingTimeout:                   h2PingTimeout,
		WriteByteTimeout:              h2WriteProgress,
	}
}

// serveStream serves one request.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	conn := connOf(r.Context())
	if !conn.enter() {
		return // the connection has ended
	}
	defer conn.leave()
	conn.delayAbuser(r.Context())
	if r.Context().Err() != nil { // it was reset before it was served
		conn.count(true)
		return
	}
	f := s.h2fronts.Get().(*h2) // the pool holds nothing else
	f.begin(conn, w, r)
	f.exchange()
	conn.count(f.presence.hasLeft() && time.Since(f.x.Start) < earlyReset)
	reset := f.reset
	f.clear()
	s.h2fronts.Put(f)
	if reset {
		panic(http.ErrAbortHandler) // makes net/http send RST_STREAM
	}
}

// begin prepares the front for a request.
func (f *h2) begin(conn *h2Conn, w http.ResponseWriter, r *http.Request) {
	f.conn, f.w, f.r, f.control = conn, w, r, http.NewResponseController(w)
	f.read, f.reset, f.cut = 0, false, false
	f.presence = presence{left: make(chan struct{})}
	f.unwatch = context.AfterFunc(r.Context(), f.presence.leave)
	f.x.reset()
}

// clear drops what belongs to the request.
func (f *h2) clear() {
	f.conn, f.w, f.r, f.control, f.unwatch = nil, nil, nil, nil, nil
	f.presence = presence{}
	f.x.reset()
}

// exchange serves the request.
func (f *h2) exchange() {
	s, x := f.server, &f.x
	r := f.open()
	if r == nil && f.r.Header["Expect"] == nil {
		r = f.takeBody()
	} else if r == nil {
		x.Body = &f.body // 100 Continue is sent with the first read, if the request is admitted
	}
	if r != nil {
		x.refused = r
		s.reject(x)
		return
	}
	s.handle(x)
}

func (f *h2) common() {
	x, client := &f.x, f.conn.client
	x.Front, x.Start, x.presence = f, time.Now(), &f.presence
	x.Listener, x.Peer, x.Secure = client.listener, client.peer, client.secure
	x.Link, x.Certificate, x.ClientCert = client.link, client.linkCert, client.clientCert
	x.Protocol, x.priority, x.sni = "HTTP/2", failover.Normal, client.name
}

// end ends the exchange. If the client has left, it first waits until what the
// client left behind has been closed.
func (f *h2) end(err error) {
	if !f.unwatch() {
		<-f.presence.left
		if err == nil {
			err = errClientLeft
		}
	}
	f.server.finish(&f.x, err)
}

// Gone implements Front.
func (f *h2) Gone() bool { return f.presence.hasLeft() }

// StopBody implements Front.
func (f *h2) StopBody() { _ = f.control.SetReadDeadline(longAgo()) }

// view returns the bytes of s, which must not be written to.
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// h2Error counts a client's violation of the protocol, by one of the few kinds that
// net/http knows.
func (m *metrics) h2Error(kind string) {
	m.h2Errors.WithLabelValues(strings.ToLower(kind)).Inc()
}
