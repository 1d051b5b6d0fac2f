package dataplane

import (
	"bytes"
	"errors"
	"io"
	"time"
)

var (
	errAnswerSyntax = errors.New("malformed answer")
	errChunkSyntax  = errors.New("malformed chunk")
	errHeadTooLarge = errors.New("answer head too large")
)

// answer reads one HTTP/1.1 response from an upstream connection: its head,
// then its body piece by piece, as slices of the connection's buffer.
type answer struct {
	conn     *upstreamConn
	status   int
	http10   bool
	fields   []Field       // valid until the body is read
	length   int64         // of the body, as framed
	left     int64         // bytes of the body, or of the current chunk, to come
	idle     time.Duration // between bytes of the body; 0 = no bound
	started  bool          // a chunk came before
	keep     bool          // the connection stays open
	done     bool          // the body has ended as its framing says
	trailers []Field
	text     []byte // holds the trailers
}

// readHead reads the head of an answer, interim ones included.
func (a *answer) readHead(head bool) error {
	block, err := a.conn.readHead()
	if err != nil {
		return err
	}
	rest, err := a.parseStatusLine(block)
	if err != nil {
		return err
	}
	if a.fields, err = parseFields(a.fields[:0], rest); err != nil {
		return err
	}
	if a.length, err = answerLength(a.fields, a.status, head, a.http10); err != nil {
		return err
	}
	a.left, a.started, a.done = max(a.length, 0), false, a.length == 0
	a.keep = a.keepsAlive()
	return nil
}

// parseStatusLine reads "HTTP/1.1 200 reason" and returns what follows it.
func (a *answer) parseStatusLine(block []byte) ([]byte, error) {
	end := bytes.IndexByte(block, '\n')
	if end < 1 || block[end-1] != '\r' {
		return nil, errAnswerSyntax
	}
	line := block[:end-1]
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[7] != '0' && line[7] != '1' ||
		line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return nil, errAnswerSyntax
	}
	status := 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return nil, errAnswerSyntax
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 || status > 599 || bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, errAnswerSyntax
	}
	a.status, a.http10 = status, line[7] == '0'
	return block[end+1:], nil
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

// next implements stream.
func (a *answer) next() ([]byte, error) {
	if a.done {
		return nil, io.EOF
	}
	if a.length == chunked && a.left == 0 {
		if err := a.nextChunk(); err != nil {
			return nil, err
		}
		if a.done {
			return nil, io.EOF
		}
	}
	if a.conn.buffered() == 0 {
		if err := a.fill(); err != nil {
			if a.length == untilClose && errors.Is(err, io.EOF) {
				a.done = true
				return nil, io.EOF
			}
			return nil, noEOF(err)
		}
	}
	if a.length == untilClose {
		return a.conn.take(a.conn.buffered()), nil
	}
	piece := a.conn.take(int(min(a.left, int64(a.conn.buffered()))))
	a.left -= int64(len(piece))
	a.done = a.length >= 0 && a.left == 0
	return piece, nil
}

// ready implements stream.
func (a *answer) ready() bool {
	switch {
	case a.done:
		return true
	case a.length != chunked || a.left > 0:
		return a.conn.buffered() > 0
	}
	_, next := cutByte(a.conn.view(), '\n')
	if a.started { // that was the end of the previous chunk
		_, next = cutByte(next, '\n')
	}
	return len(next) > 0
}

// trailing implements stream.
func (a *answer) trailing() []Field { return a.trailers }

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
			return errors.Join(errChunkSyntax, err)
		}
	}
	a.started = true
	line, err := a.line()
	if err != nil {
		return err
	}
	if a.left, err = parseChunkSize(line); err != nil || a.left > 0 {
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
	if a.trailers, err = parseFields(a.trailers[:0], a.text); err != nil {
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
				return nil, errChunkSyntax
			}
			return a.conn.take(end + 1)[:end-1], nil
		}
		if seen = len(view); seen > maxTrailers {
			return nil, errChunkSyntax
		}
		if err := a.fill(); err != nil {
			return nil, noEOF(err)
		}
	}
}

// parseChunkSize reads the size of a chunk, and passes over extensions.
func parseChunkSize(line []byte) (int64, error) {
	size, extension := cutByte(line, ';')
	size = bytes.TrimRight(size, " \t")
	for _, c := range extension {
		if c < ' ' && c != '\t' || c == 0x7f {
			return 0, errChunkSyntax
		}
	}
	if len(size) == 0 || len(size) > 15 {
		return 0, errChunkSyntax
	}
	var n int64
	for _, c := range size {
		digit := unhex(c)
		if digit < 0 {
			return 0, errChunkSyntax
		}
		n = n<<4 | int64(digit)
	}
	return n, nil
}

// reusable reports whether the connection is clean for another exchange: the
// body was read to its end, nothing came behind it, and both sides keep it.
func (a *answer) reusable() bool {
	return a.done && a.keep && a.length != untilClose && a.conn.buffered() == 0
}

// keepsAlive reports whether the answer leaves its connection open.
func (a *answer) keepsAlive() bool {
	if a.http10 || a.status < 200 {
		return false
	}
	for i := range a.fields {
		if a.fields[i].id != fieldConnection {
			continue
		}
		for option := range listed(a.fields[i].Value) {
			if equalFold(option, "close") {
				return false
			}
		}
	}
	return true
}
