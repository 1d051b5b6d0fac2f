// Package grpctest is gRPC's own interoperability tests, to be run through a
// gateway.
package grpctest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
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

// quiet sets the log of gRPC, which is the process's and must be set before others
// write to it: once.
var quiet = sync.OnceFunc(func() { //nolint:gochecknoglobals // as that log is
	grpclog.SetLoggerV2(panics{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)})
})

// Serve serves gRPC's own interoperability tests; over TLS where there is
// a certificate.
func Serve(t *testing.T, options ...grpc.ServerOption) (addr string) {
	t.Helper()
	quiet()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	return ln.Addr().String()
}

// Dial connects a gRPC client; in clear where secure is nil.
func Dial(t *testing.T, addr string, secure *tls.Config) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if secure != nil {
		creds = credentials.NewTLS(secure)
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// cases are those that Go's client and server have without a cloud: all
// that pass without a gateway between them.
func cases(cc *grpc.ClientConn) map[string]func(ctx context.Context) {
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

// Run runs every case over cc.
func Run(t *testing.T, cc *grpc.ClientConn) {
	t.Helper()
	for name, test := range cases(cc) {
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
