package dataplane_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

func TestChecksByGRPCTakeEndpointsOutAndBack(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, state := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, state)
	go server.Serve(ln)
	t.Cleanup(server.Stop)
	state.SetServingStatus("orders.v1.Orders", healthpb.HealthCheckResponse_SERVING)

	const often = routetable.Duration(200 * time.Millisecond)
	spec := &routetable.Spec{}
	for name, service := range map[string]string{"whole": "", "orders": "orders.v1.Orders", "strange": "nobody.knows.This"} {
		spec.Upstreams = append(spec.Upstreams, routetable.Upstream{
			Name: name, Protocol: "h2c", Endpoints: []routetable.Endpoint{{URL: "http://" + ln.Addr().String()}},
			HealthCheck: &routetable.HealthCheck{GRPC: &routetable.GRPCCheck{Service: service}, Interval: often, Timeout: often},
		})
	}
	g := startGateway(t, dataplane.Config{}, spec)
	are := func(whole, orders, strange string) func() bool {
		want := map[string]string{"whole": whole, "orders": orders, "strange": strange}
		return func() bool {
			for _, e := range g.Upstreams() {
				if e.State != want[e.Upstream] {
					return false
				}
			}
			return true
		}
	}
	waitFor(t, func() bool { return len(g.Verdicts()) == 3 })
	waitFor(t, are("closed", "closed", "unhealthy"))
	state.SetServingStatus("orders.v1.Orders", healthpb.HealthCheckResponse_NOT_SERVING)
	waitFor(t, are("closed", "unhealthy", "unhealthy"))
	waitFor(t, func() bool { // the log says why
		log := g.log.String()
		return strings.Contains(log, "not serving") && strings.Contains(log, `grpc-status \"5\"`)
	})
	state.SetServingStatus("orders.v1.Orders", healthpb.HealthCheckResponse_SERVING)
	waitFor(t, are("closed", "closed", "unhealthy"))
}
