package dataplane_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// laborious is a listener whose handshakes take their time, and share it, as on a
// machine that has much to do.
type laborious struct {
	net.Listener
	work  time.Duration // of a handshake alone
	begun atomic.Int64  // handshakes under way
}

// handshake takes as long as the work does among all that there are.
func (l *laborious) handshake() {
	const step = 5 * time.Millisecond
	defer l.begun.Add(-1)
	for left, all := l.work, l.begun.Add(1); left > 0; all = l.begun.Load() {
		time.Sleep(step)
		left -= step / time.Duration(all)
	}
}

func (l *laborious) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &laboriousConn{Conn: c, listener: l}, nil
}

type laboriousConn struct {
	net.Conn
	listener *laborious
	once     sync.Once
}

func (c *laboriousConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.once.Do(c.listener.handshake) // the client's hello has come
	return n, err
}

// A crowd that comes at once is served, though not all of its connections could be
// opened in time.
func TestACrowdIsServedThoughHandshakesTakeTheirTime(t *testing.T) {
	file := certificateFile(t, "up.test")
	pair, err := tls.LoadX509KeyPair(file.Cert, file.Key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &laborious{Listener: ln, work: 20 * time.Millisecond}
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}},
	}
	go func() { _ = server.ServeTLS(slow, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	spec := toUpstream()
	connect := routetable.Duration(2 * time.Second)
	u := &spec.Upstreams[0]
	u.Endpoints = []routetable.Endpoint{{URL: "https://" + ln.Addr().String()}}
	u.TLS = &routetable.UpstreamTLS{CA: file.Cert, ServerName: "up.test"}
	u.Timeouts = &routetable.Timeouts{Connect: &connect}
	g := startGateway(t, dataplane.Config{}, spec)
	var clients sync.WaitGroup
	for range 200 { // whose handshakes together take 4 s
		c := g.dial(t)
		clients.Go(func() {
			if resp, body, _ := c.send(get).answer("GET"); resp.StatusCode != 200 {
				t.Errorf("status %d: %s", resp.StatusCode, body)
			}
		})
	}
	clients.Wait()
}
