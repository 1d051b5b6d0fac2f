package dataplane_test

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// speakers are endpoints that speak HTTP/1.1 and nothing else, by name.
func speakers(t *testing.T) map[string]*httptest.Server {
	t.Helper()
	all := map[string]*httptest.Server{}
	for _, name := range []string{"http1 in clear", "http1 over TLS"} {
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
		up.Config.Protocols = &protocols
		up.Config.ErrorLog = log.New(io.Discard, "", 0)
		if strings.HasSuffix(name, "TLS") {
			up.StartTLS()
		} else {
			up.Start()
		}
		t.Cleanup(up.Close)
		all[name] = up
	}
	return all
}

func TestAnEndpointOfAnotherProtocolIsSaidToBeOne(t *testing.T) {
	all := speakers(t)
	for _, c := range []struct{ protocol, scheme, endpoint, want string }{
		{"h2c", "http", "http1 in clear", "It seems not to speak HTTP/2: its upstream should have protocol: http1."},
		{"http1", "https", "http1 in clear", "It seems not to speak TLS: its url should begin with http://."},
		{"h2", "https", "http1 in clear", "It seems not to speak TLS: its url should begin with http://."},
		{"h2", "https", "http1 over TLS", "It does not offer HTTP/2 over TLS: its upstream should have protocol: http1."},
	} {
		t.Run(c.protocol+" by "+c.scheme+" to "+c.endpoint, func(t *testing.T) {
			spec := toUpstream(all[c.endpoint].Listener.Addr().String())
			spec.Upstreams[0].Protocol = c.protocol
			spec.Upstreams[0].Endpoints[0].URL = c.scheme + "://" + all[c.endpoint].Listener.Addr().String()
			spec.Upstreams[0].CircuitBreaker = &routetable.CircuitBreaker{ConsecutiveFailures: 1}
			g := startGateway(t, dataplane.Config{}, spec)
			a, body, _ := g.dial(t).send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer("GET")
			var problem struct{ Detail string }
			if err := json.Unmarshal([]byte(body), &problem); err != nil || a.StatusCode != 502 || !strings.HasSuffix(problem.Detail, c.want) {
				t.Errorf("got %d %q", a.StatusCode, body)
			}
			said := strings.ToLower(c.want[:1]) + strings.TrimSuffix(c.want[1:], ".")
			until(t, "it is in the log", func() bool { return strings.Contains(g.log.String(), `"reason":"`+said) })
			until(t, "it is in the status", func() bool { return strings.Contains(g.Upstreams()[0].Reason, said) })
		})
	}
}

// An endpoint that speaks first in HTTP/2, as those of gRPC do, or answers an alert
// to what is no TLS is known by that. Those that say nothing are not.
func TestWhatAnEndpointSaysFirstTellsItsProtocol(t *testing.T) {
	for _, c := range []struct{ name, protocol, says, want string }{
		{"SETTINGS", "http1", "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00", "It seems to speak HTTP/2: its upstream should have protocol: h2c, or h2 with https://."},
		{"alert", "http1", "\x15\x03\x01\x00\x02\x02\x46", "It seems to speak TLS: its url should begin with https://."},
		{"HTML", "h2c", "<!DOCTYPE HTML>", "It seems not to speak HTTP/2: its upstream should have protocol: http1."},
		{"alert", "h2c", "\x15\x03\x01\x00\x02\x02\x46", "It seems to speak TLS: its url should begin with https://."},
	} {
		t.Run(c.name+" to "+c.protocol, func(t *testing.T) {
			spec := toUpstream(speaker(t, c.says))
			spec.Upstreams[0].Protocol = c.protocol
			g := startGateway(t, dataplane.Config{}, spec)
			_, body, _ := g.dial(t).send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer("GET")
			if !strings.Contains(body, c.want) {
				t.Errorf("got %s", body)
			}
		})
	}
}

// speaker says text on every connection and waits for its end.
func speaker(t *testing.T, text string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				io.WriteString(c, text)
				io.Copy(io.Discard, c)
				c.Close()
			})
		}
	})
	return ln.Addr().String()
}
