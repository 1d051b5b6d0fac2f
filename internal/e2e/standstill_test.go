package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A node that goes on after it was frozen finds that its timeouts have passed, and
// in its sockets what came meanwhile.
func TestWhatCameWhileANodeStoodStillIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const standstill = 11 * time.Second // more than a head may take, and than the endpoint may be silent
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "half,")
		_ = http.NewResponseController(rw).Flush()
		time.Sleep(time.Second)
		_, _ = io.WriteString(rw, "whole")
	}))
	t.Cleanup(slow.Close)
	path := filepath.Join(w.dir, "routes.yaml")
	doc := fmt.Sprintf(`upstreams:
  - name: slow
    timeouts: {idle: 3s, response: 3s}
    endpoints: [{url: %q}]
routes:
  - {name: slow, match: [{path: /slow}], upstream: slow}
  - {name: all, respond: {status: 200, body: "half,whole"}}
`, slow.URL)
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	w.certificate("a.crt", "a.key")
	a := w.start("a", "--routes", path, "--https", "127.0.0.1:0", "--tls-cert", filepath.Join(w.dir, "a.crt"), "--tls-key", filepath.Join(w.dir, "a.key"))
	dialTo := func(addr string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial := func() net.Conn { return dialTo(a.listen.HTTP) }
	send := func(c net.Conn, text string) {
		if _, err := io.WriteString(c, text); err != nil {
			t.Error(err)
		}
	}
	const head, host = "GET / HTTP/1.1\r\n", "Host: a\r\n\r\n"
	conns := map[string]net.Conn{
		"a first request": dial(), "the rest of a head": dial(), "the rest of an answer": dial(),
	}
	send(conns["the rest of a head"], head)
	send(conns["the rest of an answer"], "GET /slow HTTP/1.1\r\n"+host)
	thawed := make(chan struct{})
	interrupted := tls.Client(&interrupted{Conn: dialTo(a.listen.HTTPS), until: thawed}, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // see certificate
	conns["a handshake"] = interrupted
	shaken := make(chan error, 1)
	go func() { shaken <- interrupted.HandshakeContext(t.Context()) }()
	time.Sleep(300 * time.Millisecond) // for the node to have what was sent
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	send(conns["a first request"], head+host)
	send(conns["the rest of a head"], host)
	for i := range 20 {
		conns[fmt.Sprintf("new connection %d", i)] = dial()
	}
	time.Sleep(standstill)
	_ = a.cmd.Process.Signal(syscall.SIGCONT)
	time.Sleep(100 * time.Millisecond) // the new ones are accepted by now, and silent
	close(thawed)
	if err := <-shaken; err != nil {
		t.Errorf("a handshake: %v", err)
	}
	for what, c := range conns {
		if strings.HasPrefix(what, "new") || what == "a handshake" {
			_, _ = io.WriteString(c, head+host) // a failure shows below
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if _ = resp.Body.Close(); err != nil || resp.StatusCode != 200 || string(body) != "half,whole" {
			t.Errorf("%s: status %d, %q, %v", what, resp.StatusCode, body, err)
		}
	}
}

// interrupted is a connection whose first write stops after a few bytes, until until is
// closed.
type interrupted struct {
	net.Conn
	until <-chan struct{}
	begun bool
}

func (c *interrupted) Write(p []byte) (int, error) {
	const few = 20
	if c.begun || len(p) <= few {
		return c.Conn.Write(p)
	}
	c.begun = true
	n, err := c.Conn.Write(p[:few])
	if err != nil {
		return n, err
	}
	<-c.until
	rest, err := c.Conn.Write(p[few:])
	return n + rest, err
}
