package dataplane

import (
	"os"
	"time"
)

// h2Body is the streamed body of a request.
type h2Body struct{ h2 *h2 }

// takeBody reads a small body, and prepares the streaming of others.
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

// Read reads from the streamed body, and fails if it arrives too slowly.
func (b *h2Body) Read(p []byte) (int, error) {
	f := b.h2
	if f.x.grpc { // it may be silent for long; PING detects dead clients
		return f.r.Body.Read(p)
	}
	now := time.Now()
	if f.server.tooSlow(now, f.began, f.read) {
		return 0, os.ErrDeadlineExceeded
	}
	f.reading.start(now.Add(bodyIdle))
	n, err := f.r.Body.Read(p)
	f.reading.stop()
	f.read += int64(n)
	return n, err
}
