package dataplane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/meshgw/meshgw/dataplane/grpc"
)

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
