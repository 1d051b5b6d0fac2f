package upstream

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
)

var (
	errHeadTooLarge   = errors.New("answer head too large")
	errAnswerTooLarge = errors.New("answer too large")
)

// Answer reads one HTTP/1.1 response from an upstream connection: its head,
// then its body piece by piece, as slices of the connection's buffer.
type Answer struct {
	Status int
	Fields []message.Field // valid until the body is read
	Length int64           // of the body, as message.AnswerLength returns it

	conn    *Conn
	memory  *AnswerMemory
	http10  bool
	left    int64         // bytes of the body, or of the current chunk, to come
	idle    time.Duration // between bytes of the body; 0 = no bound
	started bool          // a chunk came before
	keep    bool          // the connection stays open
	done    bool          // the body has ended as its framing says
}

// AnswerMemory is memory that is reused from one answer to the next.
type AnswerMemory struct {
	fields   []message.Field
	trailers []message.Field
	text     []byte // of the trailers
}

// NewAnswer returns the answer to come over conn. idle bounds the time between bytes
// of the body, 0 does not.
func NewAnswer(conn *Conn, idle time.Duration, memory *AnswerMemory) Answer {
	memory.trailers = memory.trailers[:0]
	return Answer{conn: conn, idle: idle, memory: memory}
}

// ReadHead reads the head of an answer, interim ones included.
func (a *Answer) ReadHead(head bool) error {
	block, err := a.conn.readHead()
	if err != nil {
		return err
	}
	var rest []byte
	if a.Status, a.http10, rest, err = message.ParseStatusLine(block); err != nil {
		return err
	}
	a.memory.fields, err = message.ParseFields(a.memory.fields[:0], rest)
	if a.Fields = a.memory.fields; err != nil {
		return err
	}
	if a.Length, err = message.AnswerLength(a.Fields, a.Status, head, a.http10); err != nil {
		return err
	}
	a.left, a.started, a.done = max(a.Length, 0), false, a.Length == 0
	if a.done {
		a.conn.Doubt()
	}
	a.keep = a.keepsAlive()
	return nil
}

// Whole returns the body if all of it arrived with the head.
func (a *Answer) Whole() ([]byte, bool) {
	if a.Length >= 0 && int64(a.conn.buffered()) >= a.left {
		body := a.conn.take(int(a.left))
		a.left, a.done = 0, true
		return body, true
	}
	return nil, false
}

// Next implements message.Stream.
func (a *Answer) Next() ([]byte, error) {
	if a.done {
		return nil, io.EOF
	}
	if a.Length == message.Chunked && a.left == 0 {
		if err := a.nextChunk(); err != nil {
			return nil, err
		}
		if a.done {
			return nil, io.EOF
		}
	}
	if a.conn.buffered() == 0 {
		if err := a.fill(); err != nil {
			if a.Length == message.UntilClose && errors.Is(err, io.EOF) {
				a.done = true
				return nil, io.EOF
			}
			return nil, noEOF(err)
		}
	}
	if a.Length == message.UntilClose {
		return a.conn.take(a.conn.buffered()), nil
	}
	piece := a.conn.take(int(min(a.left, int64(a.conn.buffered()))))
	a.left -= int64(len(piece))
	a.done = a.Length >= 0 && a.left == 0
	return piece, nil
}

// Ready implements message.Stream.
func (a *Answer) Ready() bool {
	switch {
	case a.done:
		return true
	case a.Length != message.Chunked || a.left > 0:
		return a.conn.buffered() > 0
	}
	_, next := message.CutByte(a.conn.Buffered(), '\n')
	if a.started { // that was the end of the previous chunk
		_, next = message.CutByte(next, '\n')
	}
	return len(next) > 0
}

// Trailers implements message.Stream.
func (a *Answer) Trailers() []message.Field { return a.memory.trailers }

// fill waits for more bytes, at most a.idle.
func (a *Answer) fill() error {
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
func (a *Answer) nextChunk() error {
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

func (a *Answer) readTrailers() error {
	a.memory.text = a.memory.text[:0]
	for {
		line, err := a.line()
		if err != nil {
			return err
		}
		a.memory.text = append(append(a.memory.text, line...), "\r\n"...)
		if len(a.memory.text) > maxTrailers {
			return errHeadTooLarge
		}
		if len(line) == 0 {
			break
		}
	}
	var err error
	if a.memory.trailers, err = message.ParseFields(a.memory.trailers[:0], a.memory.text); err != nil {
		return err
	}
	a.done = true
	return nil
}

// line returns the next line without its CRLF, valid until the next read.
func (a *Answer) line() ([]byte, error) {
	for seen := 0; ; {
		view := a.conn.Buffered()
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

// Reusable reports whether the connection is clean for another exchange: the
// body was read to its end, nothing came behind it, and both sides keep it.
func (a *Answer) Reusable() bool {
	return a.done && a.keep && a.Length != message.UntilClose && a.conn.buffered() == 0
}

// keepsAlive reports whether the answer leaves its connection open.
func (a *Answer) keepsAlive() bool {
	if a.http10 || a.Status < 200 {
		return false
	}
	for i := range a.Fields {
		if a.Fields[i].ID != message.Connection {
			continue
		}
		for option := range message.Listed(a.Fields[i].Value) {
			if message.EqualFold(option, "close") {
				return false
			}
		}
	}
	return true
}

// MaxInterim is how many interim answers there may be before the final one.
const MaxInterim = 16

// RoundTrip writes a request and reads the head of its final answer, until deadline.
func (a *Answer) RoundTrip(request []byte, head bool, deadline time.Time) error {
	if err := a.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := a.conn.Write(request); err != nil {
		return err
	}
	for range MaxInterim {
		if err := a.ReadHead(head); err != nil || a.Status >= 200 {
			return err
		}
		if a.Status == 101 {
			break // nobody asked for it
		}
	}
	return message.ErrAnswer
}

// Discard reads to the end of a body of at most limit bytes, with nothing
// behind, until deadline.
func (a *Answer) Discard(limit int, deadline time.Time) error {
	for {
		piece, err := a.Next()
		switch {
		case errors.Is(err, io.EOF) && a.conn.buffered() == 0:
			return nil
		case err != nil:
			return err
		case len(piece) > limit:
			return errAnswerTooLarge
		case time.Now().After(deadline):
			return os.ErrDeadlineExceeded
		}
		limit -= len(piece)
	}
}
