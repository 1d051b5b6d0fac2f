package dataplane_test

import (
	"bufio"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

func TestChecksTakeEndpointsOutAndBack(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		if sick.Load() && strings.HasPrefix(head, "GET /healthz ") {
			return always("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")(head, c, r)
		}
		return okay(head, c, r)
	})
	other := startRecorder(t, nil)
	spec := toUpstream(up.addr, other.addr)
	spec.Upstreams[0].HealthCheck = &routetable.HealthCheck{Path: "/healthz", Interval: routetable.Duration(200 * time.Millisecond), Timeout: routetable.Duration(200 * time.Millisecond)}
	g := startGateway(t, dataplane.Config{}, spec)
	state := func() string { return g.Upstreams()[0].State }
	waitFor(t, func() bool { return len(g.Verdicts()) == 2 })
	sick.Store(true)
	waitFor(t, func() bool { return state() == "unhealthy" })
	waitFor(t, func() bool { // the other is down too for a while if its checks had no CPU
		v := g.Verdicts()
		return v[0].Check == failover.CheckDown && v[1].Check == failover.CheckUp
	})
	sick.Store(false)
	waitFor(t, func() bool { return state() == "closed" })
	waitFor(t, func() bool { return strings.Contains(g.log.String(), `"state":"unhealthy"`) })
}

func TestLastEndpointIsTriedInTheBackground(t *testing.T) {
	var down atomic.Bool
	up := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		return !down.Load() && okay(head, c, r)
	})
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	down.Store(true)
	c := g.dial(t)
	waitFor(t, func() bool {
		resp, _, _ := c.send(get).answer("GET")
		return resp.Header.Get("X-Meshgw-Error") == "circuit_open"
	})
	down.Store(false)
	waitFor(t, func() bool { return g.Upstreams()[0].State == "closed" })
	if resp, _, _ := c.send(get).answer("GET"); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestFrozenEndpointGetsNothingNew(t *testing.T) {
	var frozen atomic.Bool
	release := make(chan struct{})
	ice := startRecorder(t, func(head string, c net.Conn, r *bufio.Reader) bool {
		if frozen.Load() {
			<-release
			return false
		}
		return okay(head, c, r)
	})
	defer close(release)
	g := startGateway(t, dataplane.Config{}, toUpstream(ice.addr, startRecorder(t, nil).addr))
	g.dial(t).send(get).answer("GET")
	frozen.Store(true)
	stop := make(chan struct{})
	defer close(stop)
	for range 8 {
		c := g.dial(t)
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.Write([]byte(get)); err != nil {
					return
				}
				if _, err := readHead(c.r); err != nil {
					return
				}
				c.r.Discard(2)
			}
		}()
	}
	waitFor(t, func() bool { return g.Upstreams()[0].State == "stalled" })
	if resp, _, _ := g.dial(t).send(get).answer("GET"); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
}
