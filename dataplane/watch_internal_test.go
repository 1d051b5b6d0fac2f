package dataplane

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/failover"
)

func TestATryInTheBackgroundIsCalledWhatItWas(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, tt := range []struct {
		name   string
		status int
		err    error
		want   failover.Kind
	}{
		{"answered", 200, nil, failover.OK},
		{"unavailable", 503, nil, failover.Unavailable},
		{"refused", 0, dial(syscall.ECONNREFUSED), failover.ConnectFailed},
		{"no way", 0, dial(os.ErrDeadlineExceeded), failover.ConnectFailed},
		{"no port of its own left", 0, dial(syscall.EADDRNOTAVAIL), failover.Canceled},
		{"silent", 0, &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}, failover.TimedOut},
		{"silent over HTTP/2", 0, context.DeadlineExceeded, failover.TimedOut},
		{"reset", 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, failover.Reset},
		{"ended", 0, io.EOF, failover.Reset},
		{"nonsense", 0, message.ErrAnswer, failover.Reset},
		{"forbidden", 0, errForbiddenAddress, failover.ConnectFailed},
		{"not believed", 0, errors.New("x509: unknown authority"), failover.ConnectFailed},
	} {
		if got := kindOfTry(tt.status, tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
