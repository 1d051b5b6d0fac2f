package dataplane_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func TestChunksAreSentOnAsTheyCome(t *testing.T) {
	next := make(chan string)
	up := startRecorder(t, func(_ string, c net.Conn, _ *bufio.Reader) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for text := range next {
			fmt.Fprintf(c, "%x\r\n%s\r\n", len(text), text)
		}
		io.WriteString(c, "0\r\nX-Sum: 1\r\n\r\n")
		return true
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 5 {
		text := fmt.Sprintf("data: %d\n\n", i)
		next <- text
		got := make([]byte, len(text))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	close(next)
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.Trailer.Get("X-Sum") != "1" {
		t.Errorf("trailers %v", resp.Trailer)
	}
}

// A body of known length does not wait in a buffer either.
func TestPiecesOfKnownLengthAreSentOnAsTheyCome(t *testing.T) {
	next := make(chan string)
	up := startRecorder(t, func(_ string, c net.Conn, _ *bufio.Reader) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
		for text := range next {
			io.WriteString(c, text)
		}
		return true
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for range 3 {
		next <- "hello"
		if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	close(next)
}

func TestUploadIsSentOnAsItComes(t *testing.T) {
	got := make(chan string)
	up := startRecorder(t, func(_ string, c net.Conn, r *bufio.Reader) bool {
		for {
			size, err := r.ReadString('\n')
			if err != nil {
				return false
			}
			if size == "0\r\n" {
				break
			}
			line, _ := r.ReadString('\n')
			got <- strings.TrimSpace(line)
		}
		trailer, _ := r.ReadString('\n')
		got <- strings.TrimSpace(trailer)
		r.ReadString('\n')
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return true
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, text := range []string{"one", "two"} {
		c.send(fmt.Sprintf("%x\r\n%s\r\n", len(text), text))
		if line := <-got; line != text {
			t.Errorf("upstream got %q", line)
		}
	}
	c.send("0\r\nX-Sum: 7\r\n\r\n")
	if line := <-got; line != "X-Sum: 7" {
		t.Errorf("upstream got trailer %q", line)
	}
	if resp, body, _ := c.answer("POST"); resp.StatusCode != 200 || body != "ok" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestEarlyAnswerDoesNotWaitForTheBody(t *testing.T) {
	up := startRecorder(t, func(_ string, c net.Conn, _ *bufio.Reader) bool {
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
		return false
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	for _, body := range []string{"Content-Length: 1000000\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		c := g.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\n" + body)
		resp, text, err := c.answer("POST")
		if err != nil || resp.StatusCode != 413 || text != "big" || !resp.Close {
			t.Errorf("got %v %q %v", resp, text, err)
		}
	}
}

// Both directions flow at once.
func TestEchoWhileUploading(t *testing.T) {
	up := startRecorder(t, func(_ string, c net.Conn, r *bufio.Reader) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			size, err := r.ReadString('\n')
			if err != nil {
				return false
			}
			line, _ := r.ReadString('\n')
			io.WriteString(c, size+line)
			if size == "0\r\n" {
				return true
			}
		}
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	c.send("3\r\none\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, text := range []string{"one", "two", "six"} {
		got := make([]byte, 3)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v", got, err)
		}
		switch text {
		case "one":
			c.send("3\r\ntwo\r\n")
		case "two":
			c.send("3\r\nsix\r\n")
		}
	}
	c.send("0\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}
}

func TestAnswerCutShortIsNotMadeWhole(t *testing.T) {
	for name, raw := range map[string]string{
		"chunks":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n",
		"inside chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndo",
		"bad chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\nzz\r\n",
		"bad trailer":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\nX a: b\r\n\r\n",
		"length":       "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ndone",
	} {
		t.Run(name, func(t *testing.T) {
			up := startRecorder(t, once(raw))
			g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
			resp, body, err := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
			if resp.StatusCode != 200 || err == nil {
				t.Errorf("got %d, %q, %v; want an error", resp.StatusCode, body, err)
			}
			g.stop()
			if !strings.Contains(g.log.String(), `"error":"upstream_reset"`) {
				t.Errorf("log %s", g.log)
			}
		})
	}
}

func TestAnswerUntilCloseGetsFraming(t *testing.T) {
	up := startRecorder(t, once("HTTP/1.1 200 OK\r\n\r\nhello"))
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t)
	for range 2 {
		resp, body, err := c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
		if err != nil || body != "hello" || resp.Close {
			t.Errorf("got %q, %v, close %v", body, err, resp.Close)
		}
	}
}

func TestOldClientsGetNoChunks(t *testing.T) {
	up := startRecorder(t, always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	got := g.dial(t).send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").rest()
	if !strings.HasSuffix(got, "\r\n\r\nhello") || strings.Contains(strings.ToLower(got), "transfer-encoding") {
		t.Errorf("got %q", got)
	}
	if head := up.seen()[0]; !strings.HasPrefix(head, "GET / HTTP/1.1\r\n") {
		t.Errorf("upstream saw %q", head)
	}
}

func TestOldClientsMayKeepTheConnection(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t)
	for range 2 {
		resp, body, _ := c.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").answer("GET")
		if body != "ok" || resp.Header.Get("Connection") != "keep-alive" {
			t.Errorf("got %q, %v", body, resp.Header)
		}
	}
	if got := g.dial(t).send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").rest(); !strings.HasSuffix(got, "ok") {
		t.Errorf("got %q", got)
	}
}

func TestPipelinedRequestsAreAnsweredInTurn(t *testing.T) {
	up := startRecorder(t, func(head string, c net.Conn, _ *bufio.Reader) bool {
		path := strings.Fields(head)[1]
		fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", path, len(path), path)
		return true
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
	for _, want := range []string{"/1", "/2", "/3"} {
		hints, _, _ := c.answer("GET")
		resp, body, _ := c.answer("GET")
		if hints.StatusCode != 103 || hints.Header.Get("Link") != want || resp.StatusCode != 200 || body != want {
			t.Errorf("got %d %v, %d %q; want %q", hints.StatusCode, hints.Header, resp.StatusCode, body, want)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	for raw, want := range map[string]int64{
		"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n":           1234,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":     -1,
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n": 1234,
		"HTTP/1.1 204 No Content\r\n\r\n":                           0,
	} {
		up := startRecorder(t, always(raw))
		g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
		c := g.dial(t)
		for range 2 {
			resp, _, err := c.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").answer("HEAD")
			if err != nil || resp.ContentLength != want && resp.StatusCode == 200 {
				t.Errorf("%q: length %d, %v; want %d", raw, resp.ContentLength, err, want)
			}
		}
	}
}

func TestExpectationIsMetOnlyWhenTheRequestIsAdmitted(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if resp, _, _ := c.answer("POST"); resp.StatusCode != 100 {
		t.Fatalf("status %d, want 100", resp.StatusCode)
	}
	if resp, body, _ := c.send("hello").answer("POST"); resp.StatusCode != 200 || body != "ok" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if head := strings.ToLower(up.seen()[0]); strings.Contains(head, "expect") {
		t.Errorf("upstream saw %q", head)
	}
	c = g.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 50000000\r\n\r\n")
	if resp, _, _ := c.answer("POST"); resp.StatusCode != 413 || !resp.Close {
		t.Errorf("got %d, want 413 and close", resp.StatusCode)
	}
}

// Most clients look at the answer when they have sent everything.
func TestWhoSendsAllOfABodyThatIsRefusedIsTold(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	const size = 12 << 20 // over the default, and what sockets hold
	c := g.dial(t).send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size))
	began := time.Now()
	_, err := io.WriteString(c.Conn, strings.Repeat("a", size))
	switch took := time.Since(began); {
	case err != nil && took < 2*time.Second:
		t.Fatalf("after the refusal: %v", err)
	case err != nil:
		t.Logf("%v after %v: the gateway reads no longer than 2 s", err, took)
		return
	}
	if resp, _, _ := c.answer("POST"); resp.StatusCode != 413 {
		t.Errorf("status %d, want 413", resp.StatusCode)
	}
}

func TestChunkedBodyOverTheLimitIsRefused(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	go func() {
		chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("a", 64<<10))
		for range 200 {
			if _, err := io.WriteString(c.Conn, chunk); err != nil {
				return
			}
		}
	}()
	if resp, _, _ := c.answer("POST"); resp.StatusCode != 413 {
		t.Errorf("status %d, want 413", resp.StatusCode)
	}
}

func TestWebSocketIsTunnelled(t *testing.T) {
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		if !strings.Contains(strings.ToLower(head), "upgrade: websocket") {
			return false
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhi")
		io.Copy(c, r)
		return false
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t).send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "x" || resp.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("got %v, %v", resp, err)
	}
	defer resp.Body.Close()
	g.publish(t, toUpstream()) // tunnels outlive their route
	c.send("-late")
	got := make([]byte, len("hiearly-late"))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != "hiearly-late" {
		t.Errorf("got %q, %v", got, err)
	}
	c.Conn.(*net.TCPConn).CloseWrite()
	if rest := c.rest(); rest != "" {
		t.Errorf("then %q", rest)
	}
}

func TestLargeBodiesPassWithFlatMemory(t *testing.T) {
	const size = 128 << 20
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Got", fmt.Sprint(n))
		piece := make([]byte, 64<<10)
		for range size / len(piece) {
			w.Write(piece)
		}
	})}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	spec := toUpstream(ln.Addr().String())
	spec.Routes[0].MaxBody = new(routetable.Bytes(0))
	g := startGateway(t, dataplane.Config{}, spec)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := g.dial(t)
	c.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		fmt.Fprintf(c.Conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size)
		piece := make([]byte, 64<<10)
		for range size / len(piece) {
			if _, err := c.Write(piece); err != nil {
				return
			}
		}
	}()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n != size || resp.Header.Get("X-Got") != fmt.Sprint(size) {
		t.Errorf("got %d bytes, %v, upstream got %s", n, err, resp.Header.Get("X-Got"))
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}
