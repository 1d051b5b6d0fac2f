package dataplane_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func compressing(addr string) *routetable.Spec {
	spec := toUpstream(addr)
	spec.Routes[0].Compress = &routetable.Compress{}
	return spec
}

// expand undoes encoding.
func expand(t *testing.T, encoding string, body io.Reader) io.Reader {
	t.Helper()
	switch encoding {
	case "gzip":
		r, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	case "zstd":
		r, err := zstd.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	return body
}

func TestCompressionIsNegotiated(t *testing.T) {
	text := strings.Repeat("all work and no play ", 200)
	plain := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\nContent-Length: %d\r\n", len(text))
	for _, test := range []struct {
		name     string
		accept   string // further fields of the request
		answer   string // fields, or all of the head
		encoding string
		vary     bool
	}{
		{"zstd is preferred", "Accept-Encoding: gzip, zstd", plain, "zstd", true},
		{"weights decide", "Accept-Encoding: gzip;q=1.0, zstd;q=0.5", plain, "gzip", true},
		{"any", "Accept-Encoding: *", plain, "zstd", true},
		{"any but one", "Accept-Encoding: *, zstd;q=0", plain, "gzip", true},
		{"two fields", "Accept-Encoding: br\r\nAccept-Encoding: GZIP", plain, "gzip", true},
		{"no encoding weighs more", "Accept-Encoding: identity, gzip;q=0.5", plain, "", true},
		{"none taken", "Accept-Encoding: br", plain, "", true},
		{"nothing said", "X-A: b", plain, "", true},
		{"bad weight", "Accept-Encoding: gzip;q=2x", plain, "", true},
		{"client forbids", "Accept-Encoding: gzip\r\nCache-Control: no-transform", plain, "", true},
		{"origin forbids", "Accept-Encoding: gzip", plain + "Cache-Control: public, no-transform\r\n", "", false},
		{"encoded already", "Accept-Encoding: gzip", plain + "Content-Encoding: br\r\n", "", false},
		{"digest of the origin's bytes", "Accept-Encoding: gzip", plain + "Content-Digest: sha-256=:AA==:\r\n", "", false},
		{"part", "Accept-Encoding: gzip", strings.Replace(plain, "200 OK", "206 Part", 1) + "Content-Range: bytes 0-1/2\r\n", "", false},
		{"structured suffix", "Accept-Encoding: gzip", strings.Replace(plain, "text/plain", "application/problem+json; charset=utf-8", 1), "gzip", true},
		{"picture", "Accept-Encoding: gzip", strings.Replace(plain, "text/plain", "image/png", 1), "", false},
		{"event stream", "Accept-Encoding: gzip", strings.Replace(plain, "text/plain", "text/event-stream", 1), "", false},
		{"vary is there", "Accept-Encoding: gzip", plain + "Vary: Origin, accept-encoding\r\n", "gzip", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := startRecorder(t, always(test.answer+"\r\n"+text))
			g := startGateway(t, dataplane.Config{}, compressing(up.addr))
			got, body, err := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n" + test.accept + "\r\n\r\n").answer("GET")
			if err != nil {
				t.Fatal(err)
			}
			if encoding := got.Header.Get("Content-Encoding"); encoding != test.encoding && (encoding != "br" || test.encoding != "") {
				t.Fatalf("content-encoding %q, want %q", encoding, test.encoding)
			}
			if vary := strings.ToLower(strings.Join(got.Header.Values("Vary"), ",")); strings.Count(vary, "accept-encoding") > 1 || strings.Contains(vary, "accept-encoding") != test.vary {
				t.Errorf("vary %q, want Accept-Encoding in it: %v", vary, test.vary)
			}
			etag, ranges := got.Header.Get("ETag"), got.Header.Get("Accept-Ranges")
			if test.encoding == "" {
				if body != text || etag != `"v1"` || ranges != "bytes" {
					t.Errorf("changed: etag %s, ranges %q, %d bytes", etag, ranges, len(body))
				}
				return
			}
			if etag != `W/"v1"` || ranges != "" || len(body) >= len(text) {
				t.Errorf("etag %s, ranges %q, %d bytes of %d", etag, ranges, len(body), len(text))
			}
			whole, err := io.ReadAll(expand(t, test.encoding, strings.NewReader(body)))
			if err != nil || string(whole) != text {
				t.Errorf("%v: %d bytes, want %d", err, len(whole), len(text))
			}
		})
	}
}

func TestWhatHasNoBodyToCompressIsLeftAlone(t *testing.T) {
	for _, test := range []struct{ method, answer string }{
		{"GET", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nsmall"},
		{"GET", "HTTP/1.1 204 No\r\nContent-Type: text/plain\r\n\r\n"},
		{"GET", "HTTP/1.1 304 Not\r\nContent-Type: text/plain\r\nETag: \"v\"\r\nContent-Length: 9000\r\n\r\n"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9000\r\n\r\n"},
	} {
		up := startRecorder(t, always(test.answer))
		g := startGateway(t, dataplane.Config{}, compressing(up.addr))
		c := g.dial(t)
		for range 2 { // the connection stays in step
			got, _, err := c.send(test.method + " / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").answer(test.method)
			if err != nil || got.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s %q: %v %v", test.method, test.answer, err, got.Header)
			}
			if test.method == "HEAD" && got.ContentLength != 9000 {
				t.Errorf("HEAD: length %d", got.ContentLength)
			}
		}
	}
}

// A large body of known length, in many pieces, over pooled encoders.
func TestLargeAnswersAreCompressedInPieces(t *testing.T) {
	var text bytes.Buffer
	for i := range 60_000 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	up := startRecorder(t, always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", text.Len(), text.String())))
	g := startGateway(t, dataplane.Config{}, compressing(up.addr))
	c := g.dial(t)
	for _, encoding := range []string{"gzip", "zstd", "gzip", "zstd"} {
		got, body, err := c.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: " + encoding + "\r\n\r\n").answer("GET")
		if err != nil || got.Header.Get("Content-Encoding") != encoding || got.ContentLength != -1 {
			t.Fatalf("%s: %v %v length %d", encoding, err, got.Header, got.ContentLength)
		}
		whole, err := io.ReadAll(expand(t, encoding, strings.NewReader(body)))
		if err != nil || !bytes.Equal(whole, text.Bytes()) {
			t.Errorf("%s: %v, %d bytes of %d", encoding, err, len(whole), text.Len())
		}
	}
}

// What an endpoint has sent must reach the client before the endpoint goes on.
func TestCompressedStreamsAreFlushed(t *testing.T) {
	for _, encoding := range []string{"gzip", "zstd"} {
		for _, apart := range []bool{false, true} { // the end of a chunk comes with it, or later
			seen := make(chan struct{})
			up := startRecorder(t, func(_ string, c net.Conn, _ *bufio.Reader) bool {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
				for _, word := range []string{"one", "two"} {
					if apart {
						io.WriteString(c, "3\r\n"+word)
					} else {
						io.WriteString(c, "3\r\n"+word+"\r\n")
					}
					select {
					case <-seen:
					case <-time.After(5 * time.Second):
						return false
					}
					if apart {
						io.WriteString(c, "\r\n")
					}
				}
				_, err := io.WriteString(c, "0\r\nX-End: 1\r\n\r\n")
				return err == nil
			})
			g := startGateway(t, dataplane.Config{}, compressing(up.addr))
			c := g.dial(t).send("GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: " + encoding + "\r\n\r\n")
			if _, err := readHead(c.r); err != nil {
				t.Fatal(err)
			}
			text := expand(t, encoding, c.r)
			for _, word := range []string{"one", "two"} {
				got := make([]byte, 3)
				if _, err := io.ReadFull(text, got); err != nil || string(got) != word {
					t.Fatalf("%s: %v %q, want %q", encoding, err, got, word)
				}
				seen <- struct{}{}
			}
			if rest, err := io.ReadAll(text); err != nil || len(rest) > 0 {
				t.Errorf("%s: %v, rest %q", encoding, err, rest)
			}
		}
	}
}

func TestACutAnswerIsNotMadeWholeByCompression(t *testing.T) {
	up := startRecorder(t, once("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9000\r\n\r\npart"))
	g := startGateway(t, dataplane.Config{}, compressing(up.addr))
	_, _, err := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").answer("GET")
	if err == nil {
		t.Error("the end of the body was made up")
	}
}

func TestOwnAnswersAreCompressed(t *testing.T) {
	text := strings.Repeat("sorry ", 400)
	spec := &routetable.Spec{Routes: []routetable.Route{{
		Name: "own", Compress: &routetable.Compress{Encodings: []string{"gzip"}},
		Respond: &routetable.Respond{Status: 200, Body: text, Headers: map[string]string{"content-type": "text/html"}},
	}}}
	g := startGateway(t, dataplane.Config{}, spec)
	got, body, err := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").answer("GET")
	if err != nil || got.Header.Get("Content-Encoding") != "gzip" || got.ContentLength != int64(len(body)) {
		t.Fatalf("%v %v, length %d", err, got.Header, got.ContentLength)
	}
	whole, err := io.ReadAll(expand(t, "gzip", strings.NewReader(body)))
	if err != nil || string(whole) != text {
		t.Errorf("%v: %d bytes", err, len(whole))
	}
}
