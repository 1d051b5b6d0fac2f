package dataplane_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"
)

// The memory of one request serves the next, which is not told of its tries.
func TestARecordHasTheTriesOfItsRequestAlone(t *testing.T) {
	up := startRecorder(t, nil)
	ring := telemetry.NewRing(0, 0)
	g := startGateway(t, dataplane.Config{Requests: ring}, toUpstream(up.addr))
	c := g.dial(t)
	for _, id := range []string{"first", "second", "third"} {
		c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: " + id + "\r\n\r\n").answer("GET")
	}
	g.stop()
	for _, id := range []string{"first", "second", "third"} {
		if found := ring.Find(id); len(found) != 1 || len(found[0].Attempts) != 1 {
			t.Errorf("%s: %+v, want one record with one try", id, found)
		}
	}
}

// A body that is the client's fault is the client's error, whatever was sent on
// already, and no failure of the endpoint's.
func TestABrokenBodyIsTheClientsError(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	for _, body := range []string{"5\r\nhel", "5\r\nhello\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "zz\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nA b: c\r\n\r\n"} {
		c := g.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
		c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		got, _, _ := c.answer("POST")
		if got.StatusCode != 400 || got.Header.Get("X-Meshgw-Error") != "bad_request" || !got.Close {
			t.Errorf("%q: got %d %v", body, got.StatusCode, got.Header)
		}
	}
	if state := g.Upstreams()[0]; state.State != "closed" {
		t.Errorf("the endpoint is blamed: %+v", state)
	}
	if strings.Contains(up.bytes(), "0\r\n\r\n") {
		t.Errorf("a broken body was made whole: %q", up.bytes())
	}
	if got, _, _ := g.dial(t).send(get).answer("GET"); got.StatusCode != 200 {
		t.Errorf("then got %d", got.StatusCode)
	}
}

func TestHTTP10WithoutHostGetsTheEndpoints(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	got := g.dial(t).send("GET /x HTTP/1.0\r\n\r\n").rest()
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("got %q", got)
	}
	if head := up.seen()[0]; !strings.HasPrefix(head, "GET /x HTTP/1.1\r\nhost: "+up.addr+"\r\n") || strings.Contains(head, "x-forwarded-host") {
		t.Errorf("sent %q", head)
	}
}

// What peers accept of chunks is accepted or refused, and in no case sent on.
func TestOddChunksAreNeverSentOn(t *testing.T) {
	for name, body := range map[string]string{
		"space behind the size":         "5 \r\nhello\r\n0\r\n\r\n",
		"extension":                     "5;a=b\r\nhello\r\n0\r\n\r\n",
		"NUL in an extension":           "5;a=\x00\r\nhello\r\n0\r\n\r\n",
		"line feed in an extension":     "5;a\nb\r\nhello\r\n0\r\n\r\n",
		"space before colon of trailer": "5\r\nhello\r\n0\r\nX-A : b\r\n\r\n",
		"leading zeros":                 "0005\r\nhello\r\n0000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			up := startRecorder(t, nil)
			g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
			c := g.dial(t)
			if _, err := io.WriteString(c.Conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+body); err != nil {
				t.Fatal(err)
			}
			got, _, _ := c.answer("POST")
			if got.StatusCode != 200 && got.StatusCode != 400 || got.StatusCode == 400 && !got.Close {
				t.Errorf("got %d, close %v", got.StatusCode, got.Close)
			}
			_, sent, _ := strings.Cut(up.bytes(), "\r\n\r\n")
			if whole := "5\r\nhello\r\n0\r\n"; got.StatusCode == 200 && !strings.HasPrefix(sent, whole) ||
				strings.ContainsAny(sent, ";\x00 ") && !strings.Contains(sent, "X-A: b") || strings.Contains(sent, " :") {
				t.Errorf("status %d, sent on %q", got.StatusCode, sent)
			}
		})
	}
}

// A node that is slow to connect, since many come at once, does not blame an
// endpoint that answers others meanwhile.
func TestAConnectionThatComesFreeReplacesOneThatFailed(t *testing.T) {
	slow, failing, fail := make(chan struct{}), make(chan struct{}), make(chan struct{})
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		if strings.HasPrefix(head, "GET /slow") {
			<-slow
		}
		return okay(head, c, r)
	})
	var dials atomic.Int32
	spec := toUpstream(up.addr)
	spec.Upstreams[0].Timeouts = &routetable.Timeouts{Connect: new(routetable.Duration(patience))}
	g := startGateway(t, dataplane.Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		close(failing)
		<-fail
		return nil, os.ErrDeadlineExceeded
	}}, spec)
	first := g.dial(t).send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	waitFor(t, func() bool { return len(up.seen()) > 0 })
	second := g.dial(t).send(get)
	<-failing
	close(slow)
	first.answer("GET")
	waitFor(t, func() bool { return g.Load().Inflight == 1 }) // the connection is given back
	close(fail)
	if got, body, _ := second.answer("GET"); got.StatusCode != 200 || body != "ok" {
		t.Errorf("got %d %q", got.StatusCode, body)
	}
}
