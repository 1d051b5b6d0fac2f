package dataplane

import (
	"errors"
	"io"
	"os"
	"slices"
	"time"
)

// h2Body is the streamed body of a request.
type h2Body struct{ h2 *h2 }

// takeBody readies the body: small ones whole, others to be streamed.
func (f *h2) takeBody() *refusal {
	x := &f.x
	f.began = x.Start
	switch {
	case x.Length == 0:
		return nil
	case x.Length > 0 && x.Length <= smallBody:
		return f.takeSmall()
	}
	x.Body = &f.body
	return nil
}

func (f *h2) takeSmall() *refusal {
	x := &f.x
	x.scratch.body = slices.Grow(x.scratch.body[:0], int(x.Length))[:x.Length]
	_, err := io.ReadFull(&f.body, x.scratch.body)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return malformed(408, "The request's body did not come in time.")
	case err != nil:
		return malformed(400, "The request's body is cut short.")
	}
	x.Buffered, x.in = x.scratch.body, x.Length
	return nil
}

// Read reads from the streamed body of the request, not too slowly.
func (b *h2Body) Read(p []byte) (int, error) {
	f := b.h2
	if f.x.grpc { // it may be a stream that is silent for long; PING finds out who is gone
		return f.r.Body.Read(p)
	}
	now := time.Now()
	if took := now.Sub(f.began); took > bodyIdle && float64(f.read) < bodyRate*took.Seconds() {
		return 0, os.ErrDeadlineExceeded
	}
	f.reading.watch(now.Add(bodyIdle))
	n, err := f.r.Body.Read(p)
	f.reading.rest()
	f.read += int64(n)
	return n, err
}
