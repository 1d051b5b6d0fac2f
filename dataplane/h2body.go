package dataplane

import (
	"os"
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
		return x.takeSmall(&f.body)
	}
	x.Body = &f.body
	return nil
}

// Read reads from the streamed body of the request, not too slowly.
func (b *h2Body) Read(p []byte) (int, error) {
	f := b.h2
	if f.x.grpc { // it may be a stream that is silent for long; PING finds out who is gone
		return f.r.Body.Read(p)
	}
	now := time.Now()
	if f.server.tooSlow(now, f.began, f.read) {
		return 0, os.ErrDeadlineExceeded
	}
	f.reading.watch(now.Add(bodyIdle))
	n, err := f.r.Body.Read(p)
	f.reading.rest()
	f.read += int64(n)
	return n, err
}
