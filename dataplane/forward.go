package dataplane

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/telemetry"
)

// forward gets an answer: from the rule itself, or from an endpoint of its
// upstream, trying others as the upstream's retries allow.
func (s *Server) forward(x *Exchange) bool {
	if x.preflight || x.endsHere() || x.rule.Respond != nil || x.rule.Redirect != nil {
		return true
	}
	if x.target == nil {
		x.target = x.rule.choose()
	}
	s.chooseSticky(x)
	u := x.target.upstream
	x.deadline = x.answerDeadline()
	if x.from == nil {
		u.shared.traffic.own[x.priority].Add(1)
		if !u.hasRoom(x.priority) {
			return s.shedRequest(x, "no_room", "No region has room for the request.")
		}
	} else {
		x.deadline = earlier(x.deadline, within(x.Start, x.from.deadline))
	}
	u.shared.budget.Request(x.Start)
	s.mirror(x)
	e, err := s.pick(x)
	if err != nil {
		return x.fail(u.noEndpoint())
	}
	for {
		f := s.attempt(x, e)
		if f == nil {
			next := s.nextTry(x, x.badAnswer())
			if next == nil {
				return !s.refusedByGateway(x)
			}
			s.abandon(x)
			e = next
			continue
		}
		next := s.nextTry(x, f)
		if next == nil {
			if f.lacks != "" {
				s.metrics.shed.WithLabelValues(x.priority.String(), f.lacks).Inc()
			}
			x.refused = &f.refusal
			return false
		}
		e = next
	}
}

// answerDeadline is when the head of the answer is due; zero for never. A gRPC
// call brings its own deadline, and one without may be an endless stream.
func (x *Exchange) answerDeadline() time.Time {
	if x.grpc {
		return x.until
	}
	return within(x.Start, x.target.timeouts.Request)
}

// headDeadline is when the head is due in the try that began at begun.
func (x *Exchange) headDeadline(begun time.Time) time.Time {
	if x.grpc {
		return earlier(within(begun, x.target.timeouts.Idle), x.until)
	}
	return earlier(within(begun, x.target.timeouts.Response), x.deadline)
}

// within returns the time d after from; zero, for no deadline, if d is not positive.
func within(from time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return from.Add(d)
}

// earlier returns the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// failure is a try that brought no answer, or one that may be worth a retry.
type failure struct {
	refusal
	reason routetable.RetryOn // 0 = is never retried
	sent   bool               // bytes of the request may have reached the endpoint
	lacks  string             // the resource that this node has run out of, which is no fault of the endpoint; empty = none
	dark   string             // a region whose endpoints its gateway cannot reach, so that its siblings will not either; empty = none
}

// badAnswer returns the failure that an answer stands for, nil if it is none.
// What an endpoint answered through another gateway is final; a refusal of that
// gateway itself means that nothing was done.
func (x *Exchange) badAnswer() *failure {
	if x.endpoint.gateway == "" {
		return badStatus(x.answer.Status)
	}
	switch x.gatewayRefusal() {
	case NoError:
		return nil
	case ConnectFailure, CircuitOpen, NoHealthyUpstream:
		return &failure{reason: routetable.RetryConnectFailure, dark: x.endpoint.state.Region()}
	}
	return &failure{reason: routetable.RetryConnectFailure}
}

// badStatus returns the failure that a status stands for, nil if it is none.
func badStatus(status int) *failure {
	switch status {
	case 500:
		return &failure{reason: routetable.Retry500, sent: true}
	case 502:
		return &failure{reason: routetable.Retry502, sent: true}
	case 503:
		return &failure{reason: routetable.Retry503, sent: true}
	case 504:
		return &failure{reason: routetable.Retry504, sent: true}
	}
	return nil
}

// nextTry returns the endpoint to retry on after f, nil if there is to be no
// retry: because attempts or budget are used up, the request must not be
// repeated, its deadline is too close, or no other endpoint is available. It
// waits for the backoff.
func (s *Server) nextTry(x *Exchange, f *failure) *endpoint {
	u := x.target.upstream
	switch {
	case f == nil, f.reason == 0, x.attempts >= u.Attempts, !u.RetryOn.Has(f.reason),
		f.sent && !x.idempotent(), x.upload != nil:
		return nil
	}
	pause := backOff(x.attempts)
	free := f.lacks != "" || f.dark != "" // the budget spares endpoints, and none was reached
	if !x.deadline.IsZero() && time.Until(x.deadline) <= pause || !free && !u.shared.budget.Retry(time.Now(), u.RetryBudget) {
		return nil
	}
	// Last, since the choice may use up the probe of an open breaker.
	e, err := s.pickAgain(x, f)
	if err != nil {
		return nil
	}
	time.Sleep(pause)
	s.metrics.retries.Inc()
	return e
}

// backOff returns how long to wait after try n: a random time up to 25 ms,
// doubled with each try, 250 ms at most (full jitter).
func backOff(n int) time.Duration {
	return rand.N(min(25*time.Millisecond<<(n-1), 250*time.Millisecond))
}

// key returns the hash of what consistent_hash keeps together; a random number
// for other policies.
func (x *Exchange) key() uint64 {
	u := x.target.upstream
	if u.Balance != routetable.ConsistentHash {
		return rand.Uint64()
	}
	var value []byte
	switch h := &u.Hash; {
	case h.Header != "":
		value, _ = x.header(h.Header)
	case h.Cookie != "":
		value = x.cookie(h.Cookie)
	case h.ClientIP:
		ip := x.Client.As16()
		return xxhash.Sum64(ip[:])
	case h.Path:
		value = x.Path
	}
	if len(value) == 0 {
		return rand.Uint64()
	}
	return xxhash.Sum64(value)
}

// cookie returns the value of the cookie named name.
func (x *Exchange) cookie(name string) []byte {
	for i := range x.Fields {
		if !message.EqualFold(x.Fields[i].Name, "cookie") {
			continue
		}
		for rest := x.Fields[i].Value; len(rest) > 0; {
			var pair []byte
			pair, rest = message.CutByte(rest, ';')
			for len(pair) > 0 && pair[0] == ' ' {
				pair = pair[1:]
			}
			if key, value := message.CutByte(pair, '='); string(key) == name {
				return value
			}
		}
	}
	return nil
}

// noEndpoint is the refusal when no endpoint can take a request.
func (u *liveUpstream) noEndpoint() refusal {
	for _, e := range u.endpoints {
		if e.state.State(time.Now()).Status == failover.Open {
			return refusal{code: CircuitOpen, detail: "The circuit breakers of the upstream are open."}
		}
	}
	return refusal{code: NoHealthyUpstream, detail: "The upstream has no endpoint that can be used."}
}

// maxPending is how many requests, this one included, may wait for the
// upstream. Those forwarded by another region may wait for half the time that a
// request takes, so that rescuing a region does not slow this one: its gateway
// can still try elsewhere.
func (x *Exchange) maxPending() int {
	u := x.target.upstream
	if x.from == nil {
		return u.MaxPending
	}
	return min(u.MaxPending, max(1, u.division.Load().slots/2))
}

// attempt makes one try at e. If it returns nil, x.answer is the answer, whose
// head has been read, and x holds a slot and a connection until finish or
// abandon.
func (s *Server) attempt(x *Exchange, e *endpoint) *failure {
	x.attempts++
	x.trace.Span = 0
	x.scratch.tried = append(x.scratch.tried, e.state)
	u := x.target.upstream
	foreign := x.from != nil && x.attempts == 1
	if foreign {
		u.shared.traffic.sent.Add(1)
	}
	x.presence.start(s.coarseNow())
	defer x.presence.stop()
	if f := s.acquire(x, e); f != nil {
		return f
	}
	if foreign {
		u.shared.traffic.foreign.Add(1)
	}
	begun := time.Now()
	x.endpoint = e
	e.state.Begin(begun)
	f, kind := s.try(x, e, begun)
	now := time.Now()
	x.upstream = now.Sub(begun)
	x.recordAttempt(e, begun, x.upstream, kind.String())
	if f != nil {
		s.closeUpstream(x)
		if kind = s.blame(kind, begun); x.hadShortDeadline(now) {
			kind = failover.Canceled
		}
		e.state.End(now, failover.Outcome{Kind: kind, Latency: x.upstream})
		e.pool.Release()
		return f
	}
	x.outcome = failover.Outcome{Kind: kind, Latency: x.upstream, Answered: true, Later: x.statusFollows(kind)}
	e.state.Answer(now, x.outcome)
	return nil
}

// acquire waits for one of the endpoint's connections to come free.
func (s *Server) acquire(x *Exchange, e *endpoint) *failure {
	var probe time.Time
	if !e.state.Usable() {
		probe = time.Now() // the request may be what shows whether it is well again
	}
	err := e.pool.Acquire(x.maxPending(), x, x.deadline, x.presence.left)
	if err == nil {
		return nil
	}
	now := time.Now()
	if !probe.IsZero() {
		e.state.Forgo(now, probe)
	}
	switch {
	case errors.Is(err, upstream.ErrCanceled):
		x.recordAttempt(e, now, 0, failover.Canceled.String())
		return &failure{refusal: clientLeft()}
	case errors.Is(err, upstream.ErrPendingFull):
		x.recordAttempt(e, now, 0, PendingFull.String())
		s.metrics.shed.WithLabelValues(x.priority.String(), "pending_full").Inc()
		return &failure{refusal: refusal{code: PendingFull, detail: "Too many requests wait for the upstream."}}
	default:
		x.recordAttempt(e, now, 0, failover.TimedOut.String())
		return &failure{refusal: refusal{code: UpstreamTimeout, detail: "No connection to the upstream came free in time."}}
	}
}

// recordAttempt adds a try to the record of the request.
func (x *Exchange) recordAttempt(e *endpoint, begun time.Time, took time.Duration, outcome string) {
	status := 0
	if outcome == failover.OK.String() || outcome == failover.Unavailable.String() {
		status = x.answer.Status
	}
	x.scratch.attempts = append(x.scratch.attempts, telemetry.Attempt{
		Endpoint: e.address.URL, Region: e.state.Region(), Outcome: outcome, Status: status,
		After: begun.Sub(x.Start), Took: took, SpanID: x.trace.Span,
	})
}

// abandon drops an answer, unread, for another try.
func (s *Server) abandon(x *Exchange) {
	s.closeUpstream(x)
	x.endpoint.state.End(time.Now(), failover.Outcome{Kind: failover.OK, Answered: true})
	x.endpoint.pool.Release()
}

// closeUpstream closes the connection of a try and ends its upload.
func (s *Server) closeUpstream(x *Exchange) {
	if x.conn != nil {
		_ = x.conn.Close()
	}
	if x.call != nil {
		x.call.end()
	}
	x.stopUpload()
	x.call = nil
	if x.conn != nil {
		x.conn.End()
		x.conn = nil
	}
}
