package dataplane_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/dataplane/edgetls"
	"github.com/meshgw/meshgw/routetable"
)

// httpClient asks by net/http.
type httpClient struct {
	*http.Client
	t testing.TB
}

// overHTTP2 is a client that speaks HTTP/2 in clear.
func overHTTP2(tb testing.TB) httpClient {
	tb.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DisableCompression: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return httpClient{&http.Client{Transport: transport, Timeout: patience}, tb}
}

// ask sends a request and reads its answer to the end.
func (c httpClient) ask(method, url string, body io.Reader) (Answer, string) {
	c.t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do(req)
}

func (c httpClient) do(req *http.Request) (Answer, string) {
	c.t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read body: %v", err)
	}
	return Answer{resp.StatusCode, resp.Header, resp.Trailer, resp.Close, resp.ContentLength, resp.Proto}, string(body)
}

func TestHTTP2InClearIsServedBesideHTTP1(t *testing.T) {
	t.Parallel()
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	a, body := overHTTP2(t).ask("GET", "http://"+g.addr+"/a/../b?c=d", nil)
	if a.Proto != "HTTP/2.0" || a.StatusCode != 200 || body != "ok" {
		t.Errorf("HTTP/2: %v %d %q", a.Proto, a.StatusCode, body)
	}
	c := g.dial(t)
	a, body, _ = c.send("GET /b HTTP/1.1\r\nHost: " + g.addr + "\r\n\r\n").answer("GET")
	if a.StatusCode != 200 || body != "ok" {
		t.Errorf("HTTP/1.1: %d %q", a.StatusCode, body)
	}
	heads := up.seen()
	if len(heads) != 2 || !strings.HasPrefix(heads[0], "GET /b?c=d HTTP/1.1\r\nhost: "+g.addr+"\r\n") {
		t.Fatalf("upstream saw %q", heads)
	}
	g.stop()
	if log := g.log.String(); !strings.Contains(log, `"protocol":"HTTP/2"`) || !strings.Contains(log, `"protocol":"HTTP/1.1"`) {
		t.Errorf("log: %s", log)
	}
}

func TestHTTP2ByALPN(t *testing.T) {
	up := startRecorder(t, nil)
	g := startTLSGateway(t, toUpstream(up.addr))
	for _, want := range []string{"HTTP/2.0", "HTTP/1.1"} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: want == "HTTP/2.0"}
		a, body := httpClient{&http.Client{Transport: transport}, t}.ask("GET", "https://"+g.addr+"/", nil)
		if a.Proto != want || body != "ok" {
			t.Errorf("%s %q, want %s", a.Proto, body, want)
		}
		transport.CloseIdleConnections()
	}
	for _, head := range up.seen() {
		if !strings.Contains(head, "x-forwarded-proto: https\r\n") {
			t.Errorf("upstream saw %q", head)
		}
	}
}

func startTLSGateway(t *testing.T, spec *routetable.Spec) *gateway {
	t.Helper()
	certs, err := edgetls.Load([]edgetls.File{certificateFile(t, "a.test")}, "")
	if err != nil {
		t.Fatal(err)
	}
	return startSecureGateway(t, dataplane.Config{}, spec, certs.Config())
}

func TestBodiesAndTrailersPassOverHTTP2(t *testing.T) {
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), r)))
		if err != nil {
			return false
		}
		n, err := io.Copy(io.Discard, req.Body)
		if err != nil {
			return false
		}
		text := fmt.Sprintf("%d %s", n, req.Trailer.Get("X-Up"))
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-Down: 1\r\n\r\n", len(text), text)
		return true
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	client := overHTTP2(t)
	for _, size := range []int{1, 5000, 8 << 10, 8<<10 + 1, 3 << 20} {
		a, body := client.ask("POST", "http://"+g.addr+"/", strings.NewReader(strings.Repeat("x", size)))
		if want := fmt.Sprintf("%d ", size); body != want || a.Trailer.Get("X-Down") != "1" {
			t.Errorf("%d bytes: %q with trailers %v", size, body, a.Trailer)
		}
	}
	req, _ := http.NewRequest("POST", "http://"+g.addr+"/", io.MultiReader(strings.NewReader("abc")))
	req.Trailer = http.Header{"X-Up": []string{"7"}}
	if _, body := client.do(req); body != "3 7" {
		t.Errorf("unknown length: %q", body)
	}
}

func TestAnswerCutShortResetsItsStreamAlone(t *testing.T) {
	up := startRecorder(t, func(head string, c net.Conn, _ *bufio.Reader) bool {
		if strings.HasPrefix(head, "GET /whole") {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			return true
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		return false
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	client := overHTTP2(t)
	resp, err := client.Get("http://" + g.addr + "/cut")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("an answer cut short looks whole")
	}
	if _, body := client.ask("GET", "http://"+g.addr+"/whole", nil); body != "ok" {
		t.Errorf("after it: %q", body)
	}
}

// leaves asks over HTTP/2 for what never ends, and resets the stream once the endpoint
// has begun; the endpoint has to be told.
func leaves(t *testing.T, g *gateway, begun, told <-chan struct{}) {
	t.Helper()
	client := overHTTP2(t)
	for _, path := range []string{"/silent", "/streams"} {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+g.addr+path, nil)
		go func() {
			<-begun
			time.Sleep(100 * time.Millisecond) // for an answer to come as far as here
			cancel()
		}()
		if resp, err := client.Do(req); err == nil {
			io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		select {
		case <-told:
		case <-time.After(patience):
			t.Errorf("%s: the endpoint was not told", path)
		}
	}
}

func TestClientThatResetsItsStreamEndsTheExchange(t *testing.T) {
	t.Parallel()
	begun, told := make(chan struct{}, 2), make(chan struct{}, 2)
	up := startRecorder(t, func(head string, c net.Conn, _ *bufio.Reader) bool {
		if strings.HasPrefix(head, "GET /streams") {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
		}
		begun <- struct{}{}
		c.Read(make([]byte, 1)) // returns when the gateway closes
		told <- struct{}{}
		return false
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	leaves(t, g, begun, told)
	g.stop()
	if got := strings.Count(g.log.String(), `"error":"client_gone"`); got != 2 {
		t.Errorf("%d requests with client_gone, want 2: %s", got, g.log.String())
	}
}

func TestDrainLetsStreamsEndAndSendsGoAway(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	up := startRecorder(t, func(_ string, c net.Conn, _ *bufio.Reader) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbeg")
		close(begun)
		<-end
		io.WriteString(c, "in")
		return true
	})
	g := startGateway(t, dataplane.Config{DrainFinish: 2 * patience}, toUpstream(up.addr))
	result := make(chan string, 1)
	client := overHTTP2(t)
	go func() {
		resp, err := client.Get("http://" + g.addr + "/")
		if err != nil {
			result <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		result <- fmt.Sprint(string(body), err)
	}()
	<-begun
	stopped := make(chan struct{})
	go func() { g.stop(); close(stopped) }()
	time.Sleep(50 * time.Millisecond)
	close(end)
	if got := <-result; got != "begin<nil>" {
		t.Errorf("the stream in flight got %s", got)
	}
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Error("Serve does not end")
	}
}

// A certificate that was shown for one host admits nobody to another, over the
// same connection.
func TestCertificateShownForAnotherHostIsMisdirected(t *testing.T) {
	dir := t.TempDir()
	edge := edgetls.File{Cert: dir + "/edge.crt", Key: dir + "/edge.key"}
	writeCertificate(t, edge, "a.test", "b.test")
	own := certificateFile(t, "client.test")
	certs, err := edgetls.Load([]edgetls.File{edge}, own.Cert)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	spec := answering("ok")
	spec.Routes[0].Auth = []routetable.Auth{{MTLS: &struct{}{}}}
	spec.Routes = append(spec.Routes, routetable.Route{Name: "open", Hosts: []string{"c.test"}, Respond: &routetable.Respond{Status: 200}})
	g := startSecureGateway(t, dataplane.Config{}, spec, certs.Config())
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		ServerName: "a.test", InsecureSkipVerify: true, Certificates: []tls.Certificate{pair},
	}}
	defer transport.CloseIdleConnections()
	client := httpClient{&http.Client{Transport: transport}, t}
	for host, want := range map[string]int{"a.test": 200, "A.test:8443": 200, "b.test": 421, "c.test": 200} {
		req, _ := http.NewRequest("GET", "https://"+g.addr+"/", nil)
		req.Host = host
		if a, _ := client.do(req); a.StatusCode != want || a.Proto != "HTTP/2.0" {
			t.Errorf("%s: %d over %s, want %d", host, a.StatusCode, a.Proto, want)
		}
	}
}
