package dataplane

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Whatever a client sends, what is taken for a request net/http takes for the same
// request, field by field and with the same end: nobody behind this gateway can
// find another one in it. To refuse more than net/http does is no mistake.
func FuzzHTTP1Requests(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\n\r\nGET http://a/b?c HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a:  2 \r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhelloPUT /b HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: t\r\n\r\n5;a=b\r\nhello\r\n000\r\nT: u\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\nContent-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\n\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 ;\nx\r\nhello\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n folded: x\r\n\r\nhello",
		"GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: websocket\n\n",
		"GET /\tb HTTP/1.1 \r\nHost: a\r\nHost: b\r\n\r\n",
		"get * HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	s := New(Config{Node: "n"}, zerolog.Nop(), prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, raw []byte) {
		ours, theirs := bytes.NewReader(raw), bytes.NewReader(raw)
		front, twin := newH1(s), bufio.NewReaderSize(theirs, headLimit)
		front.conn = &clientConn{Conn: &deafConn{r: ours}, server: s}
		front.in.Reset(front.conn)
		for front.readHead() && front.x.refused == nil && front.x.Upgrade == nil && front.takeBody() == nil {
			body, err := front.x.Buffered, error(nil)
			if front.x.Body != nil {
				body, err = io.ReadAll(front.x.Body)
			}
			if err != nil {
				return // it would be cut off
			}
			asTwin(t, front, twin, body)
			if got, want := front.in.Buffered()+ours.Len(), twin.Buffered()+theirs.Len(); got != want {
				t.Fatalf("%q: %d bytes are left, of net/http's %d", raw, got, want)
			}
		}
	})
}

// asTwin compares a request with what net/http reads.
func asTwin(t *testing.T, f *h1, twin *bufio.Reader, body []byte) {
	t.Helper()
	for b, _ := twin.Peek(2); len(b) == 2 && (b[0] == '\n' || string(b) == "\r\n"); b, _ = twin.Peek(2) {
		_, _ = twin.Discard(1 + bytes.IndexByte(b, '\n')) // empty lines before a request, which net/http does not expect
	}
	req, err := http.ReadRequest(twin)
	if err != nil {
		t.Fatalf("%q %q is refused by net/http: %v", f.x.Method, f.header.RawHeaders(), err)
	}
	theirs, err := io.ReadAll(req.Body)
	if err != nil || !bytes.Equal(theirs, body) {
		t.Fatalf("body %q, of net/http %q, %v", body, theirs, err)
	}
	if string(f.x.Method) != req.Method || string(f.header.RequestURI()) != req.RequestURI || f.x.Protocol != req.Proto {
		t.Fatalf("%q %q %q, of net/http %q %q %q", f.x.Method, f.header.RequestURI(), f.x.Protocol, req.Method, req.RequestURI, req.Proto)
	}
	if !bytes.EqualFold(f.x.Authority, []byte(req.Host)) {
		t.Fatalf("for %q, of net/http for %q", f.x.Authority, req.Host)
	}
	header := http.Header{}
	for _, field := range f.x.Fields {
		header.Add(string(field.Name), string(field.Value))
	}
	for _, name := range []string{"Host", "Transfer-Encoding", "Trailer", "Content-Length", "Cache-Control"} { // it takes them out, or makes one up
		header.Del(name)
		req.Header.Del(name)
	}
	if len(header) != len(req.Header) {
		t.Fatalf("%q, of net/http %q", header, req.Header)
	}
	for name, values := range header {
		if !slices.Equal(values, req.Header[name]) {
			t.Fatalf("%s: %q, of net/http %q", name, values, req.Header[name])
		}
	}
}

// deafConn is a connection that ends after some bytes, and takes whatever is written
// to it.
type deafConn struct {
	net.Conn
	r *bytes.Reader
}

func (c *deafConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *deafConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *deafConn) SetReadDeadline(time.Time) error  { return nil }
func (c *deafConn) SetWriteDeadline(time.Time) error { return nil }
func (c *deafConn) Close() error                     { return nil }
