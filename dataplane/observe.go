package dataplane

import (
	"errors"
	"time"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/telemetry"
)

// observe counts, logs and records a request that has ended.
func (s *Server) observe(x *Exchange, now time.Time, err error) {
	took := now.Sub(x.Start)
	failed, slow := err != nil || x.refused != nil || x.faulty(), took >= s.cfg.AccessLog.Slow
	if s.cfg.AccessLog.wants(failed, slow) {
		s.writeLine(x, err, took)
	}
	traced := s.cfg.Traced != nil && (x.trace.Sampled || err != nil || x.faulty())
	if traced || s.cfg.Requests != nil {
		s.record(x, err, took)
	}
	if traced {
		s.cfg.Traced(&x.scratch.record)
	}
	if s.cfg.Requests != nil {
		x.scratch.recorded = s.cfg.Requests.Add(&x.scratch.record, failed || slow, x.scratch.recorded)
	}
	if x.Link {
		return // was counted by the node that received it
	}
	series, traffic := s.metrics.unrouted, s.unrouted
	if x.rule != nil {
		series, traffic = x.rule.own, x.rule.traffic
	}
	_, cut := isCut(err)
	traffic.Add(took, cut || x.faulty())
	if x.target != nil {
		region := s.cfg.Region
		if x.endpoint != nil {
			region = x.endpoint.state.Region()
		}
		series = x.target.series.of(region)
		if region != s.cfg.Region {
			s.metrics.failovers.WithLabelValues(x.target.upstream.Name, s.cfg.Region, region).Inc()
		}
	}
	series.count(x.status)
	if x.grpc {
		s.metrics.calls.WithLabelValues(series.labels[0], series.labels[1], x.grpcStatus.String()).Inc()
	}
	durations := series.durations()
	durations.observe(x, now, took, traced || s.cfg.Traced == nil)
	if x.upstream > 0 {
		durations.upstream.Observe(x.upstream.Seconds())
	}
}

// faulty reports whether the answer was a server error.
func (x *Exchange) faulty() bool { return x.status >= 500 || x.grpcStatus.IsServerError() }

// errorOf returns the error of a request as users see it, empty if there was none.
func errorOf(x *Exchange, err error) string {
	_, cut := isCut(err)
	switch {
	case errors.Is(err, errClientLeft):
		return clientGone
	case x.refused != nil:
		return x.refused.code.String()
	case cut:
		return UpstreamReset.String()
	case err != nil:
		return clientGone
	}
	return ""
}

// clientGone is the error of a request whose client did not wait for the answer.
const clientGone = "client_gone"

// record fills in the record of a request for the ring and for tracing.
func (s *Server) record(x *Exchange, err error, took time.Duration) {
	r := &x.scratch.record
	// Field by field: a composite literal is built on the stack first, twice, and
	// the stack of every connection's goroutine would stay twice as large.
	*r = telemetry.Record{}
	r.Start, r.RequestID, r.TraceID, r.ParentID = x.Start, x.RequestID, x.trace.ID[:], x.trace.Parent
	r.Protocol, r.Listener, r.Secure = x.Protocol, x.Listener, x.Secure
	r.Method, r.Host, r.Path, r.Client = x.Method, x.Host, x.Path, x.Client
	r.Version, r.Priority, r.Attempts = s.plan.Load().table.Version(), x.priority.String(), x.scratch.attempts
	r.Status, r.GRPCStatus, r.Error = x.status, x.grpcStatus.String(), errorOf(x, err)
	r.In, r.Out, r.Took = x.in, x.out, took
	switch {
	case x.from != nil:
		r.FromNode, r.FromRegion, r.Route = x.from.node, x.from.region, x.from.route
	case x.rule != nil:
		x.scratch.route = append(x.scratch.route[:0], x.rule.Name...)
		r.Route = x.scratch.route
	}
	if x.target != nil {
		r.Upstream = x.target.upstream.Name
	}
	if x.tenant != nil {
		r.Tenant = x.tenant.Name
	}
	if x.decision.Limit != nil && x.decision.Verdict != quota.Allow {
		r.Limit = x.decision.Limit.Name
	}
	if x.refused != nil {
		r.Detail = x.refused.detail
	}
}

// cutError is the error of an answer that broke off after its head was forwarded.
type cutError struct {
	kind failover.Kind
	err  error
}

// Error implements error.
func (e *cutError) Error() string { return "answer cut short: " + e.err.Error() }

// Unwrap returns the cause.
func (e *cutError) Unwrap() error { return e.err }

// isCut reports whether err is that an answer broke off, and with which outcome for
// the endpoint.
func isCut(err error) (failover.Kind, bool) {
	if c, ok := errors.AsType[*cutError](err); ok {
		return c.kind, true
	}
	return failover.OK, false
}
