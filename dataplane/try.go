package dataplane

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// try sends the request to e and reads the head of its answer. If an idle
// connection turns out to have been closed by the endpoint, which is no failure
// of its, and the request may be repeated, it opens a new one.
func (s *Server) try(x *Exchange, e *endpoint, begun time.Time) (*failure, failover.Kind) {
	if e.h2 != nil {
		return s.tryHTTP2(x, e, begun)
	}
	x.conn = e.pool.Get(begun, x.idempotent())
	deadline := x.headDeadline(begun)
	s.buildHead(x, e)
	for {
		if x.conn == nil {
			c, err := s.connect(e, deadline, x)
			if err != nil {
				// If a connection has become idle meanwhile, the endpoint is well and this
				// node was slow.
				c = e.pool.Get(time.Now(), x.idempotent())
			}
			if c == nil && s.mayConnectAgain(x, err, &begun, &deadline) {
				continue
			}
			if c == nil {
				return s.connectFailure(x, e, err)
			}
			x.conn = c
		}
		x.conn.Begin(&s.answers)
		x.presence.closeOnLeave(x.conn)
		err := s.send(x, deadline)
		if err == nil {
			err = s.receive(x, deadline, begun)
		}
		if err == nil {
			return nil, x.kind()
		}
		if x.conn.Stale() && broken(err) && x.idempotent() && x.upload == nil && !x.presence.hasLeft() {
			s.closeUpstream(x)
			continue
		}
		return s.failed(x, err)
	}
}

// mayConnectAgain reports whether the time to connect, which has passed, passed while
// this process was frozen: it then begins anew.
func (s *Server) mayConnectAgain(x *Exchange, err error, begun, deadline *time.Time) bool {
	if !errors.Is(err, context.DeadlineExceeded) || !s.wasFrozen(*begun) {
		return false
	}
	now := time.Now()
	*begun, *deadline = now, x.headDeadline(now)
	return deadline.IsZero() || now.Before(*deadline)
}

// connectFailure says what it means that no connection to an endpoint could be
// made, for the client and for the endpoint.
func (s *Server) connectFailure(x *Exchange, e *endpoint, err error) (*failure, failover.Kind) {
	switch {
	case x.presence.hasLeft():
		return &failure{refusal: clientLeft()}, failover.Canceled
	case x.pastCallDeadline(time.Now()):
		return &failure{refusal: refusal{code: UpstreamTimeout, detail: "There was no connection to the upstream in time."}}, failover.TimedOut
	case errors.Is(err, syscall.EADDRNOTAVAIL): // all local ports are in use towards this endpoint; for others they are free
		return &failure{
			refusal: refusal{code: Overloaded, detail: "The gateway has no local port left for a connection to the upstream."},
			reason:  routetable.RetryConnectFailure, lacks: "ports",
		}, failover.Canceled
	case isLocalFailure(err):
		return &failure{
			refusal: refusal{code: Overloaded, detail: "The gateway has no room for a connection to the upstream."},
			lacks:   "descriptors",
		}, failover.Canceled
	}
	return &failure{
		refusal: refusal{code: ConnectFailure, detail: "The upstream could not be reached." + s.hint(e, err)},
		reason:  routetable.RetryConnectFailure,
	}, failover.ConnectFailed
}

// kindOfConnect is the outcome of a try that could not connect.
func kindOfConnect(err error) failover.Kind {
	if isLocalFailure(err) {
		return failover.Canceled
	}
	return failover.ConnectFailed
}

// connect opens a connection to e, until deadline, or takes one that becomes idle
// before it may dial. x is nil for a request that no client waits for.
func (s *Server) connect(e *endpoint, deadline time.Time, x *Exchange) (*upstream.Conn, error) {
	ctx, cancel := context.Background(), func() {}
	if !deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, deadline)
	}
	defer cancel()
	var left <-chan struct{}
	if x != nil {
		left = x.presence.left
	}
	for {
		c, err := e.pool.MayDial(ctx, left)
		if err != nil {
			return nil, err
		}
		if c == nil {
			begun := time.Now()
			raw, err := e.pool.Dial(ctx)
			e.pool.Dialed(time.Since(begun), err, !e.state.Usable())
			if err != nil {
				s.log.Debug().Err(err).Str("endpoint", e.address.URL).Msg("connect failed")
				return nil, err
			}
			return upstream.NewConn(raw, upstream.Lifetime(time.Now()), &s.upstreams)
		}
		if c.Fresh(time.Now(), x != nil && x.idempotent()) {
			return c, nil
		}
		_ = c.Close()
	}
}

// send writes head and body: a small body along with the head, a streamed one
// concurrently with the answer, which may come early.
func (s *Server) send(x *Exchange, deadline time.Time) error {
	if err := x.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if x.Length != 0 {
		x.conn.Doubt()
	}
	if x.Body == nil {
		return x.conn.WriteRequest(x.scratch.head)
	}
	if _, err := x.conn.Write(x.scratch.head); err != nil {
		return err
	}
	// While the body is sent, its own timeouts apply.
	if err := x.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	s.startUpload(x)
	return nil
}

// receive reads the head of the answer, and passes on interim answers before it.
func (s *Server) receive(x *Exchange, deadline, begun time.Time) error {
	a := &x.answer
	*a = upstream.NewAnswer(x.conn, x.target.timeouts.Idle, &x.scratch.answer)
	for interim, late := 0, false; ; interim++ {
		err := x.awaitHead(deadline, begun)
		switch {
		case !late && errors.Is(err, os.ErrDeadlineExceeded) && s.wasFrozen(begun):
			// It may have arrived meanwhile.
			late, deadline = true, time.Now().Add(stallLook)
			if err := x.conn.SetReadDeadline(deadline); err != nil {
				return err
			}
		case err != nil:
			return err
		case a.Status == 101:
			return x.checkUpgrade()
		case a.Status >= 200:
			if x.upload != nil {
				x.upload.answerBegan()
			}
			return nil
		case interim == upstream.MaxInterim:
			return message.ErrAnswer
		case a.Status != 100: // 100 Continue was sent to the client by the front
			x.Front.Inform(a.Status, a.Fields)
		}
	}
}

// broken reports whether err means that the connection was closed.
func broken(err error) bool {
	return !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, message.ErrAnswer) && !errors.Is(err, message.ErrField)
}

// failed says what err means for the client, for a retry and for the endpoint.
func (s *Server) failed(x *Exchange, err error) (*failure, failover.Kind) {
	if x.presence.hasLeft() {
		return &failure{refusal: clientLeft(), sent: true}, failover.Canceled
	}
	if r := x.uploadRefusal(); r != nil {
		return &failure{refusal: *r, sent: true}, failover.Canceled
	}
	_, network := errors.AsType[net.Error](err)
	hint := s.hint(x.endpoint, err)
	switch {
	case hint != "":
		return &failure{
			refusal: refusal{code: UpstreamReset, detail: "The upstream's answer is in another protocol." + hint}, reason: routetable.RetryReset, sent: true,
		}, failover.Reset
	case errors.Is(err, errStalled), errors.Is(err, os.ErrDeadlineExceeded):
		kind := failover.TimedOut
		if errors.Is(err, errStalled) {
			kind = failover.Stalled
		}
		return &failure{
			refusal: refusal{code: UpstreamTimeout, detail: "The upstream did not answer in time."},
			reason:  routetable.RetryStalled, sent: true,
		}, kind
	case errors.Is(err, errUnaskedUpgrade):
		return &failure{
			refusal: refusal{code: UpstreamReset, detail: "The upstream switched to a protocol that was not asked for."},
			sent:    true,
		}, failover.Reset
	case network || errors.Is(err, syscall.EPIPE) || isEOF(err) || x.call != nil && !errors.Is(err, message.ErrAnswer):
		return &failure{
			refusal: refusal{code: UpstreamReset, detail: "The upstream broke the connection before it answered."},
			reason:  routetable.RetryReset, sent: !unprocessed(err),
		}, failover.Reset
	}
	s.log.Warn().Err(err).Str("endpoint", x.endpoint.address.URL).Msg("answer refused")
	return &failure{
		refusal: refusal{code: UpstreamReset, detail: "The upstream's answer is not valid HTTP."}, sent: true,
	}, failover.Reset
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// kindOf is the outcome for the endpoint of an answer with status.
func kindOf(status int) failover.Kind {
	switch status {
	case 502, 503, 504:
		return failover.Unavailable
	}
	return failover.OK
}
