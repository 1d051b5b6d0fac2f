package upstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Whatever an endpoint sends, reading its answer ends, and a body that is
// whole has the length that its head says.
func FuzzReadAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.0 200\r\n\r\nok",
		"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
	} {
		f.Add([]byte(s), false)
	}
	buffers := &sync.Pool{New: func() any { return new(make([]byte, BufferSize)) }}
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		conn := &Conn{Conn: &bytesConn{r: bytes.NewReader(raw)}}
		conn.Begin(buffers)
		defer conn.End()
		a := NewAnswer(conn, 0, new(AnswerMemory))
		if a.ReadHead(head) != nil {
			return
		}
		total, limit := int64(0), len(raw)+1
		for {
			piece, err := a.Next()
			total += int64(len(piece))
			if err != nil {
				if errors.Is(err, io.EOF) && a.done && a.Length >= 0 && total != a.Length {
					t.Fatalf("%d bytes of %d pass for whole", total, a.Length)
				}
				return
			}
			if limit--; limit < 0 {
				t.Fatal("does not end")
			}
		}
	})
}

// bytesConn is a connection that ends after some bytes.
type bytesConn struct {
	net.Conn
	r *bytes.Reader
}

func (c *bytesConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func (c *bytesConn) SetReadDeadline(time.Time) error { return nil }
