package dataplane

import (
	"io"
	"os"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
)

// requestBody is the streamed body of a request.
type requestBody struct{ h1 *h1 }

// takeBody reads a small body, and prepares the streaming of others.
func (f *h1) takeBody() *refusal {
	x := &f.x
	switch {
	case x.Length == 0:
		return nil
	case x.Length > 0 && x.Length <= smallBody:
		return f.takeSmall()
	case x.Length == message.Chunked:
		f.chunks.reset(f.in)
	}
	f.conn.inBody.Store(true)
	f.began = x.Start
	x.Body = &f.body
	return nil
}

func (f *h1) takeSmall() *refusal {
	x := &f.x
	if int64(f.in.Buffered()) < x.Length && !f.conn.extendRead(x.Start.Add(bodyIdle)) {
		return cutShort()
	}
	defer f.conn.endWait()
	return x.takeSmall(f.in)
}

// Read reads from the streamed body, and fails if it arrives too slowly.
func (b *requestBody) Read(p []byte) (int, error) {
	f := b.h1
	now := time.Now()
	if f.server.tooSlow(now, f.began, f.read) || !f.conn.extendRead(now.Add(bodyIdle)) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := f.readBody(p)
	f.conn.endWait()
	f.read += int64(n)
	return n, err
}

func (f *h1) readBody(p []byte) (int, error) {
	if f.x.Length == message.Chunked {
		return f.chunks.Read(p)
	}
	left := f.x.Length - f.read
	if left == 0 {
		return 0, io.EOF
	}
	return f.in.Read(p[:min(int64(len(p)), left)])
}

// StopBody implements Front.
func (f *h1) StopBody() {
	f.conn.unread = true
	f.conn.stopReading()
}

// Trailers implements Front.
func (f *h1) Trailers(dst []message.Field) ([]message.Field, error) {
	return append(dst, f.chunks.trailers...), nil
}
