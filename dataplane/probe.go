package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/meshgw/meshgw/dataplane/grpc"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/routetable"
)

var errNoHTTP2 = errors.New("endpoint does not speak HTTP/2")

// healthCheck probes the endpoint as spec says, with "OPTIONS *" if it is nil.
func (s *Server) healthCheck(e *endpoint, spec *routetable.HealthCheck, timeout time.Duration) (status int, err error) {
	switch {
	case spec == nil:
		return s.probe(e, "OPTIONS", "*", timeout)
	case spec.GRPC == nil:
		return s.probe(e, "GET", e.address.BasePath+spec.Path, timeout)
	case e.h2 == nil:
		return 0, errNoHTTP2
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return e.checkGRPC(ctx, spec.GRPC.Service)
}

// probe does one exchange with e over a new connection.
func (s *Server) probe(e *endpoint, method, target string, timeout time.Duration) (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if e.h2 != nil {
		return e.probeHTTP2(ctx, method, target)
	}
	raw, err := e.pool.Dial(ctx)
	if err != nil {
		return 0, err
	}
	c, err := upstream.NewConn(raw, time.Time{}, &s.upstreams)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }() // it served this exchange alone
	c.Begin(&s.answers)
	defer c.End()
	deadline, _ := ctx.Deadline()
	head := method + " " + target + " HTTP/1.1\r\nhost: " + e.address.HostPort + "\r\nuser-agent: meshgw-check\r\nconnection: close\r\n\r\n"
	a := upstream.NewAnswer(c, 0, new(upstream.AnswerMemory))
	err = a.RoundTrip([]byte(head), method == "HEAD", deadline)
	return a.Status, err
}

// probeHTTP2 is probe over HTTP/2.
func (e *endpoint) probeHTTP2(ctx context.Context, method, target string) (status int, err error) {
	c, err := e.h2.DialOnce(ctx)
	if err != nil {
		return 0, err
	}
	defer e.h2.Close(c) // it served this exchange alone
	req := &http.Request{
		Method: method, URL: &url.URL{Scheme: e.scheme(), Host: e.address.HostPort, Opaque: target},
		Header: http.Header{"User-Agent": {"meshgw-check"}},
	}
	resp, err := c.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// checkGRPC does a health check by gRPC's health protocol, of one service or, if
// that is empty, of the server. It returns the HTTP status with the same meaning,
// 200 or 503.
func (e *endpoint) checkGRPC(ctx context.Context, service string) (status int, err error) {
	c, err := e.h2.DialOnce(ctx)
	if err != nil {
		return 0, err
	}
	defer e.h2.Close(c) // was used for this alone
	body := grpc.HealthRequest(service)
	req := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: e.scheme(), Host: e.address.HostPort, Path: e.address.BasePath + grpc.HealthMethod},
		Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"meshgw-check"}},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	resp, err := c.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	const enough = 1 << 10
	answer, err := io.ReadAll(io.LimitReader(resp.Body, enough))
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	code := resp.Trailer.Get("Grpc-Status")
	if code == "" {
		code = resp.Header.Get("Grpc-Status") // of an answer of trailers alone
	}
	if code != "0" {
		return 0, fmt.Errorf("health check answered with grpc-status %q", code)
	}
	if grpc.IsServing(answer) {
		return http.StatusOK, nil
	}
	return http.StatusServiceUnavailable, nil
}
