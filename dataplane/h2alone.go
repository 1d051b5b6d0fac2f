package dataplane

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/meshgw/meshgw/failover"
)

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

// deliverHTTP2 is deliver over HTTP/2.
func (m *mirrorCopy) deliverHTTP2(begun, deadline time.Time) (outcome failover.Outcome, how string) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	l, _, err := m.endpoint.h2.Reserve(ctx)
	if err != nil {
		return failover.Outcome{Kind: kindOfConnect(err)}, "failed"
	}
	defer l.Release()
	req, err := m.request()
	if err != nil {
		l.GiveUp()
		return failover.Outcome{Kind: failover.Canceled}, "failed"
	}
	resp, err := l.RoundTrip(req.WithContext(ctx))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return failover.Outcome{Kind: failover.TimedOut, Latency: time.Since(begun)}, "failed"
	case err != nil:
		return failover.Outcome{Kind: failover.Reset, Latency: time.Since(begun)}, "failed"
	}
	outcome = failover.Outcome{Kind: kindOf(resp.StatusCode), Latency: time.Since(begun), Answered: true}
	m.endpoint.state.Answer(time.Now(), outcome)
	_, _ = io.CopyN(io.Discard, resp.Body, mirrorAnswer)
	_ = resp.Body.Close()
	return outcome, "sent"
}

// request returns the copy as a request of net/http.
func (m *mirrorCopy) request() (*http.Request, error) {
	req, err := requestOf(m.head, m.endpoint)
	if err != nil {
		return nil, err
	}
	_, small, _ := bytes.Cut(m.head, []byte("\r\n\r\n"))
	if body := append(bytes.Clone(small), m.body...); len(body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return req, nil
}

func (e *endpoint) scheme() string {
	if e.address.TLS {
		return "https"
	}
	return "http"
}
