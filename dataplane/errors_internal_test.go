package dataplane

import (
	"testing"

	"github.com/meshgw/meshgw/dataplane/grpc"
)

func TestEveryCodeHasAGRPCStatus(t *testing.T) {
	for code := NoRoute; code <= ForwardLoop; code++ {
		if s := code.grpcStatus(); s == grpc.Unset || s == grpc.OK {
			t.Errorf("%s has none", code)
		}
	}
}
