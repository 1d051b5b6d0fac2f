package dataplane

import (
	"errors"
	"os"
	"time"

	"github.com/meshgw/meshgw/dataplane/grpc"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// stallLook is how often a waiting request checks whether its endpoint was found to
// stall. No shorter silence is suspected.
const stallLook = 250 * time.Millisecond

var errStalled = errors.New("silent while others answer")

// awaitHead reads the head of the answer, until deadline. A request that may be
// retried does not wait at an endpoint that was found to stall.
func (x *Exchange) awaitHead(deadline, begun time.Time) error {
	if !x.mayRetryStall() {
		return x.answer.ReadHead(x.isHead())
	}
	for now := begun; ; now = time.Now() {
		until := earlier(deadline, now.Add(stallLook))
		if err := x.conn.SetReadDeadline(until); err != nil {
			return err
		}
		err := x.answer.ReadHead(x.isHead())
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded), until.Equal(deadline):
			return err
		case x.endpoint.state.Stalled(time.Now()):
			return errStalled
		}
	}
}

// mayRetryStall reports whether the request may be retried elsewhere if the endpoint
// stalls.
func (x *Exchange) mayRetryStall() bool {
	u := x.target.upstream
	return x.Body == nil && x.Upgrade == nil && x.idempotent() && x.attempts < u.Attempts && u.RetryOn.Has(routetable.RetryStalled)
}

// kind returns the outcome of the answer for the endpoint. For a gateway any answer
// is a success, unless it finds no usable endpoint itself.
func (x *Exchange) kind() failover.Kind {
	if x.grpc {
		x.grpcStatus = statusOf(x.answer.Fields)
	}
	switch {
	case x.endpoint.gateway != "":
	case x.grpcStatus == grpc.Unavailable:
		return failover.Unavailable
	default:
		return kindOf(x.answer.Status)
	}
	switch x.gatewayRefusal() {
	case NoHealthyUpstream, CircuitOpen:
		return failover.Unavailable
	}
	return failover.OK
}
