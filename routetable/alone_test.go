package routetable_test

import (
	"testing"

	"github.com/meshgw/meshgw/routetable"
)

func TestAnUpstreamWithNowhereToGoIsAlone(t *testing.T) {
	in := func(regions ...string) (all []routetable.Endpoint) {
		for _, r := range regions {
			all = append(all, routetable.Endpoint{URL: "http://10.0.0.1", Region: r})
		}
		return all
	}
	drained := append(in("eu"), routetable.Endpoint{URL: "http://10.0.0.2", Region: "us", Weight: new(0)})
	for want, upstreams := range map[string][]routetable.Upstream{
		"it has one endpoint": {
			{Endpoints: in("")}, {Endpoints: in("eu")}, {Endpoints: drained},
		},
		"all its endpoints are in region eu": {{Endpoints: in("eu", "eu")}},
		"none of failover.regions has an endpoint": {
			{Endpoints: in("eu", "us"), Failover: &routetable.Failover{Regions: []string{"apac"}}},
		},
		"": {
			{},
			{Endpoints: in("", "")},
			{Endpoints: []routetable.Endpoint{{URL: "dnssrv+http://_http._tcp.a"}}}, // of how many, only DNS knows
			{Endpoints: in("eu", "")},
			{Endpoints: in("eu", "us")},
			{Endpoints: in("eu"), Failover: &routetable.Failover{Enabled: new(false)}},
			{Endpoints: in("eu", "eu"), Failover: &routetable.Failover{Enabled: new(false)}},
			{Endpoints: in("eu", "us"), Failover: &routetable.Failover{Regions: []string{"apac", "us"}}},
		},
	} {
		for _, u := range upstreams {
			if got := u.Alone(); got != want {
				t.Errorf("%+v: %q, want %q", u, got, want)
			}
		}
	}
}
