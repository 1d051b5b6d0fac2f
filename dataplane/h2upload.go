package dataplane

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
)

var errBodyEnded = errors.New("the body was given up")

// callBody is a streamed request body that net/http reads, from goroutines of its
// own, and perhaps for longer than the exchange lasts.
type callBody struct {
	*upload
	server  *Server
	call    *call
	trailer http.Header // of the request; values are filled in at the end
	idle    time.Duration
	waits   time.Duration // for an answer, from the end of the body; 0 = no bound
	sending watchdog      // ends the call if the endpoint takes a piece too slowly

	closed atomic.Bool
	reads  sync.Mutex // guards the rest
	begun  bool       // a Read has been called
	x      *Exchange  // nil when the body has ended
}

func (s *Server) newCallBody(x *Exchange, c *call) *callBody {
	b := &callBody{
		upload: &upload{done: make(chan struct{})}, server: s, call: c, x: x,
		idle: x.target.timeouts.Idle,
	}
	if !x.grpc {
		b.waits = x.target.timeouts.Response
	}
	b.sending.expire = func(time.Time) (again time.Time) {
		c.cancel(os.ErrDeadlineExceeded)
		return again
	}
	return b
}

// announce declares the trailers of the request: net/http sends no others.
func (b *callBody) announce(req *http.Request) {
	for i := range b.x.Fields {
		if b.x.Fields[i].ID != message.Trailer {
			continue
		}
		for name := range message.Listed(b.x.Fields[i].Value) {
			if f := (message.Field{Name: name, ID: message.Identify(name)}); f.AllowedInTrailer() && message.IsToken(name) {
				if b.trailer == nil {
					b.trailer = http.Header{}
				}
				b.trailer[textproto.CanonicalMIMEHeaderKey(string(name))] = nil
			}
		}
	}
	req.Trailer = b.trailer
}

// start is called before the body is sent, after which there can be no retry.
func (b *callBody) start() {
	b.x.upload = b.upload
	b.x.presence.afterUpload(b.upload)
}

// Read implements io.Reader.
func (b *callBody) Read(p []byte) (int, error) {
	b.sending.stop()
	b.reads.Lock()
	n, err := b.read(p)
	b.reads.Unlock()
	if b.closed.Load() { // Close found this in progress
		_ = b.Close()
	}
	return n, err
}

func (b *callBody) read(p []byte) (int, error) {
	if b.x == nil {
		return 0, errBodyEnded
	}
	if !b.begun {
		b.begun = true
		b.headWent()
	}
	n, err := b.x.Body.Read(p)
	if err = b.take(p[:n], err); err != nil {
		b.finish(err)
		return n, err
	}
	b.sending.start(within(time.Now(), b.idle))
	return n, nil
}

// take counts a piece of the body, and handles its end.
func (b *callBody) take(piece []byte, err error) error {
	x := b.x
	x.in += int64(len(piece))
	x.copy.add(piece)
	switch {
	case x.bodyTooLarge(piece):
		return errBodyTooLarge
	case err == nil:
		return nil
	case !errors.Is(err, io.EOF):
		return errors.Join(errClientBody, err)
	case x.Length >= 0 && x.in != x.Length:
		return errors.Join(errClientBody, io.ErrUnexpectedEOF)
	}
	trailers, err := x.Front.Trailers(nil)
	if err != nil {
		return errors.Join(errClientBody, err)
	}
	for i := range trailers {
		name := textproto.CanonicalMIMEHeaderKey(string(trailers[i].Name))
		if _, announced := b.trailer[name]; announced {
			b.trailer[name] = append(b.trailer[name], string(trailers[i].Value))
		}
	}
	return io.EOF
}

// finish ends the body, b.reads held.
func (b *callBody) finish(err error) {
	if b.x == nil {
		return
	}
	if b.whole = errors.Is(err, io.EOF); b.whole {
		b.server.sendCopy(b.x)
		b.awaitHead()
	} else {
		b.refused = bodyRefusal(err)
	}
	b.x = nil
	close(b.done)
}

// headWent is called when the body is first asked for: from then on its own
// timeouts apply.
func (b *callBody) headWent() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.answered {
		b.call.guard.start(b.x.until)
	}
}

// awaitHead bounds the wait for an answer that has not begun before the end of the
// body.
func (b *callBody) awaitHead() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.answered && b.waits > 0 {
		b.call.guard.start(within(time.Now(), b.waits))
	}
}

// Close implements io.Closer: net/http wants no more.
func (b *callBody) Close() error {
	b.closed.Store(true)
	b.sending.stop()
	if b.reads.TryLock() {
		defer b.reads.Unlock()
		b.finish(errBodyEnded)
	}
	return nil
}
