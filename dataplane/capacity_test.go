package dataplane_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

func refuseNormal(s *dataplane.Server) {
	s.SetShedding(failover.Mix{failover.Low: 1, failover.Normal: 1})
}

// Who asks again as soon as he is refused must not take the CPU that is missing.
func TestRefusalForWantOfCPUTakesItsTime(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols() {
		t.Run(protocol, func(t *testing.T) {
			g := startGateway(t, dataplane.Config{}, toUpstream(startRecorder(t, okay).addr))
			refuseNormal(g.Server)
			client := clientOf(t, protocol)
			began := time.Now()
			for range 2 {
				a, _ := client.ask(http.MethodGet, "http://"+g.addr+"/", nil)
				if a.StatusCode != 503 || a.Header.Get("x-meshgw-error") != "overloaded" || a.Header.Get("retry-after") == "" {
					t.Fatalf("%d %v", a.StatusCode, a.Header)
				}
			}
			if took := time.Since(began); took < time.Second {
				t.Errorf("two refusals in %v", took)
			}
		})
	}
}

func TestWhoLeavesBeforeHisRefusalIsForgotten(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, toUpstream(startRecorder(t, okay).addr))
	refuseNormal(g.Server)
	var c *client
	until(t, "a request waits", func() bool {
		if c == nil || g.Load().Inflight == 0 { // its refusal may be over before anybody looks
			c = g.dial(t).send(get)
			time.Sleep(20 * time.Millisecond)
		}
		return g.Load().Inflight > 0
	})
	c.Close()
	until(t, "nobody waits", func() bool { return g.Load().Inflight == 0 })
}

// What would be refused anyway must not be how to get round that.
func TestOtherRefusalsTakeTheirTimeToo(t *testing.T) {
	t.Parallel()
	spec := toUpstream(startRecorder(t, okay).addr)
	spec.Routes[0].Match = []routetable.Match{{PathPrefix: "/here"}}
	g := startGateway(t, dataplane.Config{}, spec)
	ask := func() (status int, took time.Duration) {
		began := time.Now()
		a, _, err := g.dial(t).send("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET")
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, time.Since(began)
	}
	_, quick := ask()
	refuseNormal(g.Server)
	if status, slow := ask(); slow < 400*time.Millisecond || status != 404 {
		t.Errorf("%d after %v, after %v without shedding", status, slow, quick)
	}
}

// A gateway is refused at once: it has others to ask.
func TestGatewayIsRefusedAtOnce(t *testing.T) {
	rec := startRecorder(t, okay)
	eu, us := pair(t, inUS(rec.addr), nil)
	refuseNormal(us.Server)
	least := time.Hour
	for range 5 {
		began := time.Now()
		a, _, err := eu.dial(t).send(get).answer("GET")
		if err != nil || a.StatusCode != 503 {
			t.Fatalf("%v: %d", err, a.StatusCode)
		}
		least = min(least, time.Since(began))
	}
	if least > 400*time.Millisecond {
		t.Errorf("refused after %v at least", least)
	}
}
