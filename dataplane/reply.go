package dataplane

import (
	"time"

	"github.com/meshgw/meshgw/dataplane/grpc"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/canonical"
)

// answer sends the answer that forward has obtained.
func (s *Server) answer(x *Exchange) {
	switch {
	case x.preflight:
		s.sendMade(x, 204, nil, nil)
	case x.endsHere():
		s.sendMade(x, 200, message.Append(nil, "allow", []byte(allowedMethods)), nil)
	case x.rule.Respond != nil:
		s.respond(x, x.rule.Respond)
	case x.rule.Redirect != nil:
		s.redirect(x)
	default:
		s.relay(x)
	}
}

// allowedMethods is the value of Allow in answers of the gateway itself.
const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// endsHere reports whether the request is for this hop, by Max-Forwards: 0 (RFC 9110,
// section 7.6.2).
func (x *Exchange) endsHere() bool {
	hops, count := message.Find(x.Fields, message.MaxForwards)
	return count > 0 && string(x.Method) == "OPTIONS" && string(hops) == "0"
}

// respond sends the fixed answer of a rule.
func (s *Server) respond(x *Exchange, from *routetable.Response) {
	fields := make([]message.Field, 0, len(from.Headers))
	for _, f := range from.Headers {
		fields = message.Append(fields, f.Name, []byte(f.Value))
	}
	s.sendMade(x, from.Status, fields, from.Body)
}

// redirect sends the redirect of a rule.
func (s *Server) redirect(x *Exchange) {
	origin := routetable.Origin{
		Scheme: "http", Host: x.Host, Port: x.port(), Path: x.Path, Query: x.Query, Prefix: x.prefix,
	}
	if x.Secure {
		origin.Scheme = "https"
	}
	location := x.rule.AppendLocation(x.scratch.location[:0], &origin)
	x.scratch.location = location
	s.sendMade(x, x.rule.Redirect.Status, message.Append(nil, "location", location), nil)
}

// port returns the port that the client connected to, by its Host field.
func (x *Exchange) port() int {
	host, port, err := canonical.ParseHost(x.scratch.small[:0], x.Authority)
	x.scratch.small = host
	if err == nil && port != 0 {
		return port
	}
	if x.Secure {
		return 443
	}
	return 80
}

// relay forwards the endpoint's answer.
func (s *Server) relay(x *Exchange) {
	a := &x.answer
	x.status = a.Status
	r := &x.reply
	*r = reply{status: a.Status, fields: s.appendSticky(s.replyFields(x, a.Fields), x), length: a.Length}
	if a.Status == 101 {
		r.tunnel = true
		r.fields = message.Append(message.Append(r.fields, "connection", []byte("upgrade")), "upgrade", x.Upgrade)
		x.Front.Send(x, r)
		return
	}
	if x.isHead() || a.Status == 304 {
		r.length = s.declaredLength(a)
	}
	if body, ok := x.wholeBody(); ok {
		r.body = body
		x.out = int64(len(body))
	} else {
		r.stream = x.bodyStream()
	}
	r.close = s.draining.Load() || x.uploading()
	s.compress(x, r)
	x.Front.Send(x, r)
}

// wholeBody returns the body of the endpoint's answer if all of it has arrived.
func (x *Exchange) wholeBody() ([]byte, bool) {
	if x.call != nil {
		return nil, x.call.done
	}
	return x.answer.Whole()
}

// bodyStream returns the body of the endpoint's answer as a stream.
func (x *Exchange) bodyStream() message.Stream {
	if x.call != nil {
		return x.call
	}
	return &x.answer
}

// declaredLength returns the Content-Length of an answer without a body, as to HEAD,
// and untilClose if it has none.
func (s *Server) declaredLength(a *upstream.Answer) int64 {
	length, declared, err := message.Framing(a.Fields, false)
	if err != nil || !declared {
		return message.UntilClose
	}
	return length
}

// refuse sends the error answer for x.refused.
func (s *Server) refuse(x *Exchange) {
	s.tarpit(x)
	r := x.refused
	x.status = r.statusCode()
	kind := "application/problem+json"
	if p := x.errorPage(r); p != nil {
		kind, x.scratch.problem = p.ContentType, s.appendParts(x.scratch.problem[:0], x, p.Body)
	} else {
		x.scratch.problem = r.appendProblem(x.scratch.problem[:0], x.RequestID)
	}
	fields := message.Append(nil, "content-type", []byte(kind))
	if x.grpc && x.status != statusClientLeft {
		fields = x.refuseCall(r)
		x.status, x.scratch.problem = 200, x.scratch.problem[:0]
	}
	fields = message.Append(fields, "x-meshgw-error", []byte(r.code.String()))
	if r.code.retryAfter() {
		fields = message.Append(fields, "retry-after", x.retryAfter())
	}
	fields = append(fields, r.fields...)
	if r.status == 405 {
		fields = message.Append(fields, "allow", []byte(allowedMethods))
	}
	out := s.replyFields(x, nil)
	s.sendOwn(x, append(fields, out...), x.scratch.problem, r.close)
}

// sendMade sends an answer of the gateway itself that is not an error.
func (s *Server) sendMade(x *Exchange, status int, fields []message.Field, body []byte) {
	x.status = status
	s.sendOwn(x, s.replyFields(x, fields), body, false)
}

func (s *Server) sendOwn(x *Exchange, fields []message.Field, body []byte, last bool) {
	if !x.isHead() {
		x.out = int64(len(body))
	}
	x.reply = reply{
		status: x.status, fields: fields, length: int64(len(body)), body: body,
		close: last || s.draining.Load() || x.Length != 0 && x.Body != nil,
	}
	if x.refused == nil {
		s.compress(x, &x.reply)
	}
	x.Front.Send(x, &x.reply)
}

// finish ends the exchange after the last byte of the answer, or with the error that
// stopped it. The front calls it once.
func (s *Server) finish(x *Exchange, err error) {
	now := time.Now()
	if x.conn != nil || x.call != nil {
		s.releaseUpstream(x, now, err)
	} else {
		x.stopUpload()
	}
	s.releaseLimits(x)
	if x.encoding != nil {
		x.encoding.Release()
	}
	s.dropCopy(x)
	s.observe(x, now, err)
	s.inflight.Add(-1)
}

// releaseUpstream returns the connection and the slot, and reports the outcome to the
// endpoint's state.
func (s *Server) releaseUpstream(x *Exchange, now time.Time, err error) {
	clean := err == nil && x.conn != nil && x.answer.Reusable() && x.uploaded()
	if clean {
		c := x.conn
		x.conn = nil
		c.End()
		x.endpoint.pool.Put(c, now)
	} else {
		s.closeUpstream(x)
	}
	outcome := x.outcome
	outcome.Kind = failover.OK                                                                         // the answer was counted when it came
	if x.grpcStatus == grpc.Unavailable && x.outcome.Kind == failover.OK && x.endpoint.gateway == "" { // its trailers say so
		outcome.Kind = failover.Unavailable
	}
	if cut, ok := isCut(err); ok {
		outcome.Kind = cut
	} else if err != nil {
		outcome.Kind = failover.Canceled
	}
	x.endpoint.state.End(now, outcome)
	x.endpoint.pool.Release()
}
