package compress

import (
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/meshgw/meshgw/dataplane/message"
)

// encoder is what the gzip and zstd writers have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// Pool keeps idle compressors: making one costs more than compressing most answers. The
// zero value is ready to use.
type Pool struct{ gzip, zstd sync.Pool }

const (
	gzipLevel  = 5
	maxOutput  = 76 << 10  // bytes of memory for output that is kept for other answers
	zstdWindow = 256 << 10 // bytes of memory that an encoder keeps; RFC 9659 allows 8 MiB
)

// Get returns an idle compressor for encoding, gzip or zstd.
func (p *Pool) Get(encoding string) (*Compressor, error) {
	pool := &p.gzip
	if encoding == "zstd" {
		pool = &p.zstd
	}
	c, ok := pool.Get().(*Compressor)
	if !ok {
		enc, err := newEncoder(encoding)
		if err != nil {
			return nil, err
		}
		c = &Compressor{enc: enc, home: pool}
	}
	c.ended = false
	c.out = c.out[:0]
	c.enc.Reset(c)
	return c, nil
}

func newEncoder(encoding string) (encoder, error) {
	if encoding == "zstd" {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	}
	return gzip.NewWriterLevel(nil, gzipLevel)
}

// Compressor compresses the body of one answer at a time.
type Compressor struct {
	enc     encoder
	home    *sync.Pool
	from    message.Stream
	flushes bool   // flush when no more input is ready
	out     []byte // compressed output
	ended   bool
}

// Write takes the output of the encoder.
func (c *Compressor) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

// Whole returns body compressed, valid until Release.
func (c *Compressor) Whole(body []byte) ([]byte, error) {
	_, err := c.enc.Write(body)
	err = errors.Join(err, c.enc.Close())
	return c.out, err
}

// Stream sets the body to compress. flushes says that nothing is held back while more
// input is waited for; a body of known length does not need it, since more is sure to
// come.
func (c *Compressor) Stream(from message.Stream, flushes bool) { c.from, c.flushes = from, flushes }

// Next implements message.Stream.
func (c *Compressor) Next() ([]byte, error) {
	c.out = c.out[:0]
	for len(c.out) == 0 {
		if c.ended {
			return nil, io.EOF
		}
		piece, err := c.from.Next()
		switch {
		case errors.Is(err, io.EOF):
			c.ended = true
			err = c.enc.Close()
		case err == nil:
			_, err = c.enc.Write(piece)
			if err == nil && c.flushes && !c.from.Ready() {
				err = c.enc.Flush()
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

// Ready implements message.Stream.
func (c *Compressor) Ready() bool { return c.from.Ready() }

// Trailers implements message.Stream.
func (c *Compressor) Trailers() []message.Field { return c.from.Trailers() }

// Release returns c to its pool.
func (c *Compressor) Release() {
	if cap(c.out) > maxOutput {
		c.out = nil
	}
	c.from = nil
	c.home.Put(c)
}
