package dataplane

import (
	"bufio"
	"errors"
	"io"

	"github.com/meshgw/meshgw/dataplane/message"
)

// chunkReader decodes a chunked body (RFC 9112, section 7.1), as strictly as heads are
// read: CRLF ends a line and nothing else, and extensions, which are dropped, hold no
// control bytes. What hides in a byte that one parser skips is where another sees the
// next request.
type chunkReader struct {
	in       *bufio.Reader
	left     int64 // of the present chunk
	started  bool  // a chunk came before, whose CRLF is to come
	ended    bool
	text     []byte // of the trailers
	trailers []message.Field
}

// maxTrailers bounds the trailer section, in bytes.
const maxTrailers = 8 << 10

// reset prepares for another body, from in.
func (c *chunkReader) reset(in *bufio.Reader) {
	*c = chunkReader{in: in, text: c.text[:0], trailers: c.trailers[:0]}
}

// Read returns io.EOF once the last chunk and the trailers have been read.
func (c *chunkReader) Read(p []byte) (int, error) {
	if c.left == 0 && !c.ended {
		if err := c.next(); err != nil {
			return 0, cutOff(err)
		}
	}
	if c.ended {
		return 0, io.EOF
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, cutOff(err)
}

// next reads up to the next chunk, or to the end of the body.
func (c *chunkReader) next() error {
	if c.started {
		if line, err := c.line(); err != nil || len(line) > 0 {
			return errors.Join(message.ErrChunk, err)
		}
	}
	c.started = true
	line, err := c.line()
	if err != nil {
		return err
	}
	if c.left, err = message.ParseChunkSize(line); err != nil || c.left > 0 {
		return err
	}
	return c.readTrailers()
}

// readTrailers reads what follows the last chunk. What would frame a message is
// refused there; other fields that do not belong are not forwarded.
func (c *chunkReader) readTrailers() error {
	for more := true; more; {
		line, err := c.line()
		if err != nil {
			return err
		}
		c.text = append(append(c.text, line...), "\r\n"...)
		if len(c.text) > maxTrailers {
			return message.ErrField
		}
		more = len(line) > 0
	}
	var err error
	if c.trailers, err = message.ParseFields(c.trailers, c.text); err != nil {
		return err
	}
	for i := range c.trailers {
		switch c.trailers[i].ID {
		case message.ContentLength, message.TransferEncoding, message.Host, message.Trailer:
			return message.ErrField
		}
	}
	c.ended = true
	return nil
}

// line returns the next line without its CRLF, valid until the next read.
func (c *chunkReader) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	switch n := len(line); {
	case err != nil:
		return nil, err // for too long a line too
	case n < 2 || line[n-2] != '\r':
		return nil, message.ErrChunk
	default:
		return line[:n-2], nil
	}
}

// cutOff turns an end in the middle of a body into an error.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
