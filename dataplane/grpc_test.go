package dataplane_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpccreds "google.golang.org/grpc/credentials"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/dataplane/edgetls"
	"github.com/meshgw/meshgw/internal/grpctest"
	"github.com/meshgw/meshgw/routetable"
)

// overProtocol is a spec of one route to an endpoint that speaks protocol.
func overProtocol(protocol, url string) *routetable.Spec {
	spec := toUpstream()
	spec.Upstreams[0].Protocol = protocol
	spec.Upstreams[0].Endpoints = []routetable.Endpoint{{URL: url}}
	return spec
}

func TestGRPCInteropInClear(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, overProtocol("h2c", "http://"+grpctest.Serve(t)))
	grpctest.Run(t, grpctest.Dial(t, g.addr, nil))
	g.stop() // counted after the answer
	calls := 0
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "meshgw_grpc_calls_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if strings.Contains(m.String(), "UNIMPLEMENTED") {
				calls += int(m.GetCounter().GetValue())
			}
		}
	}
	if calls != 2 {
		t.Errorf("%d calls were counted as not implemented, want 2", calls)
	}
}

func TestGRPCInteropOverTLS(t *testing.T) {
	file := certificateFile(t, "up.test")
	pair, err := tls.LoadX509KeyPair(file.Cert, file.Key)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := edgetls.Load([]edgetls.File{file}, "")
	if err != nil {
		t.Fatal(err)
	}
	spec := overProtocol("h2", "https://"+grpctest.Serve(t, grpc.Creds(grpccreds.NewServerTLSFromCert(&pair))))
	spec.Upstreams[0].TLS = &routetable.UpstreamTLS{CA: file.Cert, ServerName: "up.test"}
	g := startSecureGateway(t, dataplane.Config{}, spec, certs.Config())
	grpctest.Run(t, grpctest.Dial(t, g.addr, &tls.Config{ServerName: "up.test", InsecureSkipVerify: true}))
}

func TestGRPCIsRefusedInItsOwnTerms(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	g := startGateway(t, dataplane.Config{}, overProtocol("h2c", "http://"+ln.Addr().String()))
	tc := testgrpc.NewTestServiceClient(grpctest.Dial(t, g.addr, nil))
	_, err = tc.EmptyCall(t.Context(), &testgrpc.Empty{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "could not be reached") {
		t.Errorf("a dead endpoint: %v", err)
	}
	g.stop()
	if log := g.log.String(); !strings.Contains(log, `"error":"connect_failure","grpc_status":"UNAVAILABLE"`) {
		t.Errorf("log: %s", log)
	}
}

// A service that begins its answers and ends them with UNAVAILABLE is as bad as
// one that says so at once, and one good end among them is one good end.
func TestUnavailableBehindAHeadOpensTheBreaker(t *testing.T) {
	var status atomic.Value
	status.Store("14")
	spec := startHTTP2Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", status.Load().(string))
	})
	g := startGateway(t, dataplane.Config{}, spec)
	client := overHTTP2(t)
	call := func(want string) {
		t.Helper()
		req, _ := http.NewRequest("POST", "http://"+g.addr+"/a/b", strings.NewReader("\x00\x00\x00\x00\x00"))
		req.Header.Set("Content-Type", "application/grpc")
		a, _ := client.do(req)
		if got := a.Trailer.Get("Grpc-Status") + a.Header.Get("X-Meshgw-Error"); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	const most = 5 // in a row, by default
	for range most - 1 {
		call("14")
	}
	status.Store("0")
	call("0")
	status.Store("14")
	for range most {
		call("14")
	}
	call("circuit_open")
}

// A client chooses the deadline of its calls. One too short for any answer says
// nothing of the service, whether there was a connection already or not.
func TestHastyCallsDoNotOpenTheBreaker(t *testing.T) {
	var hasty atomic.Bool
	spec := startHTTP2Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if hasty.Load() {
			<-r.Context().Done() // no answer is soon enough
			return
		}
		time.Sleep(300 * time.Millisecond)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "0")
	})
	g := startGateway(t, dataplane.Config{}, spec)
	client := overHTTP2(t)
	call := func(timeout, want string) {
		t.Helper()
		req, _ := http.NewRequest("POST", "http://"+g.addr+"/a/b", strings.NewReader("\x00\x00\x00\x00\x00"))
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Grpc-Timeout", timeout)
		a, _ := client.do(req)
		if got := a.Header.Get("Grpc-Status") + " " + a.Header.Get("X-Meshgw-Error"); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	for _, timeout := range []string{"1n", "2m"} {
		hasty.Store(true)
		for range 10 {
			call(timeout, "4 upstream_timeout")
		}
		hasty.Store(false)
		call("20S", "0 ")
	}
}

func TestGRPCGoesThroughTheMeshLink(t *testing.T) {
	t.Parallel()
	for name, trust := range map[string]*authority{"clear": nil, "tls": newAuthority(t)} {
		t.Run(name, func(t *testing.T) {
			spec := overProtocol("h2c", "http://"+grpctest.Serve(t))
			spec.Upstreams[0].Endpoints[0].Region = "us"
			eu, us := pair(t, spec, trust)
			grpctest.Run(t, grpctest.Dial(t, eu.addr, nil))
			us.stop()
			if log := us.log.String(); !strings.Contains(log, `"via":"eu-1"`) || strings.Contains(log, `"protocol":"HTTP/1.1"`) {
				t.Errorf("us-1 was not reached over the link in HTTP/2: %s", log)
			}
		})
	}
}
