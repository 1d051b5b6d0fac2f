package dataplane_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// rawHTTP2 is a client that sends frames as it likes.
type rawHTTP2 struct {
	net.Conn
	*http2.Framer
	t    *testing.T
	head bytes.Buffer
	enc  *hpack.Encoder
}

func dialRawHTTP2(t *testing.T, addr string, settings ...http2.Setting) *rawHTTP2 {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return rawHTTP2Over(t, conn, settings...)
}

func rawHTTP2Over(t *testing.T, conn net.Conn, settings ...http2.Setting) *rawHTTP2 {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	c := &rawHTTP2{Conn: conn, Framer: http2.NewFramer(conn, conn), t: t}
	c.enc = hpack.NewEncoder(&c.head)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return c
}

// get opens a stream with a GET of path and more fields, in pairs.
func (c *rawHTTP2) get(stream uint32, path string, fields ...string) error {
	c.head.Reset()
	for i, all := 0, append([]string{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", path}, fields...); i < len(all); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	for block, first := c.head.Bytes(), true; first || len(block) > 0; first = false {
		n := min(len(block), 16<<10)
		last := n == len(block)
		var err error
		if first {
			err = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block[:n], EndStream: true, EndHeaders: last})
		} else {
			err = c.WriteContinuation(stream, last, block[:n])
		}
		if err != nil {
			return err
		}
		block = block[n:]
	}
	return nil
}

// until reads frames until one is wanted, and returns nil when the connection has
// ended before.
func (c *rawHTTP2) until(within time.Duration, wanted func(http2.Frame) bool) http2.Frame {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	for {
		f, err := c.ReadFrame()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.t.Fatalf("no such frame within %v", within)
		case err != nil:
			return nil
		case wanted(f):
			return f
		}
	}
}

// others measures how requests of well-behaved clients fare meanwhile.
type others struct {
	stop chan struct{}
	done chan struct{}
	took []time.Duration
	bad  []string
}

func startOthers(client httpClient, url string) *others {
	o := &others{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for {
			select {
			case <-o.stop:
				return
			default:
			}
			begun := time.Now()
			resp, err := client.Get(url)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if err != nil || resp.StatusCode != 200 {
				o.bad = append(o.bad, fmt.Sprint(resp, err))
			}
			o.took = append(o.took, time.Since(begun))
			time.Sleep(time.Millisecond)
		}
	}()
	return o
}

// end returns the 99th percentile, and fails if a request did.
func (o *others) end(t *testing.T) time.Duration {
	t.Helper()
	close(o.stop)
	<-o.done
	if len(o.bad) > 0 || len(o.took) == 0 {
		t.Errorf("%d of %d requests of others failed: %v", len(o.bad), len(o.took), o.bad)
		return 0
	}
	slices.Sort(o.took)
	return o.took[len(o.took)*99/100]
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// attack compares others before and during an attack: a machine that is busy
// with other things is slow in both.
func attack(t *testing.T, g *gateway, path string, do func()) {
	t.Helper()
	before, client := heap(), overHTTP2(t)
	alone := startOthers(client, "http://"+g.addr+path)
	time.Sleep(500 * time.Millisecond)
	quiet := alone.end(t)
	beside := startOthers(client, "http://"+g.addr+path)
	do()
	time.Sleep(200 * time.Millisecond)
	loud := beside.end(t)
	grown := int64(heap()) - int64(before)
	t.Logf("p99 of others: %v alone, %v beside; %d KiB more memory", quiet, loud, grown>>10)
	if loud > 2*quiet+5*time.Second { // the seconds are for a machine with other work
		t.Errorf("p99 of others rose from %v to %v", quiet, loud)
	}
	if grown > 64<<20 {
		t.Errorf("%d MiB more memory", grown>>20)
	}
}

// answering is a spec of one route that answers by itself.
func answering(body string) *routetable.Spec {
	return &routetable.Spec{Routes: []routetable.Route{{Name: "all", Respond: &routetable.Respond{Status: 200, Body: body}}}}
}

// resetStreams opens 20,000 streams and resets them, as long as it can; the
// connection has to be closed for that.
func (c *rawHTTP2) resetStreams() {
	c.t.Helper()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		io.Copy(io.Discard, c.Conn)
	}()
	sent := 0
	for ; sent < 20_000; sent++ {
		if c.get(uint32(2*sent+1), "/reset") != nil || c.WriteRSTStream(uint32(2*sent+1), http2.ErrCodeCancel) != nil {
			break
		}
	}
	select {
	case <-gone:
		c.t.Logf("closed after %d streams were reset", sent)
	case <-time.After(10 * time.Second):
		c.t.Errorf("open after %d streams were reset", sent)
	}
}

func TestClientThatResetsItsStreamsIsClosed(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	attack(t, g, "/", func() { dialRawHTTP2(t, g.addr).resetStreams() })
	reached := slices.DeleteFunc(up.seen(), func(head string) bool { return !strings.Contains(head, "/reset") })
	if len(reached) > 100 {
		t.Errorf("%d requests reached the endpoint, want few", len(reached))
	}
	for _, protocol := range bothProtocols() {
		begun := time.Now()
		if a, _ := clientOf(t, protocol).ask("GET", "http://"+g.addr+"/", nil); a.StatusCode != 200 {
			t.Errorf("%s afterwards: %d", protocol, a.StatusCode)
		}
		t.Logf("%s is served after %v", protocol, time.Since(begun))
	}
}

func TestClientThatResetsItsStreamsIsClosedOverTLS(t *testing.T) {
	g := startTLSGateway(t, toUpstream(startRecorder(t, nil).addr))
	conn, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	rawHTTP2Over(t, conn).resetStreams()
}

func TestClientThatCancelsLessThanItAsksIsServed(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, answering("ok"))
	c := dialRawHTTP2(t, g.addr)
	for i := range uint32(600) {
		id := 2*i + 1
		if err := c.get(id, "/"); err != nil {
			t.Fatalf("after %d streams: %v", i, err)
		}
		if i%3 == 0 {
			if err := c.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if c.until(10*time.Second, func(f http2.Frame) bool {
			return f.Header().StreamID == id && f.Header().Flags.Has(http2.FlagDataEndStream)
		}) == nil {
			t.Fatalf("closed after %d streams", i)
		}
	}
}

func TestClientThatNeverOpensItsWindowHoldsUpNobody(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, answering(strings.Repeat("x", 60_000)))
	attack(t, g, "/", func() {
		c := dialRawHTTP2(t, g.addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		for i := range uint32(100) {
			if err := c.get(2*i+1, "/"); err != nil {
				t.Fatal(err)
			}
		}
		if os.Getenv("MESHGW_FULL") == "" {
			return // the rest takes a minute
		}
		f := c.until(90*time.Second, func(f http2.Frame) bool { return f.Header().Type == http2.FrameRSTStream })
		if f == nil {
			t.Error("the connection was closed; want the streams reset")
		}
	})
}

func TestHeaderListOverTheLimit(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, answering("ok"))
	attack(t, g, "/", func() {
		for _, size := range []struct{ fields, bytes int }{{300, 10}, {95, 320}} {
			var many []string
			for i := range size.fields {
				many = append(many, fmt.Sprintf("x-%d", i), strings.Repeat("v", size.bytes))
			}
			c := dialRawHTTP2(t, g.addr)
			if err := c.get(1, "/", many...); err != nil {
				t.Fatal(err)
			}
			f := c.until(10*time.Second, func(f http2.Frame) bool { return f.Header().StreamID == 1 })
			if h, ok := f.(*http2.HeadersFrame); !ok || !bytes.Contains(headerText(h), []byte(":status=431")) {
				t.Errorf("%d fields of %d bytes: %v", size.fields, size.bytes, f)
			}
		}
		c := dialRawHTTP2(t, g.addr)
		_ = c.get(1, "/", "x", strings.Repeat("~", 200_000)) // may be cut off while it is sent
		f := c.until(10*time.Second, func(f http2.Frame) bool { return f.Header().Type == http2.FrameGoAway })
		if f == nil {
			t.Log("one large field: closed without a word")
		}
	})
	a, _ := overHTTP2(t).ask("GET", "http://"+g.addr+"/", nil)
	if a.StatusCode != 200 {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
}

func TestALengthWithoutABodyIsRefused(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := dialRawHTTP2(t, g.addr)
	for i, length := range []string{"0", "5"} {
		id, want := uint32(2*i+1), []string{":status=200", ":status=400"}[i]
		if err := c.get(id, "/", "content-length", length); err != nil {
			t.Fatal(err)
		}
		f := c.until(10*time.Second, func(f http2.Frame) bool { return f.Header().StreamID == id })
		if h, ok := f.(*http2.HeadersFrame); !ok || !bytes.Contains(headerText(h), []byte(want)) {
			t.Errorf("content-length %s: got %v, want %s", length, f, want)
		}
	}
	if got := len(up.seen()); got != 1 {
		t.Errorf("%d requests reached the endpoint, want 1", got)
	}
}

func headerText(f *http2.HeadersFrame) []byte {
	var b []byte
	dec := hpack.NewDecoder(4096, func(h hpack.HeaderField) { b = fmt.Appendf(b, "%s=%s\n", h.Name, h.Value) })
	_, _ = dec.Write(f.HeaderBlockFragment())
	return b
}
