package dataplane

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/routetable"
)

// try sends the request to e and reads the head of its answer. A connection
// that the endpoint closed while it was idle is no failure of the endpoint's:
// where nothing came back and the request may be repeated, a new one is opened.
func (s *Server) try(x *Exchange, e *endpoint, begun time.Time) (*failure, failover.Kind) {
	if e.h2 != nil {
		return s.tryHTTP2(x, e, begun)
	}
	x.conn = e.pool.get(begun, x.idempotent())
	deadline := x.headBy(begun)
	s.buildHead(x, e)
	for {
		if x.conn == nil {
			c, err := s.connect(e, deadline, x)
			if err != nil {
				// One that has come free meanwhile answers: it was this node that was slow.
				c = e.pool.get(time.Now(), x.idempotent())
			}
			if c == nil {
				return s.unreached(x, e, err)
			}
			x.conn = c
		}
		x.conn.begin(&s.answers)
		x.presence.over(x.conn)
		err := s.send(x, deadline)
		if err == nil {
			err = s.receive(x, deadline, begun)
		}
		if err == nil {
			return nil, x.kind()
		}
		if x.conn.used && !x.conn.received && broken(err) && x.idempotent() && x.upload == nil && !x.presence.hasLeft() {
			s.drop(x)
			continue
		}
		return s.failed(x, err)
	}
}

// unreached is what no connection to an endpoint means.
func (s *Server) unreached(x *Exchange, e *endpoint, err error) (*failure, failover.Kind) {
	switch {
	case x.presence.hasLeft():
		return &failure{refusal: clientLeft()}, failover.Canceled
	case x.pastCallDeadline(time.Now()):
		return &failure{refusal: refusal{code: UpstreamTimeout, detail: "There was no connection to the upstream in time."}}, failover.TimedOut
	case errors.Is(err, syscall.EADDRNOTAVAIL): // all local ports lead to this endpoint already; to others they are free
		return &failure{
			refusal: refusal{code: Overloaded, detail: "The gateway has no local port left for a connection to the upstream."},
			reason:  routetable.RetryConnectFailure, lacks: "ports",
		}, failover.Canceled
	case isOwn(err):
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

// notConnected is how a try went that got no connection.
func notConnected(err error) failover.Kind {
	if isOwn(err) {
		return failover.Canceled
	}
	return failover.ConnectFailed
}

// connect opens a connection to e, by deadline, or takes one that comes free
// before it is its turn to. x is nil for a request that nobody waits for.
func (s *Server) connect(e *endpoint, deadline time.Time, x *Exchange) (*upstreamConn, error) {
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
		c, err := e.pool.mayDial(ctx, left)
		if err != nil {
			return nil, err
		}
		if c == nil {
			begun := time.Now()
			raw, err := e.pool.dial(ctx)
			e.pool.dialled(time.Since(begun), err, !e.state.Usable())
			if err != nil {
				s.log.Debug().Err(err).Str("endpoint", e.address.URL).Msg("connect failed")
				return nil, err
			}
			return newUpstreamConn(raw, lifetime(time.Now()), &s.upstreams)
		}
		if c.fresh(time.Now(), x != nil && x.idempotent()) {
			return c, nil
		}
		_ = c.Close()
	}
}

// send writes head and body: a small body with the head, a streamed one beside
// the answer, which may come early.
func (s *Server) send(x *Exchange, deadline time.Time) error {
	if err := x.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if x.Body == nil && x.conn.raw != nil {
		x.conn.outgoing = x.scratch.head // written with the first read
		return nil
	}
	if _, err := x.conn.Write(x.scratch.head); err != nil {
		return err
	}
	if x.Body != nil {
		// From now on the pace of the body decides.
		if err := x.conn.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
		s.startUpload(x)
	}
	return nil
}

// receive reads interim answers, passing them on, and the head of the answer.
func (s *Server) receive(x *Exchange, deadline, begun time.Time) error {
	a := &x.answer
	*a = answer{
		conn: x.conn, idle: x.target.timeouts.Idle,
		fields: x.scratch.upstream, trailers: x.scratch.trailers, text: x.scratch.trailText,
	}
	for interim, late := 0, false; ; interim++ {
		err := x.awaitHead(deadline, begun)
		x.scratch.upstream = a.fields[:0]
		switch {
		case !late && errors.Is(err, os.ErrDeadlineExceeded) && s.stoodStill(begun):
			// It may have come meanwhile.
			late, deadline = true, time.Now().Add(stallLook)
			if err := x.conn.SetReadDeadline(deadline); err != nil {
				return err
			}
		case err != nil:
			return err
		case a.status == 101:
			return x.checkUpgrade()
		case a.status >= 200:
			if x.upload != nil {
				x.upload.headCame()
			}
			return nil
		case interim == maxInterim:
			return errAnswerSyntax
		case a.status != 100: // the client's Expect was answered here
			x.Front.Inform(a.status, a.fields)
		}
	}
}

// broken reports whether a connection was found closed rather than silent.
func broken(err error) bool {
	return !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, errAnswerSyntax) && !errors.Is(err, errFieldSyntax)
}

// failed says what err means for the client, for another try and for the
// endpoint.
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
	case errors.Is(err, errUnasked):
		return &failure{
			refusal: refusal{code: UpstreamReset, detail: "The upstream switched to a protocol that was not asked for."},
			sent:    true,
		}, failover.Reset
	case network || errors.Is(err, syscall.EPIPE) || isEOF(err) || x.call != nil && !errors.Is(err, errAnswerSyntax):
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

// kindOf is what an answer's status says of the endpoint.
func kindOf(status int) failover.Kind {
	switch status {
	case 502, 503, 504:
		return failover.Unavailable
	}
	return failover.OK
}
