package dataplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/meshgw/meshgw/auth"
	"github.com/meshgw/meshgw/dataplane/discovery"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/routetable"
)

const (
	authTimeout     = 5 * time.Second // for a whole exchange with an auth service
	authConcurrency = 512             // requests to one service at once; as many again may wait
)

// authService is an HTTP service that decides about requests, by its URL. It
// keeps its connections from one table to the next.
type authService struct {
	host   []byte // value of Host
	target []byte // path and query
	pool   *upstream.Pool
}

// authService returns the service at an address that the validator has
// accepted: that of the present plan, if it has one.
func (s *Server) authService(address string, p *plan) *authService {
	a := p.authServices[address]
	if a == nil {
		if old := s.plan.Load(); old != nil {
			a = old.authServices[address]
		}
	}
	if a == nil {
		a = s.newAuthService(address)
	}
	p.authServices[address] = a
	return a
}

func (s *Server) newAuthService(address string) *authService {
	a := &authService{pool: &upstream.Pool{Pending: new(atomic.Int64), Queued: new(atomic.Int64)}}
	a.pool.Resize(authConcurrency)
	u, err := url.Parse(address)
	if err != nil { // the validator has parsed it
		a.pool.Dial = func(context.Context) (net.Conn, error) { return nil, err }
		return a
	}
	a.host, a.target = []byte(u.Host), []byte(u.RequestURI())
	port, secure := uint64(80), (*tls.Config)(nil)
	if u.Scheme == "https" {
		port = 443
		if secure, err = upstreamTLS(routetable.UpstreamTLS{}, u.Hostname(), routetable.HTTP1); err != nil {
			a.pool.Dial = func(context.Context) (net.Conn, error) { return nil, err }
			return a
		}
	}
	if given, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = given
	}
	names := discovery.NewResolver(u.Hostname(), uint16(port), s.cfg.Resolve, s.spawn)
	a.pool.Dial = s.boundedDialer(func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, names, secure) }, new(atomic.Int64))
	return a
}

// forwardAuth admits requests that an auth service admits, as forward_auth of
// other gateways does: it is sent a GET with the header of the request, and a
// status of 2xx means yes. No answer, or none in time, means no.
type forwardAuth struct {
	service *authService
	copied  []string // fields of its answer that the upstream gets
}

func (w *forwardAuth) admit(s *Server, x *Exchange) *refusal {
	said, err := s.askAuth(x, w)
	switch {
	case err != nil:
		s.log.Warn().Err(err).Bytes("service", w.service.host).Msg("auth service not asked")
		return authUnavailable("The service that decides about the request could not be asked.")
	case said.status/100 == 2:
		x.authFields = append(x.authFields, said.fields...)
		s.identifyBy(x, x.ClientCert)
		return nil
	case said.status == 401:
		r := x.invalidCredentials("The service that decides about the request does not know the client.")
		if len(said.fields) > 0 {
			r.fields = said.fields
		}
		return r
	case said.status/100 == 3:
		return &refusal{code: Unauthenticated, status: said.status, detail: "The client is to log in elsewhere.", fields: said.fields, rank: badCredentials}
	case said.status/100 == 4:
		return &refusal{code: Denied, detail: "The service that decides about the request does not admit it.", fields: said.fields, rank: notAllowed}
	}
	return authUnavailable("The service that decides about the request could not do so.")
}

func (w *forwardAuth) challenge(bool) string { return "" }

// answerFields names the fields of an answer with status that are passed on: to
// the upstream if the request is admitted, else to the client, so that it can
// log in.
func (w *forwardAuth) answerFields(status int) []string {
	switch status / 100 {
	case 2:
		return w.copied
	case 3:
		return []string{"location", "set-cookie"}
	case 4:
		return []string{"www-authenticate", "set-cookie"}
	}
	return nil
}

// authAnswer is the answer of an auth service.
type authAnswer struct {
	status int
	fields []message.Field // copies
}

// askAuth does one exchange with an auth service, and a second one only if the
// idle connection it used turned out to be closed.
func (s *Server) askAuth(x *Exchange, w *forwardAuth) (authAnswer, error) {
	p := w.service.pool
	deadline := x.Start.Add(authTimeout)
	if err := p.Acquire(authConcurrency, upstream.Rank{}, deadline, nil); err != nil {
		return authAnswer{}, err
	}
	defer p.Release()
	x.scratch.head = s.appendAuthRequest(x.scratch.head[:0], x, w.service)
	if c := p.Get(time.Now(), true); c != nil {
		if answer, err := s.askAuthVia(x, w, c, deadline); err == nil || !c.Stale() || !broken(err) {
			return answer, err
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	conn, err := p.Dial(ctx)
	if err != nil {
		return authAnswer{}, err
	}
	c, err := upstream.NewConn(conn, upstream.Lifetime(time.Now()), &s.upstreams)
	if err != nil {
		return authAnswer{}, err
	}
	return s.askAuthVia(x, w, c, deadline)
}

// askAuthVia does the exchange over c, and keeps or closes c.
func (s *Server) askAuthVia(x *Exchange, w *forwardAuth, c *upstream.Conn, deadline time.Time) (authAnswer, error) {
	c.Begin(&s.answers)
	var got authAnswer
	a := upstream.NewAnswer(c, 0, &x.scratch.answer)
	err := a.RoundTrip(x.scratch.head, false, deadline)
	if err == nil {
		got = authAnswer{status: a.Status, fields: copies(a.Fields, w.answerFields(a.Status))}
	}
	if _, whole := a.Whole(); err == nil && whole && a.Reusable() {
		c.End()
		w.service.pool.Put(c, time.Now())
		return got, nil
	}
	_ = c.Close() // the rest of the answer is of no interest
	c.End()
	return got, err
}

// copies returns copies of the fields with these names, which outlive their
// message.
func copies(fields []message.Field, names []string) []message.Field {
	var all []message.Field
	for i := range fields {
		for _, name := range names {
			if fields[i].ID == message.Other && message.EqualFold(fields[i].Name, name) {
				all = message.Append(all, name, bytes.Clone(fields[i].Value))
			}
		}
	}
	return all
}

// appendAuthRequest appends the request to an auth service: the client's own
// header fields, and the X-Forwarded fields for method, URI and host.
func (s *Server) appendAuthRequest(b []byte, x *Exchange, a *authService) []byte {
	b = append(append(b, "GET "...), a.target...)
	b = append(append(b, " HTTP/1.1\r\nhost: "...), a.host...)
	b = append(append(b, "\r\nx-forwarded-method: "...), x.Method...)
	b = append(append(b, "\r\nx-forwarded-uri: "...), x.Path...)
	if x.HasQuery {
		b = append(append(b, '?'), x.Query...)
	}
	b = append(b, "\r\n"...)
	b = s.appendForwarded(s.appendHops(b, x), x)
	x.scratch.tokens = message.ConnectionOptions(x.scratch.tokens[:0], x.Fields)
	for i := range x.Fields {
		if f := &x.Fields[i]; goesToAuth(f) && !message.IsListed(x.scratch.tokens, f.Name) {
			b = message.AppendField(b, f.Name, f.Value)
		}
	}
	return append(b, "\r\n"...)
}

// goesToAuth reports whether an auth service gets a field. The others are
// hop-by-hop, concern the body or the answer, or would forge the fields set
// here.
func goesToAuth(f *message.Field) bool {
	if f.ID != message.Other {
		return false
	}
	for _, prefix := range []string{"x-forwarded-", "x-original-", "content-", "if-", "range", "accept-encoding"} {
		if message.HasPrefixFold(f.Name, prefix) {
			return false
		}
	}
	return true
}

// retireAuthServices closes the connections of services that the plan to, which
// may be nil, does not have.
func (p *plan) retireAuthServices(to *plan) {
	for address, a := range p.authServices {
		if to == nil || to.authServices[address] == nil {
			a.pool.Retire()
		}
	}
}

// setByAuth reports whether the value of the field called name comes from an
// auth service, whatever the client sent.
func (x *Exchange) setByAuth(name []byte) bool {
	if x.rule.auth == nil {
		return false // done by the gateway that forwarded the request
	}
	for _, copied := range x.rule.auth.copied {
		if message.EqualFold(name, copied) {
			return true
		}
	}
	return false
}

// appendAuthFields appends the fields that auth services returned for the
// upstream.
func (x *Exchange) appendAuthFields(b []byte) []byte {
	for i := range x.authFields {
		b = message.AppendField(b, x.authFields[i].Name, x.authFields[i].Value)
	}
	return b
}

// clientCertificate returns the verified certificate of a client, nil if it
// presented none.
func clientCertificate(state tls.ConnectionState) *auth.Certificate {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return auth.NewCertificate(state.VerifiedChains[0][0])
}
