package dataplane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

const (
	watchEvery = 100 * time.Millisecond // as failover.Balancer.Suspect asks for
	judgeEvery = 10 * time.Second       // for statistics, as peers do it
	tryTimeout = time.Second            // for a try in the background
	maxInterim = 16                     // answers before the final one
)

// watched is what the watch knows of an endpoint.
type watched struct {
	mu       sync.Mutex // guards the rest
	check    failover.Check
	checking bool
	trying   bool
	last     failover.Status // as last logged
}

// watch looks after endpoints until stop is closed: it runs the active checks,
// tries what gets too few requests, finds stalls and outliers, and closes
// connections that were idle too long.
func (s *Server) watch(stop <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	swept, judged := time.Now(), time.Now()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			sweep, judge := now.Sub(swept) >= sweepEvery, now.Sub(judged) >= judgeEvery
			if sweep {
				swept = now
			}
			if judge {
				judged = now
			}
			for _, u := range s.plan.Load().upstreams {
				s.watchUpstream(now, u, sweep, judge)
			}
		}
	}
}

func (s *Server) watchUpstream(now time.Time, u *upstream, sweep, judge bool) {
	u.near.Suspect(now)
	if judge {
		u.near.EjectOutliers(now, u.MaxEjectedPercent)
	}
	need := failover.NeedNone
	if health, _ := u.near.Health(); health == 0 {
		need = failover.NeedUrgent
	}
	for _, e := range u.endpoints {
		if e.broken != "" || e.address.Weight == 0 {
			continue
		}
		if sweep {
			e.pool.sweep(now)
		}
		s.heed(now, u, e)
		if e.state.TryDue(now, need) {
			s.tryOut(u, e)
		}
		s.tell(now, u, e)
	}
}

// heed runs the endpoint's check, if it is due and this node's, and acts on
// what the region says.
func (s *Server) heed(now time.Time, u *upstream, e *endpoint) {
	var interval time.Duration
	if u.Check != nil {
		interval = time.Duration(u.Check.Interval)
	}
	e.watched.mu.Lock()
	check, checking := e.watched.check, e.watched.checking
	hearing := s.hear(now, u, e, check, interval)
	due := u.Check != nil && !checking && check.Due(now) && hearing.Assigned()
	e.watched.checking = checking || due
	e.watched.mu.Unlock()
	e.state.Heed(now, hearing.Decide(e.state.Novice()))
	if due {
		s.spawn(func() { s.check(u.Check, e) })
	}
}

// hear asks what the region's nodes say of e; without a mesh, it is this node's
// own word.
func (s *Server) hear(now time.Time, u *upstream, e *endpoint, check failover.Check, interval time.Duration) failover.Hearing {
	if s.cfg.Hear != nil {
		return s.cfg.Hear(now, u.Name, e.address.URL, e.state.Region(), interval)
	}
	const self = "self"
	return failover.Hearing{
		Self:      self,
		Witnesses: []failover.Witness{{ID: self, Check: check.Verdict, Reason: check.Failure}},
		Checkers:  []string{self},
	}
}

// check does one active check.
func (s *Server) check(spec *routetable.HealthCheck, e *endpoint) {
	failure := ""
	status, err := s.probe(e, "GET", e.address.BasePath+spec.Path, time.Duration(spec.Timeout))
	switch {
	case err != nil:
		failure = err.Error()
	case status < 200 || status > 399:
		failure = fmt.Sprintf("status %d", status)
	}
	e.watched.mu.Lock()
	defer e.watched.mu.Unlock()
	e.watched.checking = false
	e.watched.check = e.watched.check.Observe(time.Now(), failure, failover.CheckConfig{
		Interval: time.Duration(spec.Interval), Rise: spec.HealthyAfter, Fall: spec.UnhealthyAfter,
	}, rand.Float64())
}

// tryOut asks the endpoint in the background: by its check, or else by the ping
// of HTTP (RFC 9110, section 9.3.7), to which any answer will do.
func (s *Server) tryOut(u *upstream, e *endpoint) {
	e.watched.mu.Lock()
	defer e.watched.mu.Unlock()
	if e.watched.trying {
		return
	}
	e.watched.trying = true
	method, target := "OPTIONS", "*"
	if u.Check != nil {
		method, target = "GET", e.address.BasePath+u.Check.Path
	}
	s.spawn(func() {
		status, err := s.probe(e, method, target, tryTimeout)
		kind := kindOf(status)
		switch {
		case errors.Is(err, errForbiddenAddress):
			kind = failover.ConnectFailed
		case err != nil:
			kind = failover.TimedOut
		}
		e.state.Tried(time.Now(), kind)
		e.watched.mu.Lock()
		defer e.watched.mu.Unlock()
		e.watched.trying = false
	})
}

// probe does one exchange with e, over a connection of its own.
func (s *Server) probe(e *endpoint, method, target string, timeout time.Duration) (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	raw, err := e.pool.dial(ctx)
	if err != nil {
		return 0, err
	}
	c, err := newUpstreamConn(raw, time.Time{}, &s.upstreams)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }() // was used for this alone
	c.begin(&s.buffers)
	defer c.end(&s.buffers)
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return 0, err
	}
	head := method + " " + target + " HTTP/1.1\r\nhost: " + e.address.HostPort + "\r\nuser-agent: meshgw-check\r\nconnection: close\r\n\r\n"
	if _, err := c.Write([]byte(head)); err != nil {
		return 0, err
	}
	a := answer{conn: c}
	for range maxInterim {
		if err := a.readHead(method == "HEAD"); err != nil {
			return 0, err
		}
		if a.status >= 200 {
			return a.status, nil
		}
	}
	return 0, errAnswerSyntax
}

// tell logs when an endpoint goes out of use and comes back.
func (s *Server) tell(now time.Time, u *upstream, e *endpoint) {
	state := e.state.State(now)
	e.watched.mu.Lock()
	last := e.watched.last
	e.watched.last = state.Status
	e.watched.mu.Unlock()
	if state.Status == last || state.Status == failover.HalfOpen {
		return
	}
	level := zerolog.InfoLevel
	if state.Status != failover.Closed {
		level = zerolog.WarnLevel
	}
	s.log.WithLevel(level).Str("upstream", u.Name).Str("endpoint", e.address.URL).Str("state", state.Status.String()).
		Str("was", last.String()).Str("reason", state.Reason).Msg("endpoint changed state")
}

// Verdicts returns what this node has to say of the endpoints: what its checks
// found, and which breakers are open.
func (s *Server) Verdicts() []failover.Verdict {
	var verdicts []failover.Verdict
	for _, u := range s.plan.Load().upstreams {
		for _, e := range u.endpoints {
			e.watched.mu.Lock()
			check := e.watched.check
			e.watched.mu.Unlock()
			if v, ok := e.state.Verdict(u.Name, check); ok {
				verdicts = append(verdicts, v)
			}
		}
	}
	return verdicts
}
