package dataplane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
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
	misfit atomic.Pointer[misfit] // what it was last heard to speak; nil = its upstream's protocol

	mu       sync.Mutex // guards the rest
	heard    listening
	assigned bool // its checks are this node's
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
			if now.Sub(s.lately()) >= standstill {
				s.stood.Store(now.UnixNano())
				s.ticked.Store(&now)
				continue // what has come meanwhile is read first
			}
			s.ticked.Store(&now)
			s.discovery.Refresh(now)
			p := s.plan.Load()
			if now.Sub(swept) >= sweepEvery {
				swept = now
				p.sweep(now)
			}
			judge := now.Sub(judged) >= judgeEvery
			if judge {
				judged = now
			}
			for _, u := range p.upstreams {
				s.watchUpstream(now, u, judge)
			}
		}
	}
}

func (s *Server) watchUpstream(now time.Time, u *upstream, judge bool) {
	u.near.Suspect(now)
	if judge {
		u.near.EjectOutliers(now, u.MaxEjectedPercent)
	}
	d := s.settle(now, u)
	silent := u.near.Silent(now) && d.hasElsewhere()
	for _, e := range u.endpoints {
		if e.broken != "" || e.address.Weight == 0 {
			continue
		}
		s.heed(now, u, e)
		need := d.need(e.state.Region())
		if need == failover.NeedNone && silent && e.near {
			need = failover.NeedSilent
		}
		if (e.near || u.Direct) && e.state.TryDue(now, need) {
			s.tryOut(u, e)
		}
		s.tell(now, u, e)
	}
	s.watchGates(now, u, d)
}

// watchGates looks after the gateways to an upstream elsewhere.
func (s *Server) watchGates(now time.Time, u *upstream, d *division) {
	gateways, balancers := u.allGates()
	for _, b := range balancers {
		b.Suspect(now)
	}
	for _, e := range gateways {
		need := failover.NeedNone
		if d.split.Dark {
			need = failover.NeedUrgent
		}
		if e.state.TryDue(now, need) {
			s.tryOut(u, e)
		}
		s.tell(now, u, e)
	}
}

// need is how badly an endpoint in a region has to be tried.
func (d *division) need(region string) failover.Need {
	if d.split.Dark {
		return failover.NeedUrgent
	}
	for i := range d.ways {
		if d.ways[i].region == region && d.split.Held[i] {
			return failover.NeedHeld
		}
	}
	return failover.NeedNone
}

// heed runs the endpoint's check, if it is due and this node's, and acts on
// what the region says.
func (s *Server) heed(now time.Time, u *upstream, e *endpoint) {
	w := e.watched
	w.mu.Lock()
	if w.heard.news(now, s.mesh.Load().Words, w.check.Verdict) {
		hearing := s.hear(now, u, e, w.check, u.checkInterval())
		if w.assigned = u.Check != nil && hearing.Assigned(); !w.assigned {
			w.check = failover.Check{} // what it found is for others to say now
		}
		e.state.Heed(now, hearing.Decide(e.state.Novice()))
	}
	due := w.assigned && u.Check != nil && !w.checking && w.check.Due(now)
	w.checking = w.checking || due
	w.mu.Unlock()
	if due {
		s.spawn(func() { s.check(u.Check, e) })
	}
}

// checkInterval is the time between two checks of an endpoint; 0 without checks.
func (u *upstream) checkInterval() time.Duration {
	if u.Check == nil {
		return 0
	}
	return time.Duration(u.Check.Interval)
}

// check does one active check.
func (s *Server) check(spec *routetable.HealthCheck, e *endpoint) {
	failure, begun := "", time.Now()
	status, err := s.examine(e, spec, time.Duration(spec.Timeout))
	s.hint(e, err)
	switch {
	case err != nil:
		failure = err.Error()
	case spec.GRPC != nil && status == http.StatusServiceUnavailable:
		failure = "not serving"
	case status < 200 || status > 399:
		failure = fmt.Sprintf("status %d", status)
	}
	e.watched.mu.Lock()
	defer e.watched.mu.Unlock()
	e.watched.checking = false
	if isOwn(err) || err != nil && s.stoodStill(begun) {
		return // to be asked again: it was this node that could not
	}
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
	s.spawn(func() {
		begun := time.Now()
		status, err := s.examine(e, u.Check, tryTimeout)
		s.hint(e, err)
		e.state.Tried(time.Now(), s.fair(kindOfTry(status, err), begun))
		e.watched.mu.Lock()
		defer e.watched.mu.Unlock()
		e.watched.trying = false
	})
}

// kindOfTry is how a try in the background went, by the words that requests have
// for it.
func kindOfTry(status int, err error) failover.Kind {
	op, network := errors.AsType[*net.OpError](err)
	switch {
	case err == nil:
		return kindOf(status)
	case network && op.Op == "dial":
		return notConnected(err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return failover.TimedOut
	case network, isEOF(err), errors.Is(err, errAnswerSyntax):
		return failover.Reset
	}
	return notConnected(err) // a name not found, a certificate not believed
}

// examine asks the endpoint as its check says, or by the ping where it has none.
func (s *Server) examine(e *endpoint, spec *routetable.HealthCheck, timeout time.Duration) (status int, err error) {
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

// probe does one exchange with e, over a connection of its own.
func (s *Server) probe(e *endpoint, method, target string, timeout time.Duration) (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if e.h2 != nil {
		return e.probeHTTP2(ctx, method, target)
	}
	raw, err := e.pool.dial(ctx)
	if err != nil {
		return 0, err
	}
	c, err := newUpstreamConn(raw, time.Time{}, &s.upstreams)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }() // was used for this alone
	c.begin(&s.answers)
	defer c.end()
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

// tell logs when an endpoint goes out of use and comes back. That a breaker lets
// a probe through is neither.
func (s *Server) tell(now time.Time, u *upstream, e *endpoint) {
	state := e.state.State(now)
	if state.Status == failover.HalfOpen {
		return
	}
	e.watched.mu.Lock()
	last := e.watched.last
	e.watched.last = state.Status
	e.watched.mu.Unlock()
	if state.Status == last {
		return
	}
	level, event := zerolog.InfoLevel, "endpoint changed state"
	if state.Status != failover.Closed {
		level = zerolog.WarnLevel
	} else {
		e.watched.misfit.Store(nil)
	}
	switch failover.Open {
	case state.Status:
		event = "breaker opened"
	case last:
		event = "breaker closed"
	}
	s.log.WithLevel(level).Str("upstream", u.Name).Str("endpoint", e.address.URL).Str("state", state.Status.String()).
		Str("was", last.String()).Str("reason", e.reason(state)).Msg(event)
}

// Checks reports whether the table has endpoints that are checked.
func (s *Server) Checks() bool {
	return slices.ContainsFunc(s.plan.Load().upstreams, func(u *upstream) bool { return u.Check != nil })
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
