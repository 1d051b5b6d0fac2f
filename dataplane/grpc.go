package dataplane

import (
	"errors"
	"math"
	"os"
	"time"

	"github.com/meshgw/meshgw/dataplane/grpc"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/failover"
)

// detectGRPC finds out whether the request is a gRPC call, and its deadline.
func (x *Exchange) detectGRPC() {
	contentType, _ := message.Find(x.Fields, message.ContentType)
	if x.grpc = grpc.IsContentType(contentType); !x.grpc {
		return
	}
	value, count := message.Find(x.Fields, message.GRPCTimeout)
	if timeout, ok := grpc.ParseTimeout(value, maxDeadline); ok && count == 1 {
		x.until = x.Start.Add(timeout)
	}
}

// statusFollows reports whether the outcome of the call is still to come, in the
// trailers.
func (x *Exchange) statusFollows(kind failover.Kind) bool {
	return x.grpc && kind == failover.OK && x.grpcStatus == grpc.Unset && x.endpoint.gateway == ""
}

// isCallDeadline reports whether err, in the middle of an answer, means that the
// deadline of the call has passed.
func (x *Exchange) isCallDeadline(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && x.pastCallDeadline(time.Now())
}

// pastCallDeadline reports whether the deadline of the call has passed.
func (x *Exchange) pastCallDeadline(now time.Time) bool {
	return !x.until.IsZero() && !now.Before(x.until)
}

// hadShortDeadline reports whether the deadline of the call has passed before the
// endpoint could be called slow: clients may set it as short as they like.
func (x *Exchange) hadShortDeadline(now time.Time) bool {
	return x.pastCallDeadline(now) && x.upstream < x.endpoint.state.Patience(now)
}

// appendTimeout appends grpc-timeout with the time that the call has left.
func (x *Exchange) appendTimeout(b []byte) []byte {
	b = grpc.AppendTimeout(append(b, "grpc-timeout: "...), time.Until(x.until))
	return append(b, "\r\n"...)
}

// refuseCall returns the fields of an answer that refuses a gRPC call: the status
// is in grpc-status, and that of HTTP is 200.
func (x *Exchange) refuseCall(r *refusal) []message.Field {
	x.grpcStatus = r.code.grpcStatus()
	fields := message.Append(nil, "content-type", []byte("application/grpc"))
	fields = message.Append(fields, "grpc-status", x.grpcStatus.Append(nil))
	return message.Append(fields, "grpc-message", []byte(r.detail)) // plain ASCII, which needs no escapes
}

// bodyTooLarge reports whether the body is larger than the rule allows, where piece
// is the last that has been read. For a gRPC call the limit is that of each
// message, since a stream of them may be endless.
func (x *Exchange) bodyTooLarge(piece []byte) bool {
	limit := x.rule.MaxBody
	if limit <= 0 {
		limit = math.MaxInt64
	}
	if x.grpc {
		return x.messages.Longest(piece) > limit
	}
	return x.in > limit
}

// statusOf returns the gRPC status in fields, Unset if there is none.
func statusOf(fields []message.Field) grpc.Status {
	for i := range fields {
		if message.EqualFold(fields[i].Name, "grpc-status") {
			return grpc.ParseStatus(fields[i].Value)
		}
	}
	return grpc.Unset
}
