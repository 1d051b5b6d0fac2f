package dataplane

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
)

const (
	mirrorsAtOnce = 64       // copies to one upstream that wait or are being sent; others are dropped
	mirrorBody    = 64 << 10 // of a request; larger ones are not copied
	mirrorAnswer  = 1 << 20  // bytes that are read and discarded, so that the connection can be reused
	mirrorTime    = 30 * time.Second
)

// liveMirror is where a percentage of a rule's requests is copied to.
type liveMirror struct {
	upstream *liveUpstream
	percent  float64
}

// mirrorCopy is a copy of a request for a mirror. It owns its bytes.
type mirrorCopy struct {
	upstream *liveUpstream
	endpoint *endpoint
	isHead   bool
	chunked  bool
	head     []byte // with the body behind it, where that is small
	body     []byte // what has been streamed so far
	tooLarge bool
}

func newMirrorCounter(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshgw_mirrored_requests_total",
		Help: "Copies of requests to mirrors: sent (answered with any status), failed, or dropped (too many at once, too large a body, or cut short).",
	}, []string{"upstream", "outcome"})
	reg.MustRegister(c)
	return c
}

// mirror copies the request if it is among the percentage, and sends the copy: at
// once, or when all of a streamed body has passed. The request never waits for it.
func (s *Server) mirror(x *Exchange) {
	m := x.rule.mirror
	if m == nil || x.from != nil || x.Upgrade != nil || rand.Float64()*100 >= m.percent {
		return
	}
	u := m.upstream
	if x.Length > mirrorBody || u.shared.mirrored.Add(1) > mirrorsAtOnce {
		if x.Length <= mirrorBody {
			u.shared.mirrored.Add(-1)
		}
		s.mirrors.WithLabelValues(u.Name, "dropped").Inc()
		return
	}
	now := time.Now()
	state, err := u.near.Pick(now, rand.Uint64(), nil)
	if err != nil {
		u.shared.mirrored.Add(-1)
		s.mirrors.WithLabelValues(u.Name, "failed").Inc()
		return
	}
	state.Begin(now)
	e := u.byState[state]
	s.buildHead(x, e)
	x.copy = &mirrorCopy{
		upstream: u, endpoint: e, isHead: x.isHead(), chunked: x.Length == message.Chunked,
		head: append([]byte(nil), x.scratch.head...),
	}
	if x.Body == nil {
		s.sendCopy(x)
	}
}

// add adds a piece of the body, up to mirrorBody bytes in all.
func (m *mirrorCopy) add(piece []byte) {
	switch {
	case m == nil || m.tooLarge:
	case len(m.body)+len(piece) > mirrorBody:
		m.tooLarge, m.body = true, nil
	default:
		m.body = append(m.body, piece...)
	}
}

// sendCopy sends the copy of x, if there is one, in the background.
func (s *Server) sendCopy(x *Exchange) {
	m := x.copy
	if m == nil || m.tooLarge {
		return
	}
	x.copy = nil
	s.spawn(func() {
		begun := time.Now()
		outcome, sent := s.deliver(m)
		outcome.Kind = s.blame(outcome.Kind, begun)
		s.endCopy(m, outcome, sent)
	})
}

// dropCopy drops a copy whose body is incomplete or too large.
func (s *Server) dropCopy(x *Exchange) {
	if x.copy != nil {
		s.endCopy(x.copy, failover.Outcome{Kind: failover.Canceled}, "dropped")
		x.copy = nil
	}
}

func (s *Server) endCopy(m *mirrorCopy, outcome failover.Outcome, how string) {
	m.endpoint.state.End(time.Now(), outcome)
	m.upstream.shared.mirrored.Add(-1)
	s.mirrors.WithLabelValues(m.upstream.Name, how).Inc()
}

// deliver makes one try to send m, and discards the answer.
func (s *Server) deliver(m *mirrorCopy) (outcome failover.Outcome, how string) {
	begun := time.Now()
	deadline := begun.Add(min(mirrorTime, cmp.Or(m.upstream.Timeouts.Request, mirrorTime)))
	pool := m.endpoint.pool
	if pool.Acquire(m.upstream.MaxPending, upstream.Rank{Priority: failover.Low}, deadline, nil) != nil {
		return failover.Outcome{Kind: failover.Canceled}, "dropped"
	}
	defer pool.Release()
	if m.endpoint.h2 != nil {
		return m.deliverHTTP2(begun, deadline)
	}
	c := pool.Get(begun, false)
	if c == nil {
		var err error
		if c, err = s.connect(m.endpoint, deadline, nil); err != nil {
			return failover.Outcome{Kind: kindOfConnect(err)}, "failed"
		}
	}
	c.Begin(&s.answers)
	a := upstream.NewAnswer(c, m.upstream.Timeouts.Idle, new(upstream.AnswerMemory))
	err := a.RoundTrip(m.text(), m.isHead, deadline)
	outcome = failover.Outcome{Kind: kindOf(a.Status), Latency: time.Since(begun), Answered: err == nil}
	if err == nil {
		m.endpoint.state.Answer(time.Now(), outcome)
		err = a.Discard(mirrorAnswer, deadline)
	}
	c.End()
	if err == nil && a.Reusable() {
		pool.Put(c, time.Now())
	} else {
		_ = c.Close()
	}
	switch {
	case outcome.Answered:
		return outcome, "sent"
	case errors.Is(err, os.ErrDeadlineExceeded):
		outcome.Kind = failover.TimedOut
	default:
		outcome.Kind = failover.Reset
	}
	return outcome, "failed"
}

// text returns the request with its body.
func (m *mirrorCopy) text() []byte {
	text := m.head
	if !m.chunked {
		return append(text, m.body...)
	}
	text = append(strconv.AppendInt(text, int64(len(m.body)), 16), "\r\n"...)
	text = append(append(text, m.body...), "\r\n"...)
	if len(m.body) > 0 {
		text = append(text, "0\r\n\r\n"...)
	}
	return text
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
