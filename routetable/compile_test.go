package routetable_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable"
)

func TestEveryFieldOfAFileReachesTheTable(t *testing.T) {
	t.Parallel()
	table := compile(t, tabletest.Full(t).Spec)
	s := table.Service("orders")
	want := routetable.Service{
		Name: "orders", Spec: s.Spec,
		Endpoints: []routetable.Address{
			{URL: "http://10.0.1.10:8080", HostPort: "10.0.1.10:8080", Host: "10.0.1.10", Port: 8080, Region: "us", Weight: 100},
			{URL: "https://[2001:db8::1]/base", TLS: true, HostPort: "[2001:db8::1]:443", Host: "2001:db8::1", Port: 443, BasePath: "/base", Region: "eu", Weight: 100},
		},
		Balance: routetable.ConsistentHash, Hash: routetable.Hash{Header: "x-user"},
		Failover: true, Regions: []string{"us", "apac"}, Direct: true,
		Check: &routetable.HealthCheck{
			Path: "/healthz?deep=1", Interval: routetable.Duration(2 * time.Second), Timeout: routetable.Duration(time.Second),
			UnhealthyAfter: 3, HealthyAfter: 2,
		},
		TLS:     routetable.UpstreamTLS{CA: "ca.pem", ServerName: "orders.internal"},
		Breaker: true, ConsecutiveFailures: 4, OpenFor: 20 * time.Second,
		Timeouts: routetable.ServiceTimeouts{Connect: 250 * time.Millisecond, Response: 15 * time.Second, Idle: 5 * time.Minute},
		Attempts: 3, RetryOn: routetable.RetryConnectFailure | routetable.Retry502, RetryBudget: 20,
		MaxConnections: 512,
	}
	if !reflect.DeepEqual(*s, want) {
		t.Errorf("got  %+v\nwant %+v", *s, want)
	}
	if got := table.Service("orders-next").Endpoints[0].HostPort; got != "10.0.1.11:80" {
		t.Errorf("got %s, want the default of ${NEXT}", got)
	}
	r := table.Rules()[1]
	if r.Name != "orders-v1" || r.Index != 1 || r.Weight != 100 || len(r.Targets) != 2 || r.Targets[0].Weight != 90 {
		t.Fatalf("got %+v", r)
	}
	if got, want := r.Targets[0].Timeouts, (routetable.ServiceTimeouts{Connect: 250 * time.Millisecond, Response: 15 * time.Second, Request: 5 * time.Second, Idle: 10 * time.Minute}); got != want {
		t.Errorf("got timeouts %+v, want %+v", got, want)
	}
	edit := &routetable.HeaderEdit{
		Set: []routetable.Field{{Name: "x-env", Value: "prod"}, {Name: "x-literal", Value: "${ENV}"}},
		Add: []routetable.Field{{Name: "via2", Value: "a"}}, Remove: []string{"x-debug"},
	}
	if !reflect.DeepEqual(r.RequestHeaders, edit) {
		t.Errorf("got %+v, want %+v", r.RequestHeaders, edit)
	}
	if r.MaxBody != 1<<20 || table.Rules()[2].MaxBody != 0 || r.Priority != routetable.High || r.Mirror.Percent != 2.5 {
		t.Errorf("got %+v", r)
	}
	if fmt.Sprint(r.Allow) != "[10.0.0.0/8 ::1/128]" || r.Auth[1].APIKey.Header != "x-api-key" || r.ResponseHeaders.Remove[0] != "server" {
		t.Errorf("got %v %+v %+v", r.Allow, r.Auth[1].APIKey, r.ResponseHeaders)
	}
	if !reflect.DeepEqual(r.CORS.Suffixes, []routetable.OriginSuffix{{Scheme: "https://", Suffix: ".example.org:8443"}}) {
		t.Errorf("got %+v", r.CORS)
	}
	daily, per := table.Limits()[0], table.Limits()[1]
	if daily.Burst != 5000 || !daily.PerNode || !daily.AutoWait || daily.Isolated != 0.5 || len(daily.Key) != 0 {
		t.Errorf("got %+v", daily)
	}
	if per.Burst != 200 || per.AutoWait || per.Wait != 0 || !per.OpenAlone || per.Key[1].Header != "x-plan" || r.Limits[0] != per {
		t.Errorf("got %+v", per)
	}
	acme := table.TenantByHeader(fields{header: map[string]string{"x-tenant": "acme"}})
	if acme == nil || acme.Priority != routetable.Critical || acme.N != 1000 {
		t.Errorf("got %+v", acme)
	}
}

func TestConsistentHashKeepsAClientTogetherUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	table := compile(t, &routetable.Spec{Upstreams: []routetable.Upstream{
		{Name: "hashed", Balance: &routetable.Balance{Policy: "consistent_hash"}},
		{Name: "by-path", Balance: &routetable.Balance{Policy: "consistent_hash", Hash: &routetable.Hash{Path: true}}},
		{Name: "random", Balance: &routetable.Balance{Policy: "random"}},
	}})
	for name, want := range map[string]routetable.Hash{"hashed": {ClientIP: true}, "by-path": {Path: true}, "random": {}} {
		if got := table.Service(name).Hash; got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
