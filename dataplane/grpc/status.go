package grpc

import (
	"bytes"
	"strconv"
)

// Status is the status of a call: the number that gRPC has for it, plus one. The
// zero value means that none is known.
type Status uint8

// The statuses of gRPC.
const (
	Unset Status = iota
	OK
	Canceled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated
	statuses // how many there are
)

// String returns gRPC's name of s; empty for Unset.
func (s Status) String() string {
	names := [statuses]string{
		"", "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
		"UNAUTHENTICATED",
	}
	return names[s]
}

// Append appends the value of grpc-status for s, which is not Unset.
func (s Status) Append(b []byte) []byte { return strconv.AppendInt(b, int64(s)-1, 10) }

// IsServerError reports whether s is a fault of the server rather than of the
// client, by OpenTelemetry's semantic conventions.
func (s Status) IsServerError() bool {
	switch s {
	case Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable, DataLoss:
		return true
	}
	return false
}

// ParseStatus reads the value of grpc-status. One that gRPC does not define is
// Unknown.
func ParseStatus(value []byte) Status {
	n, err := strconv.ParseUint(string(value), 10, 8)
	if err != nil || n >= uint64(statuses-1) {
		return Unknown
	}
	return Status(n + 1)
}

// IsContentType reports whether contentType is one of gRPC's: application/grpc,
// perhaps with a format or parameters behind it.
func IsContentType(contentType []byte) bool {
	const name = "application/grpc"
	return len(contentType) >= len(name) && bytes.EqualFold(contentType[:len(name)], []byte(name)) &&
		(len(contentType) == len(name) || contentType[len(name)] == '+' || contentType[len(name)] == ';')
}
