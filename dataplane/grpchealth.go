package dataplane

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"google.golang.org/protobuf/encoding/protowire"
)

// serving is what grpc.health.v1.Health answers for a service that is well.
const serving = 1

// checkGRPC asks the endpoint by gRPC's health protocol for a service, or for all
// that it is where that is empty. It returns the HTTP status that says the same:
// 200 or 503.
func (e *endpoint) checkGRPC(ctx context.Context, service string) (status int, err error) {
	c, _, err := e.h2.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer e.h2.close(c) // was used for this alone
	body := grpcMessage(service)
	req := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: e.scheme(), Host: e.address.HostPort, Path: e.address.BasePath + "/grpc.health.v1.Health/Check"},
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
	if isServing(answer) {
		return http.StatusOK, nil
	}
	return http.StatusServiceUnavailable, nil
}

// grpcMessage is a HealthCheckRequest in gRPC's frame.
func grpcMessage(service string) []byte {
	var message []byte
	if service != "" {
		message = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), service)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// isServing reads a HealthCheckResponse.
func isServing(framed []byte) bool {
	if len(framed) < 5 {
		return false
	}
	for message := framed[5:]; len(message) > 0; {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		if number == 1 && kind == protowire.VarintType {
			status, n := protowire.ConsumeVarint(message)
			return n > 0 && status == serving
		}
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return false
		}
		message = message[n:]
	}
	return false
}
