package dataplane_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
)

// Requests that two parsers could read differently, or that nobody should pass
// on, are refused, the connection is closed, and the upstream sees nothing.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	for name, test := range map[string]struct {
		raw    string
		status string // several where more than one is right
	}{
		"space in a name":          {"GET / HTTP/1.1\r\nHost: a\r\nX a: b\r\n\r\n", "400"},
		"space before colon":       {"GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n", "400"},
		"no name":                  {"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "400"},
		"no colon":                 {"GET / HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n", "400"},
		"folded field":             {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", "400"},
		"folded first field":       {"GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n", "400"},
		"bare LF in the header":    {"GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n", "400"},
		"bare LF everywhere":       {"GET / HTTP/1.1\nHost: a\n\n", "400"},
		"bare CR in a value":       {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n", "400"},
		"NUL in a value":           {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x00c\r\n\r\n", "400"},
		"control byte in a value":  {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x01c\r\n\r\n", "400"},
		"length twice":             {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "400"},
		"lengths that differ":      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", "400"},
		"list of lengths":          {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", "400"},
		"negative length":          {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"},
		"length with a sign":       {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", "400"},
		"hex length":               {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx", "400"},
		"huge length":              {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx", "400"},
		"empty length":             {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", "400"},
		"length and coding":        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		"coding twice":             {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 501"},
		"coding identity":          {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", "400 501"},
		"coding gzip, chunked":     {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400 501"},
		"coding chunked, identity": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400 501"},
		"coding xchunked":          {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400 501"},
		"coding with a tab":        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "400 501"},
		"coding in HTTP/1.0":       {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		"no host":                  {"GET / HTTP/1.1\r\n\r\n", "400"},
		"two hosts":                {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"},
		"empty host":               {"GET / HTTP/1.1\r\nHost: \r\n\r\n", "400"},
		"user in host":             {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"},
		"list of hosts":            {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400"},
		"host with a bracket":      {"GET / HTTP/1.1\r\nHost: a<b\r\n\r\n", "400"},
		"port out of range":        {"GET / HTTP/1.1\r\nHost: a:99999999\r\n\r\n", "400"},
		"host outside ASCII":       {"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n", "400"},
		"target against host":      {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"user in target":           {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"other scheme":             {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"path above the root":      {"GET /../a HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"escaped path above root":  {"GET /%2e%2e/a HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"NUL in path":              {"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"slash escaped":            {"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"fragment":                 {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"CONNECT":                  {"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "405 501"},
		"TRACE":                    {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405 501"},
		"method outside ASCII":     {"G\xc5T / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"method with a comma":      {"GET,POST / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"HTTP/2.0":                 {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505"},
		"HTTP/0.9":                 {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "505"},
		"HTTP/1.9":                 {"GET / HTTP/1.9\r\nHost: a\r\n\r\n", "505"},
		"http/1.1 in lower case":   {"GET / http/1.1\r\nHost: a\r\n\r\n", "400 505"},
		"no version":               {"GET /\r\nHost: a\r\n\r\n", "400"},
		"two spaces":               {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"asterisk":                 {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"method with a bracket":    {"G<T / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"unknown expectation":      {"POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx", "417"},
		"upgrade with a body":      {"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx", "400"},
		"head too large":           {"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", "431"},
		"too many fields":          {"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: b\r\n", 120) + "\r\n", "431"},
		"target too long":          {"GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414"},
	} {
		t.Run(name, func(t *testing.T) {
			c := g.dial(t).send(test.raw)
			resp, _, _ := c.answer("GET")
			if !strings.Contains(test.status, fmt.Sprint(resp.StatusCode)) {
				t.Errorf("status %d, want %s", resp.StatusCode, test.status)
			}
			if resp.Header.Get("X-Meshgw-Error") == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("header %v is not that of an error of the gateway's own", resp.Header)
			}
			if more := c.rest(); more != "" {
				t.Errorf("then %q", more)
			}
		})
	}
	if seen := up.seen(); len(seen) > 0 {
		t.Errorf("the upstream saw %q", seen)
	}
}

// A streamed body that is malformed is refused with 400 and not completed.
func TestMalformedChunksAreNotCompleted(t *testing.T) {
	for name, body := range map[string]string{
		"cut at a chunk's border": "5\r\nhello\r\n",
		"cut inside a chunk":      "5\r\nhel",
		"bad size":                "5\r\nhello\r\nzz\r\n",
		"size too large":          "FFFFFFFFFFFFFFFFF\r\nx",
		"negative size":           "-1\r\nx\r\n0\r\n\r\n",
		"no CRLF behind a chunk":  "5\r\nhelloXX0\r\n\r\n",
		"bad trailer":             "5\r\nhello\r\n0\r\nX a: b\r\n\r\n",
		"forbidden trailer":       "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
		"LF in an extension":      "5;a\nb\r\nhello\r\n0\r\n\r\n",
		"CR in an extension":      "5;a\rb\r\nhello\r\n0\r\n\r\n",
		"NUL in an extension":     "5;\x00\r\nhello\r\n0\r\n\r\n",
		"endless extension":       "5;" + strings.Repeat("a", 70_000) + "\r\nhello\r\n0\r\n\r\n",
		"LF ends a size":          "5\nhello\r\n0\r\n\r\n",
		"LF ends a chunk":         "5\r\nhello\n0\r\n\r\n",
		"LF ends the last size":   "5\r\nhello\r\n0\n\r\n",
		"LF ends the trailers":    "5\r\nhello\r\n0\r\n\n",
		"LF ends a trailer":       "5\r\nhello\r\n0\r\nA: b\n\r\n",
		"endless trailers":        "5\r\nhello\r\n0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 20) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			up := startRecorder(t, nil)
			g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
			c := g.dial(t).send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
			c.Conn.(*net.TCPConn).CloseWrite()
			resp, _, _ := c.answer("POST")
			if resp.StatusCode != 400 {
				t.Errorf("status %d, want 400", resp.StatusCode)
			}
			g.stop()
			if got := up.bytes(); strings.Contains(got, "0\r\n\r\n") {
				t.Errorf("the upstream got a whole request: %q", got)
			}
			for _, e := range g.Upstreams() {
				if e.State != "closed" {
					t.Errorf("endpoint is %s for the client's fault", e.State)
				}
			}
		})
	}
}

func TestBodyCutShortIsNotCompleted(t *testing.T) {
	for _, length := range []int{100, 100_000} {
		up := startRecorder(t, nil)
		g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
		c := g.dial(t).send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nhello", length))
		c.Conn.(*net.TCPConn).CloseWrite()
		if resp, _, _ := c.answer("POST"); resp.StatusCode != 400 {
			t.Errorf("length %d: status %d, want 400", length, resp.StatusCode)
		}
		g.stop()
	}
}

func TestHopByHopFieldsStayBehind(t *testing.T) {
	up := startRecorder(t, always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n"+
		"Proxy-Authenticate: Basic\r\nX-Meshgw-Error: fake\r\nX-Kept: 1\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n\r\nok"))
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	resp, _, _ := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Drop, close, Content-Length\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n" +
		"Proxy-Authorization: x\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nX-Meshgw-Route: fake\r\nX_Under: 1\r\nX-Real-IP: 6.6.6.6\r\n" +
		"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil\r\nX-Kept: 1\r\n\r\n").answer("GET")
	head := strings.ToLower(up.seen()[0])
	for _, name := range []string{"x-drop", "keep-alive", "proxy-", "deflate", "upgrade", "http2", "x-meshgw", "under", "6.6.6.6", "gopher", "evil", "close"} {
		if strings.Contains(head, name) {
			t.Errorf("upstream saw %q in %q", name, head)
		}
	}
	if !strings.Contains(head, "x-kept: 1") || !strings.Contains(head, "te: trailers\r\n") {
		t.Errorf("upstream saw %q", head)
	}
	for _, name := range []string{"X-Secret", "Keep-Alive", "Proxy-Authenticate", "X-Meshgw-Error"} {
		if resp.Header.Get(name) != "" {
			t.Errorf("client saw %s", name)
		}
	}
	if resp.Header.Get("X-Kept") != "1" || resp.Header.Get("Date") != "Tue, 15 Nov 1994 08:12:31 GMT" {
		t.Errorf("client saw %v", resp.Header)
	}
}

// What is matched is what is forwarded.
func TestCanonicalTargetIsForwarded(t *testing.T) {
	for raw, want := range map[string]string{
		"GET /a/../b//c?x=/../ HTTP/1.1\r\nHost: Example.COM:8080\r\n\r\n": "GET /b/c?x=/../ HTTP/1.1\r\nhost: Example.COM:8080\r\n",
		"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n":                       "GET /x HTTP/1.1\r\nhost: a\r\n",
		"GET /%7euser/%c3%a9 HTTP/1.1\r\nHost: a\r\n\r\n":                  "GET /~user/%C3%A9 HTTP/1.1\r\nhost: a\r\n",
		"GET / HTTP/1.0\r\n\r\n":                                           "GET / HTTP/1.1\r\nhost: 127.0.0.1:",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi":        "POST / HTTP/1.1\r\nhost: a\r\n",
	} {
		up := startRecorder(t, nil)
		g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
		resp, _, _ := g.dial(t).send(raw).answer("GET")
		if seen := up.seen(); resp.StatusCode != 200 || len(seen) != 1 || !strings.HasPrefix(seen[0], want) {
			t.Errorf("%q: status %d, upstream saw %q, want %q", raw, resp.StatusCode, seen, want)
		}
	}
}

// Answers that two parsers could read differently never reach the client.
func TestAmbiguousAnswersAreRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"length twice":         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"length and coding":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"bad length":           "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok",
		"coding gzip":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
		"unasked 101":          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
		"folded field":         "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
		"space before colon":   "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
		"bare LF":              "HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n",
		"no status":            "HTTP/1.1\r\n\r\n",
		"status out of range":  "HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/2":               "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/0.9":             "ok\r\n\r\n",
		"NUL in a value":       "HTTP/1.1 200 OK\r\nX-A: \x00\r\nContent-Length: 2\r\n\r\nok",
		"head without end":     "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 80<<10),
		"closed in the head":   "HTTP/1.1 200 OK\r\nX-A: b\r\n",
		"interim without end":  strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 30),
		"too many fields":      "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", 200) + "\r\n",
		"coding in HTTP/1.0":   "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"carriage return only": "HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			up := startRecorder(t, once(raw))
			g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
			resp, _, _ := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
			if resp.StatusCode != 502 || resp.Header.Get("X-Meshgw-Error") != "upstream_reset" {
				t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
			}
			if n := len(up.seen()); n != 1 {
				t.Errorf("the upstream was asked %d times", n)
			}
		})
	}
}

// Bytes behind an answer are nobody's next answer, whether they come with it or later.
func TestUnaskedBytesAreNotTheNextAnswer(t *testing.T) {
	const ok, evil = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, test := range map[string]struct {
		request, answer string
		pause           time.Duration // until the next request
	}{
		"with it":               {get, ok + evil, 0},
		"later":                 {get, ok, 7 * time.Millisecond},
		"a body for HEAD":       {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n", 0},
		"a body for 304":        {get, "HTTP/1.1 304 Not Modified\r\n\r\n", 0},
		"a body as a request":   {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", ok, 0},
		"a stream as a request": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", ok, 0},
	} {
		t.Run(name, func(t *testing.T) {
			finished, sent := make(chan struct{}), make(chan struct{})
			finish := sync.OnceFunc(func() { close(finished) })
			up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
				if !strings.Contains(head, "first") {
					return okay(head, c, r)
				}
				if strings.Contains(strings.ToLower(head), "transfer-encoding") {
					_, _ = io.CopyN(io.Discard, r, int64(len("2\r\nhi\r\n0\r\n\r\n")))
				}
				io.WriteString(c, test.answer)
				<-finished
				io.WriteString(c, evil)
				close(sent)
				return true
			})
			t.Cleanup(finish)
			g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
			c := g.dial(t)
			method, rest, _ := strings.Cut(test.request, " / ")
			c.send(method + " /first " + rest).answer(method)
			waitFor(t, func() bool { return g.Load().Inflight == 0 }) // its connection is idle
			finish()
			<-sent
			time.Sleep(test.pause)
			if _, body, _ := c.send(get).answer("GET"); body != "ok" {
				t.Errorf("body %q", body)
			}
		})
	}
}

func TestUpgradeThatIsNotAllowedIsServedWithout(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	resp, _, _ := g.dial(t).send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n").answer("GET")
	if resp.StatusCode != 200 || strings.Contains(strings.ToLower(up.seen()[0]), "upgrade") {
		t.Errorf("status %d, upstream saw %q", resp.StatusCode, up.seen())
	}
}

func TestOptionsGoAsFarAsTheyMay(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t)
	for hops, seen := range map[string]int{"0": 0, "3": 1} {
		before := len(up.seen())
		resp, _, _ := c.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: " + hops + "\r\n\r\n").answer("OPTIONS")
		heads := up.seen()
		if resp.StatusCode != 200 || len(heads)-before != seen || (resp.Header.Get("Allow") != "") != (hops == "0") {
			t.Errorf("%s hops: %d, %v, upstream saw %q", hops, resp.StatusCode, resp.Header, heads[before:])
		}
		if seen == 1 && !strings.Contains(heads[before], "max-forwards: 2\r\n") {
			t.Errorf("upstream saw %q", heads[before])
		}
	}
}
