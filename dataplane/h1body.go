package dataplane

import (
	"io"
	"os"
	"slices"
	"time"
)

// requestBody is the streamed body of a request.
type requestBody struct{ h1 *h1 }

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
	if !f.conn.extendRead(now.Add(bodyIdle)) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := f.ctx.Request.BodyStream().Read(p)
	f.read += int64(n)
	return n, err
}

// StopBody implements Front.
func (f *h1) StopBody() {
	f.conn.unread = true
	f.conn.stopReading()
}

// Trailers implements Front.
func (f *h1) Trailers(dst []Field) ([]Field, error) {
	text := f.ctx.Request.Header.TrailerHeader()
	return parseFields(dst, text)
}
