package dataplane

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// A retry that has become the probe of a half-open endpoint is sent there: nobody else
// may probe it before the outcome is known.
func TestARetryThatClaimedAProbeIsTheProbe(t *testing.T) {
	s := New(Config{Region: "eu"}, zerolog.Nop(), prometheus.NewRegistry())
	table, problems := routetable.Compile(&routetable.Spec{
		Upstreams: []routetable.Upstream{{
			Name: "up", Failover: &routetable.Failover{Via: "direct"},
			Endpoints: []routetable.Endpoint{{URL: "http://10.0.0.1", Region: "eu"}, {URL: "http://10.0.0.2", Region: "eu"}, {URL: "http://10.0.0.3", Region: "us"}},
		}},
		Routes: []routetable.Route{{Name: "all", Upstream: "up"}},
	})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	s.Publish(table)
	u := s.plan.Load().upstreams[0]
	silent, sibling := u.endpoints[0], u.endpoints[1]
	stalled := &failure{reason: routetable.RetryStalled}
	retry := func() *endpoint {
		x := &Exchange{scratch: &scratch{tried: []*failover.Endpoint{silent.state}}, target: &liveTarget{upstream: u}}
		x.attempts, x.upstream = u.Attempts-1, time.Second
		e, err := s.pickAgain(x, stalled)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := retry(); e.near {
		t.Errorf("beside a sibling as silent it goes to %s", e.address.URL)
	}
	sibling.state.Tried(time.Now().Add(-time.Hour), failover.ConnectFailed)
	if state := sibling.state.State(time.Now()); state.Status != failover.HalfOpen {
		t.Fatalf("the sibling is %v", state)
	}
	if e := retry(); e != sibling {
		t.Errorf("it claimed the probe of %s, and goes to %s", sibling.address.URL, e.address.URL)
	}
}
