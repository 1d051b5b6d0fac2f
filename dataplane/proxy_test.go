package dataplane_test

import (
	"strings"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
)

func TestGetIsForwardedAndAnswered(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	c := g.dial(t)
	for range 3 {
		resp, body, err := c.send("GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-Custom: 1\r\n\r\n").answer("GET")
		if err != nil || resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("got %v, %q, %v", resp, body, err)
		}
		if resp.Header.Get("X-Meshgw-Node") != "n1" || resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("Date") == "" {
			t.Errorf("header %v", resp.Header)
		}
	}
	heads := up.seen()
	if len(heads) != 3 {
		t.Fatalf("upstream saw %d requests", len(heads))
	}
	for _, want := range []string{
		"GET /a?b=c HTTP/1.1\r\n", "\r\nhost: example.com\r\n", "\r\nX-Custom: 1\r\n", "\r\nvia: 1.1 meshgw-n1\r\n",
		"\r\nx-forwarded-for: 127.0.0.1\r\n", "\r\nx-forwarded-proto: http\r\n", "\r\ntraceparent: 00-",
	} {
		if !strings.Contains(heads[0], want) {
			t.Errorf("upstream saw %q, without %q", heads[0], want)
		}
	}
	if line := g.log.String(); !strings.Contains(line, `"route":"all"`) || !strings.Contains(line, `"message":"request"`) {
		t.Errorf("log line %q", line)
	}
}
