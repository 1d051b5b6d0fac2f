package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// narrow starts a node that may open few descriptors more than it has, in front
// of a service that answers /large with a lot and /held when let go.
func narrow(t *testing.T) (a *process, letGo func()) {
	t.Helper()
	held := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(make([]byte, 64<<20))
		case "/held":
			<-held
		}
	}))
	t.Cleanup(service.Close)
	t.Cleanup(service.CloseClientConnections)
	w := newWorld(t)
	a = w.start("a", "--access-log", "off", "--routes", w.routeFile("routes.yaml", "/", service.URL))
	serve(t, a)
	before := a.limitFiles(uint64(a.openFiles() + 60))
	t.Cleanup(func() { a.limitFiles(before) })
	letGo = sync.OnceFunc(func() { close(held) })
	t.Cleanup(letGo) // before the service closes, which waits for its answers
	return a, letGo
}

// caller is a client that keeps its connection.
type caller struct {
	net.Conn
	in *bufio.Reader
}

// call connects and sends some bytes.
func (p *process) call(t *testing.T, text string) *caller {
	t.Helper()
	c, err := net.DialTimeout("tcp", p.listen.HTTP, 10*time.Second)
	if err == nil {
		_, err = io.WriteString(c, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &caller{Conn: c, in: bufio.NewReader(c)}
}

// answered reads an answer with its body and returns its status.
func (c *caller) answered() (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	start, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("answered %s: %s", resp.Status, start)
	}
	return resp.StatusCode, err
}

func asking(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

// newcomers has so many clients come, one after the other, that keep their
// connections. All must be served; it returns how long each waited, in order.
func (p *process) newcomers(t *testing.T, n int) (all []*caller, waits []time.Duration) {
	t.Helper()
	for i := range n {
		began := time.Now()
		c := p.call(t, asking("/"))
		if status, err := c.answered(); status != http.StatusOK || err != nil {
			t.Fatalf("newcomer %d: %d, %v", i, status, err)
		}
		all, waits = append(all, c), append(waits, time.Since(began))
	}
	slices.Sort(waits)
	return all, waits
}

func (p *process) closed(reason string) float64 {
	return p.metric(fmt.Sprintf("meshgw_connections_closed_total{reason=%q}", reason))
}

// Whoever opens connections to the ports for operators leaves room for clients.
func TestConnectionsOfOperatorsLeaveRoomForClients(t *testing.T) {
	a, _ := narrow(t)
	a.limitFiles(uint64(a.openFiles() + 256 + 64 + 60))
	for _, addr := range []string{a.listen.Admin, a.listen.RPC} {
		for range 500 {
			c, err := net.DialTimeout("tcp", addr, 10*time.Second) // the kernel accepts what the node does not
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	eventually(t, patience, "the node has accepted them", func() error {
		if open := a.openFiles(); open < 256+64 {
			return fmt.Errorf("%d files are open", open)
		}
		return nil
	})
	_, waits := a.newcomers(t, 100)
	if waits[99] > 8*time.Second {
		t.Errorf("served after %v", waits[99])
	}
}

// Where descriptors run out, those who have been idle for longest make room. Who
// comes is served at once, and who is being served goes on.
func TestIdleConnectionsMakeRoomForNewClients(t *testing.T) {
	a, letGo := narrow(t)
	busy := a.call(t, asking("/held"))
	all, waits := a.newcomers(t, 300)
	t.Logf("300 clients, room for some 50: served after %v p50, %v p99, %v at most", waits[150], waits[297], waits[299])
	if waits[297] > 8*time.Second { // ms on a machine of its own: see below for who dawdles
		t.Errorf("served after %v p99", waits[297])
	}
	if idle, slow := a.closed("idle"), a.closed("slow"); idle < 200 || slow != 0 {
		t.Errorf("closed %v idle ones and %v slow ones, want 200 at least and none", idle, slow)
	}
	letGo()
	if status, err := busy.answered(); status != http.StatusOK || err != nil {
		t.Errorf("the client that waited for its answer: %d, %v", status, err)
	}
	for name, c := range map[string]*caller{"first": all[0], "last": all[299]} {
		_, _ = io.WriteString(c, asking("/"))
		if status, err := c.answered(); (status == http.StatusOK) != (name == "last") {
			t.Errorf("the %s client asks again: %d, %v", name, status, err)
		}
	}
}

// Clients that dawdle over a head, a body or an answer cannot keep others out.
func TestSlowClientsMakeRoomForNewOnes(t *testing.T) {
	t.Parallel()
	a, letGo := narrow(t)
	busy := a.call(t, asking("/held"))
	reading := a.call(t, asking("/large"))
	done := make(chan error, 1)
	go func() { // slowly, and yet not as those
		buf, total, pause := make([]byte, 1<<20), 0, time.Duration(0)
		for range 30 {
			began := time.Now()
			time.Sleep(100 * time.Millisecond)
			pause = max(pause, time.Since(began))
			n, err := io.ReadFull(reading, buf)
			if total += n; err != nil && pause < time.Second { // else it is one of those, for want of CPU
				done <- fmt.Errorf("after %d bytes: %w", total, err)
				return
			}
		}
		done <- nil
	}()
	for range 20 {
		a.call(t, strings.TrimSuffix(asking("/"), "\r\n"))
		a.call(t, asking("/large"))
		a.call(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx")
	}
	_, waits := a.newcomers(t, 100)
	t.Logf("100 clients among 60 slow ones: served after %v p50, %v at most", waits[50], waits[99])
	if waits[99] > 20*time.Second { // 2 to 3 s as a rule: slow is who dawdles for one
		t.Errorf("served after %v", waits[99])
	}
	if slow := a.closed("slow"); slow == 0 { // as many as were in the way: the newcomers make room for each other
		t.Error("closed no slow ones")
	}
	letGo()
	if status, err := busy.answered(); status != http.StatusOK || err != nil {
		t.Errorf("the client that waited for its answer: %d, %v", status, err)
	}
	if err := <-done; err != nil {
		t.Errorf("the client that took its answer: %v", err)
	}
}
