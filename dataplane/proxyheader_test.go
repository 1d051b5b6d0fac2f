package dataplane_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/dataplane/edgetls"
	"github.com/meshgw/meshgw/routetable"
)

const proxyLine = "PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n"

// balanced takes all of loopback for load balancers.
func balanced(more dataplane.Config) dataplane.Config {
	more.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	return more
}

// tellsClient is a spec of one route that tells clients their address.
func tellsClient() *routetable.Spec {
	spec := answering("ok")
	spec.Routes[0].ResponseHeaders = &routetable.HeaderOps{Set: map[string]string{"x-client": "${client.ip}"}}
	return spec
}

func TestClientsBehindALoadBalancerAreKnown(t *testing.T) {
	g := startGateway(t, balanced(dataplane.Config{}), tellsClient())
	for header, want := range map[string]string{proxyLine: "192.0.2.7", "PROXY UNKNOWN\r\n": "127.0.0.1"} {
		c := g.dial(t)
		for i, text := range []string{header[:9], header[9:] + get, get} { // the same for all requests of the connection
			if c.send(text); i == 0 {
				continue
			}
			if resp, _, _ := c.answer("GET"); resp.StatusCode != 200 || resp.Header.Get("x-client") != want {
				t.Errorf("%q: status %d, client %q, want %s", header, resp.StatusCode, resp.Header.Get("x-client"), want)
			}
		}
	}
	if got := g.dial(t).send(get).rest(); got != "" {
		t.Errorf("without a header: %q", got)
	}
	waitFor(t, func() bool {
		return strings.Contains(metricsText(t, g.reg), "meshgw_connections_closed_total{reason=\"proxy_header\"} 1\n") &&
			strings.Contains(g.log.String(), "no header of the PROXY protocol")
	})
}

func TestClientsBehindALoadBalancerAreKnownOverTLSAndHTTP2(t *testing.T) {
	certs, err := edgetls.Load([]edgetls.File{certificateFile(t, "a.test")}, "")
	if err != nil {
		t.Fatal(err)
	}
	g := startSecureGateway(t, balanced(dataplane.Config{}), tellsClient(), certs.Config())
	for _, http2 := range []bool{false, true} {
		client := http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: http2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err == nil {
					_, err = io.WriteString(c, proxyLine)
				}
				return c, err
			},
		}}
		t.Cleanup(client.CloseIdleConnections)
		resp, err := client.Get("https://" + g.addr)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("x-client"); got != "192.0.2.7" || (resp.ProtoMajor == 2) != http2 {
			t.Errorf("client %q by %s", got, resp.Proto)
		}
	}
}

func TestConnectionsBehindALoadBalancerAreCountedByClient(t *testing.T) {
	g := startGateway(t, balanced(dataplane.Config{MaxConnsPerIP: 1}), tellsClient())
	for i := range 3 {
		header := strings.Replace(proxyLine, "192.0.2.7", fmt.Sprintf("192.0.2.%d", i+1), 1)
		first := g.dial(t).send(header + get)
		if resp, _, _ := first.answer("GET"); resp.StatusCode != 200 {
			t.Errorf("client %d: status %d", i, resp.StatusCode)
		}
		if got := g.dial(t).send(header).rest(); got != "" {
			t.Errorf("a second connection of client %d: %q", i, got)
		}
	}
}
