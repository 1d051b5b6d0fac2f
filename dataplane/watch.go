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

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

const (
	watchEvery = 100 * time.Millisecond // as failover.Balancer.Suspect requires
	judgeEvery = 10 * time.Second       // for outlier statistics; also Envoy's default
	tryTimeout = time.Second            // for a probe in the background
)

// monitor is the state of watching an endpoint.
type monitor struct {
	mismatch atomic.Pointer[upstream.Mismatch] // the protocol it was last found to speak instead of its upstream's; nil = none

	mu       sync.Mutex // guards the rest
	heard    listening
	assigned bool // this node has to check it
	check    failover.Check
	checking bool
	trying   bool
	last     failover.Status // as last logged
}

// watch monitors endpoints until stop is closed: it runs active health checks, probes
// endpoints that get too few requests, detects stalls and outliers, and closes
// connections that have been idle too long.
func (s *Server) watch(stop <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	swept, judged := time.Now(), time.Now()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			stood := s.stoodStill(now)
			s.coarseTime.Store(&now)
			if stood {
				continue // requests read what arrived meanwhile first
			}
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

// stoodStill reports, and notes, that nothing ran here between the last tick and now.
func (s *Server) stoodStill(now time.Time) bool {
	stood := now.Sub(s.coarseNow())
	if stood < frozenAfter {
		return false
	}
	if stood >= longStandstill {
		s.stoodUntil.Store(now.UnixNano())
	}
	s.frozenAt.Store(now.UnixNano())
	return true
}

func (s *Server) watchUpstream(now time.Time, u *liveUpstream, judge bool) {
	u.near.Suspect(now)
	if judge {
		u.near.EjectOutliers(now, u.MaxEjectedPercent)
	}
	d := s.refreshDivision(now, u)
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
			s.tryInBackground(u, e)
		}
		s.logState(now, u, e)
	}
	s.watchGateways(now, u, d)
}

// watchGateways monitors the gateways of other regions as ways to u.
func (s *Server) watchGateways(now time.Time, u *liveUpstream, d *division) {
	gateways, balancers := u.allGateways()
	for _, b := range balancers {
		b.Suspect(now)
	}
	for _, e := range gateways {
		need := failover.NeedNone
		if d.split.Dark {
			need = failover.NeedUrgent
		}
		if e.state.TryDue(now, need) {
			s.tryInBackground(u, e)
		}
		s.logState(now, u, e)
	}
}

// need says how urgently an endpoint in a region has to be probed.
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

// heed runs the endpoint's health check if it is due and this node's to do, and
// applies the verdict of the region's nodes.
func (s *Server) heed(now time.Time, u *liveUpstream, e *endpoint) {
	w := e.monitor
	w.mu.Lock()
	if w.heard.news(now, s.mesh.Load().Words, w.check.Verdict) {
		hearing := s.hear(now, u, e, w.check, u.checkInterval())
		if w.assigned = u.Check != nil && hearing.Assigned(); !w.assigned {
			w.check = failover.Check{} // another node checks it now
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

// checkInterval returns the time between two health checks; 0 if there are none.
func (u *liveUpstream) checkInterval() time.Duration {
	if u.Check == nil {
		return 0
	}
	return time.Duration(u.Check.Interval)
}

// check does one health check and records the result.
func (s *Server) check(spec *routetable.HealthCheck, e *endpoint) {
	failure, begun := "", time.Now()
	status, err := s.healthCheck(e, spec, time.Duration(spec.Timeout))
	s.hint(e, err)
	switch {
	case err != nil:
		failure = err.Error()
	case spec.GRPC != nil && status == http.StatusServiceUnavailable:
		failure = "not serving"
	case status < 200 || status > 399:
		failure = fmt.Sprintf("status %d", status)
	}
	e.monitor.mu.Lock()
	defer e.monitor.mu.Unlock()
	e.monitor.checking = false
	if isLocalFailure(err) || err != nil && s.wasFrozen(begun) {
		return // it was this node that could not: the next check will tell
	}
	e.monitor.check = e.monitor.check.Observe(time.Now(), failure, failover.CheckConfig{
		Interval: time.Duration(spec.Interval), Rise: spec.HealthyAfter, Fall: spec.UnhealthyAfter,
	}, rand.Float64())
}

// tryInBackground probes the endpoint in the background: by its health check, or
// else with "OPTIONS *" (RFC 9110, section 9.3.7), to which any answer will do.
func (s *Server) tryInBackground(u *liveUpstream, e *endpoint) {
	e.monitor.mu.Lock()
	defer e.monitor.mu.Unlock()
	if e.monitor.trying {
		return
	}
	e.monitor.trying = true
	s.spawn(func() {
		begun := time.Now()
		status, err := s.healthCheck(e, u.Check, tryTimeout)
		s.hint(e, err)
		e.state.Tried(time.Now(), s.blame(kindOfTry(status, err), begun))
		e.monitor.mu.Lock()
		defer e.monitor.mu.Unlock()
		e.monitor.trying = false
	})
}

// kindOfTry returns the outcome of a probe as that of a request.
func kindOfTry(status int, err error) failover.Kind {
	op, network := errors.AsType[*net.OpError](err)
	switch {
	case err == nil:
		return kindOf(status)
	case network && op.Op == "dial":
		return kindOfConnect(err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return failover.TimedOut
	case network, isEOF(err), errors.Is(err, message.ErrAnswer):
		return failover.Reset
	}
	return kindOfConnect(err) // an unknown name, an untrusted certificate
}

// logState logs when an endpoint goes out of use and comes back. A half-open breaker
// is neither.
func (s *Server) logState(now time.Time, u *liveUpstream, e *endpoint) {
	state := e.state.State(now)
	if state.Status == failover.HalfOpen {
		return
	}
	e.monitor.mu.Lock()
	last := e.monitor.last
	e.monitor.last = state.Status
	e.monitor.mu.Unlock()
	if state.Status == last {
		return
	}
	level, event := zerolog.InfoLevel, "endpoint changed state"
	if state.Status != failover.Closed {
		level = zerolog.WarnLevel
	} else {
		e.monitor.mismatch.Store(nil)
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

// Checks reports whether the table has health checks.
func (s *Server) Checks() bool {
	return slices.ContainsFunc(s.plan.Load().upstreams, func(u *liveUpstream) bool { return u.Check != nil })
}

// Verdicts returns what this node reports about endpoints: the results of its health
// checks, and open breakers.
func (s *Server) Verdicts() []failover.Verdict {
	var verdicts []failover.Verdict
	for _, u := range s.plan.Load().upstreams {
		for _, e := range u.endpoints {
			e.monitor.mu.Lock()
			check := e.monitor.check
			e.monitor.mu.Unlock()
			if v, ok := e.state.Verdict(u.Name, check); ok {
				verdicts = append(verdicts, v)
			}
		}
	}
	return verdicts
}
