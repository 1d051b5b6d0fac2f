package dataplane_test

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/meshgw/meshgw/dataplane"
)

// Whatever stands in the fields of a request over HTTP/2, which can hold any
// bytes, an endpoint of HTTP/1.1 is sent one well-formed request or none.
func FuzzHTTP2Fields(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "/a?b", "x-a: 1\ncookie: a=b\ncookie: c=d"},
		{"GET", "/a HTTP/1.1\r\nx: y", "transfer-encoding: chunked"},
		{"G ET", "//\\..%2f", "content-length: 0\ncontent-length: 5"},
		{"POST", "*", "connection: close\nx\r\ny: z\nhost: b.test"},
		{"GET /b HTTP/1.1", "/a", "x: y"},
		{"G\xc5T", "/a?b", "x-a: 1"},
		{"CONNECT", "", "te: gzip\nexpect: 100-continue"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	up := startRecorder(f, nil)
	g := startGateway(f, dataplane.Config{}, toUpstream(up.addr))
	f.Fuzz(func(t *testing.T, method, path, fields string) {
		c := dialRawHTTP2(t, g.addr)
		defer c.Close()
		before := len(up.seen())
		write := func(name, value string) { _ = c.enc.WriteField(hpack.HeaderField{Name: name, Value: value}) }
		write(":method", method)
		write(":scheme", "http")
		write(":authority", "a.test")
		write(":path", path)
		for field := range strings.SplitSeq(fields, "\n") {
			name, value, _ := strings.Cut(field, ": ")
			write(name, value)
		}
		if c.head.Len() > 16<<10 {
			return // more than a frame
		}
		if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.head.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		c.until(10*time.Second, func(f http2.Frame) bool { // told, reset, or closed
			return f.Header().StreamID == 1 || f.Header().Type == http2.FrameGoAway
		})
		heads := up.seen()[before:]
		if len(heads) > 1 {
			t.Fatalf("%d requests of one: %q", len(heads), heads)
		}
		for _, head := range heads {
			req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader([]byte(head))))
			if err != nil || req.Host != "a.test" || req.Method != method || len(req.TransferEncoding) > 0 || req.ContentLength > 0 {
				t.Fatalf("an endpoint was sent %q: %v", head, err)
			}
		}
	})
}
