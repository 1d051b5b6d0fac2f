package dataplane_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// startHTTP2Upstream starts an endpoint that speaks HTTP/2 in clear and nothing
// else.
func startHTTP2Upstream(t *testing.T, handler http.HandlerFunc) (spec *routetable.Spec) {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	up := httptest.NewUnstartedServer(handler)
	up.Config.Protocols = &protocols
	up.Start()
	t.Cleanup(up.Close)
	spec = toUpstream(strings.TrimPrefix(up.URL, "http://"))
	spec.Upstreams[0].Protocol = "h2c"
	return spec
}

// clientOf is a client that speaks protocol.
func clientOf(tb testing.TB, protocol string) httpClient {
	tb.Helper()
	if protocol == "HTTP/2" {
		return overHTTP2(tb)
	}
	transport := &http.Transport{DisableCompression: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return httpClient{&http.Client{Transport: transport, Timeout: patience}, tb}
}

// bothProtocols is what clients speak.
func bothProtocols() []string { return []string{"HTTP/1.1", "HTTP/2"} }

func TestEndpointThatSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols() {
		t.Run(protocol, func(t *testing.T) {
			client := clientOf(t, protocol)
			conns := atomic.Int64{}
			spec := startHTTP2Upstream(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.Header().Set("X-Seen", r.Method+" "+r.RequestURI+" "+r.Host+" "+r.Proto)
				w.Header().Set("Content-Type", "text/plain")
				if r.URL.Path == "/trailers" {
					w.(http.Flusher).Flush() // of unknown length, else HTTP/1.1 has no place for trailers
					w.Header().Set(http.TrailerPrefix+"X-Down", "1")
				}
				fmt.Fprintf(w, "%d %s", len(body), r.Trailer.Get("X-Up"))
			})
			g := startGateway(t, dataplane.Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				conns.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			}}, spec)
			for _, size := range []int{0, 1, 8 << 10, 8<<10 + 1, 1 << 20} {
				a, body := client.ask("POST", "http://"+g.addr+"/a/../b%41?c=d", strings.NewReader(strings.Repeat("x", size)))
				if body != fmt.Sprintf("%d ", size) || a.Header.Get("X-Seen") != "POST /bA?c=d "+g.addr+" HTTP/2.0" {
					t.Errorf("%d bytes: %q, %v", size, body, a.Header)
				}
			}
			a, _ := client.ask("HEAD", "http://"+g.addr+"/", nil)
			if a.StatusCode != 200 || a.ContentLength != 2 {
				t.Errorf("HEAD: %+v", a)
			}
			a, _ = client.ask("GET", "http://"+g.addr+"/trailers", nil)
			if a.Trailer.Get("X-Down") != "1" {
				t.Errorf("trailers: %v", a.Trailer)
			}
			req, _ := http.NewRequest("POST", "http://"+g.addr+"/", io.MultiReader(strings.NewReader("abc")))
			req.Trailer = http.Header{"X-Up": []string{"7"}}
			if _, body := client.do(req); body != "3 7" {
				t.Errorf("trailers of a request: %q", body)
			}
			if n := conns.Load(); n != 1 {
				t.Errorf("%d connections to the endpoint, want 1", n)
			}
		})
	}
}

func TestInterimAnswersOfEndpointsOverHTTP2Pass(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, startHTTP2Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			w.Header().Set("Link", fmt.Sprintf("</%d>", i))
			w.WriteHeader(103)
		}
		if r.URL.Path == "/endless" {
			for range 100 {
				w.WriteHeader(103)
			}
			return // the stream has been reset: net/http may still be at the fields
		}
		w.Header().Del("Link")
		fmt.Fprint(w, "ok")
	}))
	for _, protocol := range bothProtocols() {
		client := clientOf(t, protocol)
		for path, want := range map[string]int{"/": 200, "/endless": 502} {
			var hints []string
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(status, h["Link"]))
				return nil
			}})
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+g.addr+path, nil)
			a, _ := client.do(req)
			if a.StatusCode != want || len(hints) < 3 || fmt.Sprint(hints[:3]) != "[103 [</0>] 103 [</1>] 103 [</2>]]" || want == 200 && len(hints) > 3 {
				t.Errorf("%s of %s: %d after %d: %v", path, protocol, a.StatusCode, len(hints), hints)
			}
		}
	}
}

func TestEndpointOverHTTP2IsToldThatTheClientLeft(t *testing.T) {
	begun, told := make(chan struct{}, 2), make(chan struct{}, 2)
	spec := startHTTP2Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/streams" {
			io.WriteString(w, "begin")
			w.(http.Flusher).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
		told <- struct{}{}
	})
	g := startGateway(t, dataplane.Config{}, spec)
	leaves(t, g, begun, told)
}

func TestSilentEndpointOverHTTP2TimesOut(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols() {
		t.Run(protocol, func(t *testing.T) {
			client := clientOf(t, protocol)
			spec := startHTTP2Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			})
			response := routetable.Duration(500 * time.Millisecond) // a connection is opened in it too
			spec.Upstreams[0].Timeouts = &routetable.Timeouts{Response: &response, Connect: &response}
			g := startGateway(t, dataplane.Config{}, spec)
			for _, size := range []int{0, 100, 100_000} {
				a, _ := client.ask("POST", "http://"+g.addr+"/", strings.NewReader(strings.Repeat("x", size)))
				if a.StatusCode != 504 || a.Header.Get("x-meshgw-error") != "upstream_timeout" {
					t.Errorf("%d bytes: %d %v", size, a.StatusCode, a.Header)
				}
			}
		})
	}
}

func TestDeadEndpointOverHTTP2(t *testing.T) {
	for _, protocol := range bothProtocols() {
		t.Run(protocol, func(t *testing.T) {
			client := clientOf(t, protocol)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			dead := ln.Addr().String()
			ln.Close()
			spec := startHTTP2Upstream(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
			spec.Upstreams[0].Endpoints = append(spec.Upstreams[0].Endpoints, routetable.Endpoint{URL: "http://" + dead})
			g := startGateway(t, dataplane.Config{}, spec)
			for range 10 {
				if a, body := client.ask("POST", "http://"+g.addr+"/", strings.NewReader("x")); a.StatusCode != 200 || body != "ok" {
					t.Fatalf("%d %q: a request that reached nobody was not sent elsewhere", a.StatusCode, body)
				}
			}
		})
	}
}

func TestUploadThatIsTooLargeIsCutOffOverHTTP2(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols() {
		t.Run(protocol, func(t *testing.T) {
			client := clientOf(t, protocol)
			saw := make(chan error, 1)
			spec := startHTTP2Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				saw <- err
			})
			limit := routetable.Bytes(10_000)
			spec.Routes[0].MaxBody = &limit
			g := startGateway(t, dataplane.Config{}, spec)
			a, _ := client.ask("POST", "http://"+g.addr+"/", io.MultiReader(strings.NewReader(strings.Repeat("x", 50_000))))
			if a.StatusCode != 413 {
				t.Errorf("status %d", a.StatusCode)
			}
			if err := <-saw; err == nil {
				t.Error("the endpoint took the part for the whole")
			}
		})
	}
}

// An endpoint that is not spoken to in its own protocol is refused plainly.
func TestEndpointThatSpeaksNoHTTP2(t *testing.T) {
	up := startRecorder(t, func(_ string, c net.Conn, _ *bufio.Reader) bool {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
		return false
	})
	spec := toUpstream(up.addr)
	spec.Upstreams[0].Protocol = "h2c"
	g := startGateway(t, dataplane.Config{}, spec)
	a, _ := overHTTP2(t).ask("GET", "http://"+g.addr+"/", nil)
	if a.StatusCode != 502 {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

// A connection that dies while it is being opened is one error more, however
// often and at whatever moment it does.
func TestEndpointThatHangsUpOnHTTP2(t *testing.T) {
	up := startRecorder(t, func(string, net.Conn, *bufio.Reader) bool { return false })
	spec := toUpstream(up.addr)
	spec.Upstreams[0].Protocol = "h2c"
	spec.Upstreams[0].CircuitBreaker = &routetable.CircuitBreaker{Enabled: new(false)}
	g := startGateway(t, dataplane.Config{}, spec)
	client := overHTTP2(t)
	for range 200 {
		if a, _ := client.ask("GET", "http://"+g.addr+"/", nil); a.StatusCode != 502 {
			t.Fatalf("%d %v", a.StatusCode, a.Header)
		}
	}
}
