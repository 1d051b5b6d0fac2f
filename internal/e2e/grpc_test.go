package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/meshgw/meshgw/internal/grpctest"
)

// serviceFile writes a route file of one route to endpoints that speak protocol.
func (w *world) serviceFile(protocol, settings string, urls ...string) string {
	w.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "upstreams:\n  - name: grpc\n    protocol: %s\n%s    endpoints:\n", protocol, settings)
	for _, url := range urls {
		fmt.Fprintf(&b, "      - %s\n", url)
	}
	b.WriteString("routes:\n  - {name: grpc, upstream: grpc}\n")
	return w.save("grpc.yaml", []byte(b.String()))
}

func TestGRPCInteropPassesInClearAndOverTLS(t *testing.T) {
	w := newWorld(t)
	w.certificate("edge.crt", "edge.key")
	w.certificate("up.crt", "up.key")
	clear := w.start("clear", "--https", "127.0.0.1:0", "--tls-cert", filepath.Join(w.dir, "edge.crt"), "--tls-key", filepath.Join(w.dir, "edge.key"),
		"--routes", w.serviceFile("h2c", "", "{url: http://"+grpctest.Serve(t)+"}"))
	pair, err := tls.LoadX509KeyPair(filepath.Join(w.dir, "up.crt"), filepath.Join(w.dir, "up.key"))
	if err != nil {
		t.Fatal(err)
	}
	over := grpctest.Serve(t, grpc.Creds(credentials.NewServerTLSFromCert(&pair)))
	secure := w.start("secure", "--https", "127.0.0.1:0", "--tls-cert", filepath.Join(w.dir, "edge.crt"), "--tls-key", filepath.Join(w.dir, "edge.key"),
		"--routes", w.serviceFile("h2", "    tls: {ca: "+filepath.Join(w.dir, "up.crt")+", server_name: localhost}\n", "{url: https://"+over+"}"))
	unverified := &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}
	t.Run("clear", func(t *testing.T) { grpctest.Run(t, grpctest.Dial(t, clear.listen.HTTP, nil)) })
	t.Run("tls", func(t *testing.T) { grpctest.Run(t, grpctest.Dial(t, secure.listen.HTTPS, unverified)) })
	eventually(t, time.Second, "the two calls that are not implemented are counted", func() error {
		if got := clear.metrics(t); !strings.Contains(got, `meshgw_grpc_calls_total{grpc_status="UNIMPLEMENTED",route="grpc",upstream="grpc"} 2`) {
			return errors.New(linesWith(got, "grpc_calls"))
		}
		return nil
	})
	eventually(t, 10*time.Second, "the call that ran out of time is logged", func() error {
		return logged(clear, `"grpc_status":"DEADLINE_EXCEEDED"`, `"error":"client_gone"`)
	})
}

func TestGRPCGoesThroughTheMeshLink(t *testing.T) {
	w := newWorld(t)
	up := grpctest.Serve(t)
	routes := w.serviceFile("h2c", "", "{url: http://"+up+", region: eu}")
	us := w.start("us-1", "--region", "us", "--mesh", "127.0.0.1:0", "--insecure", "--routes", routes)
	eu := w.start("eu-1", "--region", "eu", "--mesh", "127.0.0.1:0", "--insecure", "--join", us.listen.Gossip)
	allSee(t, 10*time.Second, us, eu)
	haveRoom(t, "eu", us)
	grpctest.Run(t, grpctest.Dial(t, us.listen.HTTP, nil))
	eventually(t, 10*time.Second, "what came over the link is logged", func() error {
		return logged(eu, `"protocol":"HTTP/2","attempts"`, `"via":"us-1"`)
	})
	eventually(t, time.Second, "a call is traced", func() error {
		out, err := w.try("meshgw", "trace", "--admin", "http://"+us.listen.Admin, lastRequest(t, us))
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
}

func TestGRPCIsRefusedInItsOwnTerms(t *testing.T) {
	w := newWorld(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ln.Addr().String()
	ln.Close()
	n := w.start("a", "--routes", w.serviceFile("h2c", "", "{url: http://"+dead+"}"))
	tc := testgrpc.NewTestServiceClient(grpctest.Dial(t, n.listen.HTTP, nil))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = tc.EmptyCall(ctx, &testgrpc.Empty{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "could not be reached") {
		t.Errorf("a dead endpoint: %v", err)
	}
	eventually(t, 10*time.Second, "it is logged", func() error {
		return logged(n, `"error":"connect_failure","grpc_status":"UNAVAILABLE"`)
	})
}

func (p *process) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + p.listen.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func linesWith(text, part string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, part) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// lastRequest is the id of the last request that the node has logged.
func lastRequest(t *testing.T, p *process) string {
	t.Helper()
	log := p.log.String()
	at := strings.LastIndex(log, `"request_id":"`)
	if at < 0 {
		t.Fatal("no request is logged")
	}
	id, _, _ := strings.Cut(log[at+len(`"request_id":"`):], `"`)
	return id
}
