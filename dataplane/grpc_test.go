package dataplane_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpccreds "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// panics makes the interop suite, which ends the process where a case fails, end
// the case.
type panics struct{ grpclog.LoggerV2 }

func (panics) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (panics) Fatalln(args ...any)               { panic(fmt.Sprint(args...)) }
func (panics) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panics) FatalDepth(_ int, args ...any)     { panic(fmt.Sprint(args...)) }
func (panics) InfoDepth(int, ...any)             {}
func (panics) WarningDepth(int, ...any)          {}
func (panics) ErrorDepth(int, ...any)            {}

// interopServer serves gRPC's own interoperability tests; over TLS where there is
// a certificate.
func interopServer(t *testing.T, options ...grpc.ServerOption) (addr string) {
	t.Helper()
	grpclog.SetLoggerV2(panics{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	go s.Serve(ln)
	t.Cleanup(s.Stop)
	return ln.Addr().String()
}

// dialGRPC connects a gRPC client; in clear where secure is nil.
func dialGRPC(t *testing.T, addr string, secure *tls.Config) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if secure != nil {
		creds = grpccreds.NewTLS(secure)
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

// interopCases are those that Go's client and server have without a cloud: all
// that pass without a gateway between them.
func interopCases(cc *grpc.ClientConn) map[string]func(ctx context.Context) {
	tc := testgrpc.NewTestServiceClient(cc)
	call := func(test func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context) {
		return func(ctx context.Context) { test(ctx, tc) }
	}
	return map[string]func(ctx context.Context){
		"empty_unary":                 call(interop.DoEmptyUnaryCall),
		"large_unary":                 call(interop.DoLargeUnaryCall),
		"client_streaming":            call(interop.DoClientStreaming),
		"server_streaming":            call(interop.DoServerStreaming),
		"ping_pong":                   call(interop.DoPingPong),
		"empty_stream":                call(interop.DoEmptyStream),
		"timeout_on_sleeping_server":  call(interop.DoTimeoutOnSleepingServer),
		"cancel_after_begin":          call(interop.DoCancelAfterBegin),
		"cancel_after_first_response": call(interop.DoCancelAfterFirstResponse),
		"status_code_and_message":     call(interop.DoStatusCodeAndMessage),
		"special_status_message":      call(interop.DoSpecialStatusMessage),
		"custom_metadata":             call(interop.DoCustomMetadata),
		"unimplemented_method":        func(ctx context.Context) { interop.DoUnimplementedMethod(ctx, cc) },
		"unimplemented_service": func(ctx context.Context) {
			interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(cc))
		},
		"rpc_soak": func(ctx context.Context) {
			interop.DoSoakTest(ctx, interop.SoakTestConfig{
				RequestSize: 271828, ResponseSize: 314159, PerIterationMaxAcceptableLatency: 10 * time.Second,
				OverallTimeout: 30 * time.Second, Iterations: 20, NumWorkers: 2,
				ChannelForTest: func() (*grpc.ClientConn, func()) { return cc, func() {} },
			})
		},
	}
}

// runInterop runs every case over cc.
func runInterop(t *testing.T, cc *grpc.ClientConn) {
	t.Helper()
	for name, test := range interopCases(cc) {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if why := recover(); why != nil {
					t.Error(why)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			test(ctx)
		})
	}
}

// overProtocol is a spec of one route to an endpoint that speaks protocol.
func overProtocol(protocol, url string) *routetable.Spec {
	spec := toUpstream()
	spec.Upstreams[0].Protocol = protocol
	spec.Upstreams[0].Endpoints = []routetable.Endpoint{{URL: url}}
	return spec
}

func TestGRPCInteropInClear(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, overProtocol("h2c", "http://"+interopServer(t)))
	runInterop(t, dialGRPC(t, g.addr, nil))
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
	certs, err := dataplane.LoadCertificates([]dataplane.CertificateFile{file}, "")
	if err != nil {
		t.Fatal(err)
	}
	spec := overProtocol("h2", "https://"+interopServer(t, grpc.Creds(grpccreds.NewServerTLSFromCert(&pair))))
	spec.Upstreams[0].TLS = &routetable.UpstreamTLS{CA: file.Cert, ServerName: "up.test"}
	g := startSecureGateway(t, dataplane.Config{}, spec, certs.Config())
	runInterop(t, dialGRPC(t, g.addr, &tls.Config{ServerName: "up.test", InsecureSkipVerify: true}))
}

func TestGRPCIsRefusedInItsOwnTerms(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	g := startGateway(t, dataplane.Config{}, overProtocol("h2c", "http://"+ln.Addr().String()))
	tc := testgrpc.NewTestServiceClient(dialGRPC(t, g.addr, nil))
	_, err = tc.EmptyCall(t.Context(), &testgrpc.Empty{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "could not be reached") {
		t.Errorf("a dead endpoint: %v", err)
	}
	g.stop()
	if log := g.log.String(); !strings.Contains(log, `"error":"connect_failure","grpc_status":"UNAVAILABLE"`) {
		t.Errorf("log: %s", log)
	}
}

func TestGRPCGoesThroughTheMeshLink(t *testing.T) {
	for name, trust := range map[string]*authority{"clear": nil, "tls": newAuthority(t)} {
		t.Run(name, func(t *testing.T) {
			spec := overProtocol("h2c", "http://"+interopServer(t))
			spec.Upstreams[0].Endpoints[0].Region = "us"
			eu, us := pair(t, spec, trust)
			runInterop(t, dialGRPC(t, eu.addr, nil))
			us.stop()
			if log := us.log.String(); !strings.Contains(log, `"via":"eu-1"`) || strings.Contains(log, `"protocol":"HTTP/1.1"`) {
				t.Errorf("us-1 was not reached over the link in HTTP/2: %s", log)
			}
		})
	}
}
