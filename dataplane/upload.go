package dataplane

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
)

// upload sends a streamed request body to the endpoint, concurrently with its answer.
type upload struct {
	done    chan struct{} // closed when it has ended
	refused *refusal      // what was wrong with the body; valid when done
	whole   bool          // the body was sent to its end; valid when done
	read    atomic.Bool   // the body was read to its end; set before the end is sent, since the answer may follow at once

	mu       sync.Mutex // guards the rest
	answered bool       // the answer's head has arrived
}

var errBodyTooLarge = errors.New("body larger than the route allows")

// startUpload begins to send x.Body over x.conn, after which there can be no retry.
func (s *Server) startUpload(x *Exchange) {
	u, to := &upload{done: make(chan struct{})}, x.conn
	x.upload = u
	x.presence.afterUpload(u)
	s.spawn(func() {
		err := s.copyBody(x, to)
		u.whole = err == nil
		u.refused = bodyRefusal(err)
		if u.whole {
			s.sendCopy(x)
		}
		if u.refused == nil { // else no answer is waited for
			u.awaitAnswer(to, x.target.timeouts.Response)
		}
		close(u.done)
		if u.refused != nil {
			_ = to.Close() // the endpoint must not take what was sent for the whole request
		}
	})
}

// awaitAnswer bounds the wait for an answer that has not begun before the end of the
// upload.
func (u *upload) awaitAnswer(to *upstream.Conn, timeout time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.answered {
		_ = to.SetReadDeadline(within(time.Now(), timeout))
	}
}

// answerBegan is called when the answer's head has arrived.
func (u *upload) answerBegan() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answered = true
}

// bodyRefusal returns the refusal for a failed upload; nil if it was the endpoint
// that stopped reading, since it may have answered.
func bodyRefusal(err error) *refusal {
	switch {
	case errors.Is(err, errBodyTooLarge):
		return new(tooLarge())
	case errors.Is(err, errClientBody) && errors.Is(err, os.ErrDeadlineExceeded):
		return malformed(408, "The request's body did not come in time.")
	case errors.Is(err, errClientBody):
		return malformed(400, "The request's body is malformed or cut short.")
	}
	return nil
}

var errClientBody = errors.New("read body")

const (
	chunkHead = 8                  // bytes before a chunk, for its size and CRLF
	copySize  = readBuffer - 2 - 8 // leaves room for the CRLF behind it
)

// copyBody writes the body with the framing that it had. Each read becomes a chunk,
// so that no byte is held back.
func (s *Server) copyBody(x *Exchange, to *upstream.Conn) error {
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	b := *buf
	for {
		n, err := x.Body.Read(b[chunkHead : chunkHead+copySize])
		x.in += int64(n)
		if x.bodyTooLarge(b[chunkHead : chunkHead+n]) {
			return errBodyTooLarge
		}
		x.copy.add(b[chunkHead : chunkHead+n])
		if x.in == x.Length {
			x.upload.read.Store(true)
		}
		if n > 0 {
			if err := writePiece(to, b, n, x.Length == message.Chunked, x.target.timeouts.Idle); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return s.endBody(x, to)
		case err != nil:
			return errors.Join(errClientBody, err)
		}
	}
}

// writePiece writes the n bytes at b[chunkHead:] to an endpoint, as a chunk if chunk
// is set.
func writePiece(to *upstream.Conn, b []byte, n int, chunk bool, idle time.Duration) error {
	piece := b[chunkHead : chunkHead+n]
	if chunk {
		var size [chunkHead]byte
		head := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
		start := chunkHead - len(head)
		copy(b[start:], head)
		piece = append(b[start:chunkHead+n], "\r\n"...)
	}
	if err := to.SetWriteDeadline(within(time.Now(), idle)); err != nil {
		return err
	}
	_, err := to.Write(piece)
	return err
}

// endBody writes the end of the body.
func (s *Server) endBody(x *Exchange, to *upstream.Conn) error {
	if x.Length != message.Chunked {
		if x.in != x.Length {
			return errors.Join(errClientBody, io.ErrUnexpectedEOF)
		}
		return nil
	}
	trailers, err := x.Front.Trailers(nil)
	if err != nil {
		return errors.Join(errClientBody, err)
	}
	x.upload.read.Store(true)
	if err := to.SetWriteDeadline(within(time.Now(), x.target.timeouts.Idle)); err != nil {
		return err
	}
	end := message.AppendTrailers([]byte("0\r\n"), trailers)
	_, err = to.Write(append(end, "\r\n"...))
	return err
}

// stopUpload ends an upload and waits for it. If the body was not read to its end, the
// client's connection cannot be reused.
func (x *Exchange) stopUpload() {
	if x.upload == nil {
		return
	}
	select {
	case <-x.upload.done:
	default:
		if !x.upload.read.Load() {
			x.Front.StopBody()
		}
		<-x.upload.done
	}
}

// hasUnreadBody reports whether the client may still be sending something that will
// not be read: the rest of a body, or what follows a malformed request.
func (x *Exchange) hasUnreadBody(last bool) bool {
	return x.Body != nil && (x.upload == nil || x.uploading()) || x.refused != nil && last
}

// uploadRefusal returns the refusal for the body, if the upload has ended with one.
func (x *Exchange) uploadRefusal() *refusal {
	if x.upload == nil {
		return nil
	}
	select {
	case <-x.upload.done:
		return x.upload.refused
	default:
		return nil
	}
}

// uploading reports whether the client is still sending the body.
func (x *Exchange) uploading() bool { return x.upload != nil && !x.upload.read.Load() }

// lastPiece is how long an endpoint that has answered may take to read the end
// of the request.
const lastPiece = 10 * time.Millisecond

// uploaded reports whether the endpoint got the whole request.
func (x *Exchange) uploaded() bool {
	if x.upload == nil {
		return true
	}
	if x.uploading() || x.conn.SetWriteDeadline(time.Now().Add(lastPiece)) != nil {
		return false
	}
	<-x.upload.done
	return x.upload.whole
}
