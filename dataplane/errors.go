package dataplane

import (
	"net/http"
	"strconv"

	"github.com/meshgw/meshgw/dataplane/grpc"
	"github.com/meshgw/meshgw/dataplane/message"
)

// Code is the reason for an error answer of the gateway itself: the value of the
// field x-meshgw-error and of error in the log.
type Code uint8

// The codes. They are a closed list that users rely on.
const (
	NoError Code = iota
	NoRoute
	BadRequest
	TooLarge
	Denied
	Unauthenticated
	QuotaExceeded
	ConcurrencyExceeded
	Overloaded
	NoHealthyUpstream
	CircuitOpen
	PendingFull
	ConnectFailure
	UpstreamTimeout
	UpstreamReset
	ForwardLoop
)

// String returns the code as users see it; empty for NoError.
func (c Code) String() string {
	switch c {
	case NoRoute:
		return "no_route"
	case BadRequest:
		return "bad_request"
	case TooLarge:
		return "too_large"
	case Denied:
		return "denied"
	case Unauthenticated:
		return "unauthenticated"
	case QuotaExceeded:
		return "quota_exceeded"
	case ConcurrencyExceeded:
		return "concurrency_exceeded"
	case Overloaded:
		return "overloaded"
	case NoHealthyUpstream:
		return "no_healthy_upstream"
	case CircuitOpen:
		return "circuit_open"
	case PendingFull:
		return "pending_full"
	case ConnectFailure:
		return "connect_failure"
	case UpstreamTimeout:
		return "upstream_timeout"
	case UpstreamReset:
		return "upstream_reset"
	case ForwardLoop:
		return "forward_loop"
	}
	return ""
}

// Status returns the default HTTP status for c. A refusal may have a more specific
// one, as 405 and 505 are for BadRequest.
func (c Code) Status() int {
	switch c {
	case NoError:
		return 200
	case NoRoute:
		return 404
	case BadRequest:
		return 400
	case TooLarge:
		return 413
	case Denied:
		return 403
	case Unauthenticated:
		return 401
	case QuotaExceeded, ConcurrencyExceeded:
		return 429
	case Overloaded, NoHealthyUpstream, CircuitOpen, PendingFull:
		return 503
	case UpstreamTimeout:
		return 504
	case ForwardLoop:
		return 508
	}
	return 502
}

// grpcStatus returns the gRPC status for c: a specific one if gRPC has it, else
// the one that gRPC maps the HTTP status to.
func (c Code) grpcStatus() grpc.Status {
	switch c {
	case NoRoute:
		return grpc.Unimplemented
	case Denied:
		return grpc.PermissionDenied
	case Unauthenticated:
		return grpc.Unauthenticated
	case TooLarge, QuotaExceeded, ConcurrencyExceeded:
		return grpc.ResourceExhausted
	case UpstreamTimeout:
		return grpc.DeadlineExceeded
	case Overloaded, NoHealthyUpstream, CircuitOpen, PendingFull, ConnectFailure, UpstreamReset:
		return grpc.Unavailable
	}
	return grpc.Internal
}

// retryAfter reports whether the answer tells the client when to retry.
func (c Code) retryAfter() bool { return c.Status() == 503 || c.Status() == 429 }

// refusal is an error answer of the gateway's own.
type refusal struct {
	code   Code
	status int    // 0 = the code's
	detail string // a sentence for people; never quotes the request
	close  bool   // the connection cannot be used further
	fields []message.Field
	rank   refusalRank // among the refusals of a rule's auth methods
}

func (r refusal) statusCode() int {
	if r.status != 0 {
		return r.status
	}
	return r.code.Status()
}

// malformed refuses a request that cannot be parsed safely.
func malformed(status int, detail string) *refusal {
	return &refusal{code: BadRequest, status: status, detail: detail, close: true}
}

// appendProblem appends the body of the answer (RFC 9457).
func (r refusal) appendProblem(dst []byte, requestID []byte) []byte {
	status := r.statusCode()
	dst = append(dst, `{"type":"about:blank","title":"`...)
	dst = append(dst, http.StatusText(status)...)
	dst = append(dst, `","status":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, `,"detail":`...)
	dst = strconv.AppendQuoteToASCII(dst, r.detail)
	dst = append(dst, `,"error":"`...)
	dst = append(dst, r.code.String()...)
	dst = append(dst, `","request_id":"`...)
	dst = append(dst, requestID...)
	return append(dst, "\"}\n"...)
}
