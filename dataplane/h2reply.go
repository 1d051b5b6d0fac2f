package dataplane

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"github.com/meshgw/meshgw/dataplane/grpc"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/failover"
)

// Inform implements Front. net/http may still read the header map after a stream
// has ended, so the map is not touched any more then.
func (f *h2) Inform(status int, fields []message.Field) {
	if f.cut {
		return
	}
	h := f.w.Header()
	for _, field := range f.server.interim(fields) {
		addField(h, "", &field)
	}
	f.writing.start(time.Now().Add(writeIdle))
	f.w.WriteHeader(status)
	f.writing.stop()
	if f.cut = f.r.Context().Err() != nil; !f.cut {
		clear(h)
	}
}

// Send implements Front.
func (f *h2) Send(x *Exchange, r *reply) {
	if f.cut || x.refused != nil && x.status == statusClientLeft {
		f.reset = true
		f.end(errClientLeft)
		return
	}
	f.writeHead(r)
	var err error
	switch {
	case r.stream != nil:
		err = f.stream(r)
	case !x.isHead() && message.HasBody(r.status) && len(r.body) > 0:
		err = f.write(r.body)
	}
	if x.out > 0 {
		// The last bytes are sent after this has returned: if the client never
		// takes them, net/http has to give up.
		_ = f.control.SetWriteDeadline(time.Now().Add(writeIdle))
	}
	f.reset = err != nil
	f.end(err)
}

// writeHead sets the head, which is sent with the first bytes of the body.
func (f *h2) writeHead(r *reply) {
	h := f.w.Header()
	h["Content-Type"] = nil // keep net/http from guessing one
	for i := range r.fields {
		addField(h, "", &r.fields[i])
	}
	if r.length >= 0 && (message.HasBody(r.status) || r.status == 304 && r.length > 0) {
		h["Content-Length"] = []string{strconv.FormatInt(r.length, 10)}
	}
	if f.server.draining.Load() {
		h["Connection"] = []string{"close"} // makes net/http send GOAWAY
	}
	f.w.WriteHeader(r.status)
}

// stream writes the body as it arrives, and the trailers.
func (f *h2) stream(r *reply) error {
	for {
		if !r.stream.Ready() {
			if err := f.flush(); err != nil {
				return err
			}
		}
		piece, err := r.stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			f.writeTrailers(r.stream.Trailers())
			return nil
		case err != nil && f.x.isCallDeadline(err):
			f.writeTrailers([]message.Field{{Name: []byte("grpc-status"), Value: []byte("4")}})
			return nil
		case err != nil && f.presence.hasLeft():
			return errClientLeft // the call was cancelled for that
		case err != nil:
			return &cutError{kind: failover.Reset, err: err}
		}
		f.x.out += int64(len(piece))
		if err := f.write(piece); err != nil {
			return err
		}
	}
}

// write and flush fail if the client takes nothing for writeIdle.
func (f *h2) write(p []byte) error {
	f.writing.start(time.Now().Add(writeIdle))
	defer f.writing.stop()
	_, err := f.w.Write(p)
	return err
}

func (f *h2) flush() error {
	f.writing.start(time.Now().Add(writeIdle))
	defer f.writing.stop()
	return f.control.Flush()
}

func (f *h2) writeTrailers(trailers []message.Field) {
	if status := statusOf(trailers); f.x.grpc && status != grpc.Unset {
		f.x.grpcStatus = status
	}
	h := f.w.Header()
	for i := range trailers {
		if trailers[i].AllowedInTrailer() {
			addField(h, http.TrailerPrefix, &trailers[i])
		}
	}
}

// addField adds a field to h under its canonical name.
func addField(h http.Header, prefix string, field *message.Field) {
	name := prefix + textproto.CanonicalMIMEHeaderKey(string(field.Name))
	h[name] = append(h[name], string(field.Value))
}
