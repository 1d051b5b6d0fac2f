package dataplane

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
)

var errHeadTooLarge = errors.New("answer head too large")

// answer reads one HTTP/1.1 response from an upstream connection: its head,
// then its body piece by piece, as slices of the connection's buffer.
type answer struct {
	conn     *upstreamConn
	status   int
	http10   bool
	fields   []message.Field // valid until the body is read
	length   int64           // of the body, as framed
	left     int64           // bytes of the body, or of the current chunk, to come
	idle     time.Duration   // between bytes of the body; 0 = no bound
	started  bool            // a chunk came before
	keep     bool            // the connection stays open
	done     bool            // the body has ended as its framing says
	trailers []message.Field
	text     []byte // holds the trailers
}

// readHead reads the head of an answer, interim ones included.
func (a *answer) readHead(head bool) error {
	block, err := a.conn.readHead()
	if err != nil {
		return err
	}
	var rest []byte
	if a.status, a.http10, rest, err = message.ParseStatusLine(block); err != nil {
		return err
	}
	if a.fields, err = message.ParseFields(a.fields[:0], rest); err != nil {
		return err
	}
	if a.length, err = message.AnswerLength(a.fields, a.status, head, a.http10); err != nil {
		return err
	}
	a.left, a.started, a.done = max(a.length, 0), false, a.length == 0
	a.keep = a.keepsAlive()
	return nil
}

// whole returns the body if all of it arrived with the head.
func (a *answer) whole() ([]byte, bool) {
	if a.length >= 0 && int64(a.conn.buffered()) >= a.left {
		body := a.conn.take(int(a.left))
		a.left, a.done = 0, true
		return body, true
	}
	return nil, false
}

// Next implements message.Stream.
func (a *answer) Next() ([]byte, error) {
	if a.done {
		return nil, io.EOF
	}
	if a.length == message.Chunked && a.left == 0 {
		if err := a.nextChunk(); err != nil {
			return nil, err
		}
		if a.done {
			return nil, io.EOF
		}
	}
	if a.conn.buffered() == 0 {
		if err := a.fill(); err != nil {
			if a.length == message.UntilClose && errors.Is(err, io.EOF) {
				a.done = true
				return nil, io.EOF
			}
			return nil, noEOF(err)
		}
	}
	if a.length == message.UntilClose {
		return a.conn.take(a.conn.buffered()), nil
	}
	piece := a.conn.take(int(min(a.left, int64(a.conn.buffered()))))
	a.left -= int64(len(piece))
	a.done = a.length >= 0 && a.left == 0
	return piece, nil
}

// Ready implements message.Stream.
func (a *answer) Ready() bool {
	switch {
	case a.done:
		return true
	case a.length != message.Chunked || a.left > 0:
		return a.conn.buffered() > 0
	}
	_, next := message.CutByte(a.conn.view(), '\n')
	if a.started { // that was the end of the previous chunk
		_, next = message.CutByte(next, '\n')
	}
	return len(next) > 0
}

// Trailers implements message.Stream.
func (a *answer) Trailers() []message.Field { return a.trailers }

// fill waits for more bytes, at most a.idle.
func (a *answer) fill() error {
	var until time.Time
	if a.idle > 0 {
		until = time.Now().Add(a.idle)
	}
	if err := a.conn.SetReadDeadline(until); err != nil {
		return err
	}
	return a.conn.fill()
}

// noEOF turns an EOF in the middle of a message into an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// nextChunk reads the end of the last chunk and the size of the next, and after
// the last chunk the trailers.
func (a *answer) nextChunk() error {
	if a.started {
		line, err := a.line()
		if err != nil || len(line) != 0 {
			return errors.Join(message.ErrChunk, err)
		}
	}
	a.started = true
	line, err := a.line()
	if err != nil {
		return err
	}
	if a.left, err = message.ParseChunkSize(line); err != nil || a.left > 0 {
		return err
	}
	return a.readTrailers()
}

// maxTrailers bounds the trailer section, in bytes.
const maxTrailers = 8 << 10

func (a *answer) readTrailers() error {
	a.text = a.text[:0]
	for {
		line, err := a.line()
		if err != nil {
			return err
		}
		a.text = append(append(a.text, line...), "\r\n"...)
		if len(a.text) > maxTrailers {
			return errHeadTooLarge
		}
		if len(line) == 0 {
			break
		}
	}
	var err error
	if a.trailers, err = message.ParseFields(a.trailers[:0], a.text); err != nil {
		return err
	}
	a.done = true
	return nil
}

// line returns the next line without its CRLF, valid until the next read.
func (a *answer) line() ([]byte, error) {
	for seen := 0; ; {
		view := a.conn.view()
		if i := bytes.IndexByte(view[seen:], '\n'); i >= 0 {
			end := seen + i
			if end < 1 || view[end-1] != '\r' {
				return nil, message.ErrChunk
			}
			return a.conn.take(end + 1)[:end-1], nil
		}
		if seen = len(view); seen > maxTrailers {
			return nil, message.ErrChunk
		}
		if err := a.fill(); err != nil {
			return nil, noEOF(err)
		}
	}
}

// reusable reports whether the connection is clean for another exchange: the
// body was read to its end, nothing came behind it, and both sides keep it.
func (a *answer) reusable() bool {
	return a.done && a.keep && a.length != message.UntilClose && a.conn.buffered() == 0
}

// keepsAlive reports whether the answer leaves its connection open.
func (a *answer) keepsAlive() bool {
	if a.http10 || a.status < 200 {
		return false
	}
	for i := range a.fields {
		if a.fields[i].ID != message.Connection {
			continue
		}
		for option := range message.Listed(a.fields[i].Value) {
			if message.EqualFold(option, "close") {
				return false
			}
		}
	}
	return true
}
