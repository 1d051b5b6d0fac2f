package grpc

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// HealthMethod is the path of the method that a health check calls.
const HealthMethod = "/grpc.health.v1.Health/Check"

// serving is the HealthCheckResponse.ServingStatus of a service that is well.
const serving = 1

// HealthRequest returns a HealthCheckRequest with its prefix. An empty service
// stands for the server as a whole.
func HealthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), service)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// IsServing reports whether body, a HealthCheckResponse with its prefix, says that
// the service is well.
func IsServing(body []byte) bool {
	if len(body) < prefixLength {
		return false
	}
	for message := body[prefixLength:]; len(message) > 0; {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		if number == 1 && kind == protowire.VarintType {
			status, n := protowire.ConsumeVarint(message)
			return n > 0 && status == serving
		}
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return false
		}
		message = message[n:]
	}
	return false
}
