package dataplane

import (
	"errors"
	"os"
	"time"

	"github.com/meshgw/meshgw/dataplane/grpc"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// stallLook is how often a waiting request looks whether its endpoint was found
// to stall. No silence that is shorter is suspected.
const stallLook = 250 * time.Millisecond

var errStalled = errors.New("silent while others answer")

// awaitHead reads the head of the answer, by deadline. A request that may be
// sent again does not wait at an endpoint that was found to stall.
func (x *Exchange) awaitHead(deadline, begun time.Time) error {
	if !x.mayLeave() {
		return x.answer.readHead(x.isHead())
	}
	for now := begun; ; now = time.Now() {
		until := earlier(deadline, now.Add(stallLook))
		if err := x.conn.SetReadDeadline(until); err != nil {
			return err
		}
		err := x.answer.readHead(x.isHead())
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded), until.Equal(deadline):
			return err
		case x.endpoint.state.Stalled():
			return errStalled
		}
	}
}

// mayLeave reports whether the request may be given up here and sent elsewhere.
func (x *Exchange) mayLeave() bool {
	u := x.target.upstream
	return x.Body == nil && x.Upgrade == nil && x.idempotent() && x.attempts < u.Attempts && u.RetryOn.Has(routetable.RetryStalled)
}

// kind is what the answer says of the endpoint. A gateway is well as long as it
// answers, unless it finds no way to an endpoint itself.
func (x *Exchange) kind() failover.Kind {
	if x.grpc {
		x.grpcStatus = statusOf(x.answer.fields)
	}
	switch {
	case x.endpoint.gateway != "":
	case x.grpcStatus == grpc.Unavailable:
		return failover.Unavailable
	default:
		return kindOf(x.answer.status)
	}
	switch x.ownRefusal() {
	case NoHealthyUpstream, CircuitOpen:
		return failover.Unavailable
	}
	return failover.OK
}
