package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// grpcStatus is how a gRPC call ended: its number, plus one; 0 = not known.
type grpcStatus uint8

// The statuses of gRPC that the gateway itself has to do with.
const (
	grpcUnknown grpcStatus = iota
	grpcOK
	grpcCanceled
	grpcUnknownError
	grpcInvalidArgument
	grpcDeadlineExceeded
	grpcNotFound
	grpcAlreadyExists
	grpcPermissionDenied
	grpcResourceExhausted
	grpcFailedPrecondition
	grpcAborted
	grpcOutOfRange
	grpcUnimplemented
	grpcInternal
	grpcUnavailable
	grpcDataLoss
	grpcUnauthenticated
	grpcStatuses // how many there are
)

// String gives the name that gRPC has for s; empty where it is not known.
func (s grpcStatus) String() string {
	names := [grpcStatuses]string{
		"", "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
		"UNAUTHENTICATED",
	}
	return names[s]
}

// faulty reports whether s is the fault of who served, as OpenTelemetry counts
// them.
func (s grpcStatus) faulty() bool {
	switch s {
	case grpcUnknownError, grpcDeadlineExceeded, grpcUnimplemented, grpcInternal, grpcUnavailable, grpcDataLoss:
		return true
	}
	return false
}

// readGRPCStatus reads the status that fields tell; what no version of gRPC
// knows is its UNKNOWN.
func readGRPCStatus(fields []Field) grpcStatus {
	for i := range fields {
		if !equalFold(fields[i].Name, "grpc-status") {
			continue
		}
		n, err := parseLength(fields[i].Value)
		if err != nil || n >= int64(grpcStatuses-1) {
			return grpcUnknownError
		}
		return grpcStatus(n + 1)
	}
	return grpcUnknown
}

// isGRPC reports whether a content type is that of gRPC.
func isGRPC(contentType []byte) bool {
	const name = "application/grpc"
	return hasPrefixFold(contentType, name) &&
		(len(contentType) == len(name) || contentType[len(name)] == '+' || contentType[len(name)] == ';')
}

// grpcUnits are the units of a grpc-timeout.
const grpcUnits = "HMSmun"

// parseGRPCTimeout reads a grpc-timeout: up to 8 digits and a unit.
func parseGRPCTimeout(value []byte) (time.Duration, bool) {
	if len(value) < 2 || len(value) > 9 {
		return 0, false
	}
	n, err := parseLength(value[:len(value)-1])
	if err != nil {
		return 0, false
	}
	units := [len(grpcUnits)]time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond, time.Microsecond, 1}
	at := bytes.IndexByte([]byte(grpcUnits), value[len(value)-1])
	if at < 0 {
		return 0, false
	}
	if n > int64(maxDeadline/units[at]) {
		return maxDeadline, true
	}
	return time.Duration(n) * units[at], true
}

// appendGRPCTimeout appends d in the finest unit that 8 digits are enough for,
// at least one of it.
func appendGRPCTimeout(b []byte, d time.Duration) []byte {
	const most = 99_999_999
	for _, unit := range []struct {
		of   time.Duration
		name byte
	}{{time.Nanosecond, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}} {
		if n := int64(d / unit.of); n <= most {
			return append(strconv.AppendInt(b, max(1, n), 10), unit.name)
		}
	}
	return append(strconv.AppendInt(b, min(most, int64(d/time.Hour)), 10), 'H')
}

// takeGRPC finds out whether the request is a call of gRPC, and until when it
// has to end.
func (x *Exchange) takeGRPC() {
	kind, _ := find(x.Fields, fieldContentType)
	if x.grpc = isGRPC(kind); !x.grpc {
		return
	}
	value, count := find(x.Fields, fieldGRPCTimeout)
	if timeout, ok := parseGRPCTimeout(value); ok && count == 1 {
		x.until = x.Start.Add(timeout)
	}
}

// endsLater reports whether how the call went is still to come, with its trailers.
func (x *Exchange) endsLater(kind failover.Kind) bool {
	return x.grpc && kind == failover.OK && x.called == grpcUnknown && x.endpoint.gateway == ""
}

// outOfTime reports whether err, in the middle of an answer, is that the call's
// own deadline has passed.
func (x *Exchange) outOfTime(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && x.ranOut(time.Now())
}

// ranOut reports whether the call's own deadline has passed.
func (x *Exchange) ranOut(now time.Time) bool { return !x.until.IsZero() && !now.Before(x.until) }

// hasty reports whether the call's own deadline has passed before it could be said
// that the endpoint was slow: clients may choose one as they like.
func (x *Exchange) hasty(now time.Time) bool {
	return x.ranOut(now) && x.upstream < x.endpoint.state.Patience(now)
}

// appendTimeout appends what is left of the time that the call has.
func (x *Exchange) appendTimeout(b []byte) []byte {
	b = appendGRPCTimeout(append(b, "grpc-timeout: "...), time.Until(x.until))
	return append(b, "\r\n"...)
}

// refuseCall makes the fields of an answer by which a call of gRPC is refused:
// its status stands where all others look for that, and HTTP's is 200.
func (x *Exchange) refuseCall(r *refusal) []Field {
	x.called = r.code.grpc()
	fields := own(nil, "content-type", []byte("application/grpc"))
	fields = own(fields, "grpc-status", strconv.AppendInt(nil, int64(x.called-1), 10))
	return own(fields, "grpc-message", []byte(r.detail)) // plain ASCII, which needs no escapes
}

// messages follows the messages of a call's body, each of which has a head of
// five bytes: a flag and its length.
type messages struct {
	head [5]byte
	have int   // bytes of head
	left int64 // bytes of the message to come
}

// longest returns the length of the longest message that begins in piece.
func (m *messages) longest(piece []byte) (longest int64) {
	for len(piece) > 0 {
		if m.left > 0 {
			n := min(m.left, int64(len(piece)))
			m.left -= n
			piece = piece[n:]
			continue
		}
		n := copy(m.head[m.have:], piece)
		m.have += n
		piece = piece[n:]
		if m.have == len(m.head) {
			m.have = 0
			m.left = int64(binary.BigEndian.Uint32(m.head[1:]))
			longest = max(longest, m.left)
		}
	}
	return longest
}

// tooMuch reports whether the body is larger than the rule allows, piece being
// the last that came. Of a call of gRPC, that is said of each message: a stream
// of them may last for ever.
func (x *Exchange) tooMuch(piece []byte) bool {
	limit := x.rule.MaxBody
	if limit <= 0 {
		limit = math.MaxInt64
	}
	if x.grpc {
		return x.messages.longest(piece) > limit
	}
	return x.in > limit
}
