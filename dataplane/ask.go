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
	"github.com/meshgw/meshgw/routetable"
)

const (
	askTimeout = 5 * time.Second // for the whole answer of a service that is asked
	askAtOnce  = 512             // questions under way; as many again may wait
)

// asker asks a service whether to admit requests. It keeps its connections from
// table to table.
type asker struct {
	host   []byte // value of Host
	target []byte // path and query
	pool   *pool
}

// asker returns the one for a URL that the validator has accepted: the present
// plan's, if it has one.
func (s *Server) asker(address string, p *plan) *asker {
	a := p.askers[address]
	if a == nil {
		if old := s.plan.Load(); old != nil {
			a = old.askers[address]
		}
	}
	if a == nil {
		a = s.newAsker(address)
	}
	p.askers[address] = a
	return a
}

func (s *Server) newAsker(address string) *asker {
	a := &asker{pool: &pool{pending: new(atomic.Int64), queued: new(atomic.Int64)}}
	a.pool.resize(askAtOnce)
	u, err := url.Parse(address)
	if err != nil { // the validator has parsed it
		a.pool.dial = func(context.Context) (net.Conn, error) { return nil, err }
		return a
	}
	a.host, a.target = []byte(u.Host), []byte(u.RequestURI())
	port, secure := uint64(80), (*tls.Config)(nil)
	if u.Scheme == "https" {
		port = 443
		if secure, err = upstreamTLS(routetable.UpstreamTLS{}, u.Hostname(), routetable.HTTP1); err != nil {
			a.pool.dial = func(context.Context) (net.Conn, error) { return nil, err }
			return a
		}
	}
	if given, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = given
	}
	names := discovery.NewResolver(u.Hostname(), uint16(port), s.cfg.Resolve, s.spawn)
	a.pool.dial = s.patient(func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, names, secure) }, new(atomic.Int64))
	return a
}

// serviceAuth admits whom another service admits, as peers do it: it is asked with
// GET and the client's own header, and a status of 2xx is a yes. What it does not
// answer, or not in time, is a no.
type serviceAuth struct {
	asker  *asker
	copied []string // fields of its answer that the upstream gets
}

func (w *serviceAuth) admit(s *Server, x *Exchange) *refusal {
	said, err := s.ask(x, w)
	switch {
	case err != nil:
		s.log.Warn().Err(err).Bytes("service", w.asker.host).Msg("auth service not asked")
		return unjudged("The service that decides about the request could not be asked.")
	case said.status/100 == 2:
		x.granted = append(x.granted, said.fields...)
		s.identifyBy(x, x.Shown)
		return nil
	case said.status == 401:
		r := x.invalid("The service that decides about the request does not know the client.")
		if len(said.fields) > 0 {
			r.fields = said.fields
		}
		return r
	case said.status/100 == 3:
		return &refusal{code: Unauthenticated, status: said.status, detail: "The client is to log in elsewhere.", fields: said.fields, says: notValid}
	case said.status/100 == 4:
		return &refusal{code: Denied, detail: "The service that decides about the request does not admit it.", fields: said.fields, says: notAdmitted}
	}
	return unjudged("The service that decides about the request could not do so.")
}

func (w *serviceAuth) challenge(bool) string { return "" }

// wants names the fields of an answer that go on: to the upstream with a yes,
// else to the client, so that it can log in.
func (w *serviceAuth) wants(status int) []string {
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

// said is what a service answered.
type said struct {
	status int
	fields []Field // copies
}

// ask asks once; a second time only where an idle connection had been closed.
func (s *Server) ask(x *Exchange, w *serviceAuth) (said, error) {
	p := w.asker.pool
	deadline := x.Start.Add(askTimeout)
	if err := p.acquire(askAtOnce, place{}, deadline, nil); err != nil {
		return said{}, err
	}
	defer p.release()
	x.scratch.head = s.appendQuestion(x.scratch.head[:0], x, w.asker)
	if c := p.get(time.Now(), true); c != nil {
		if answer, err := s.askOver(x, w, c, deadline); err == nil || c.received || !broken(err) {
			return answer, err
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	conn, err := p.dial(ctx)
	if err != nil {
		return said{}, err
	}
	c, err := newUpstreamConn(conn, lifetime(time.Now()), &s.upstreams)
	if err != nil {
		return said{}, err
	}
	return s.askOver(x, w, c, deadline)
}

// askOver asks over c, and keeps or closes it.
func (s *Server) askOver(x *Exchange, w *serviceAuth, c *upstreamConn, deadline time.Time) (said, error) {
	c.begin(&s.answers)
	a := answer{conn: c, fields: x.scratch.upstream[:0]}
	got, err := exchangeOnce(&a, x.scratch.head, w, deadline)
	x.scratch.upstream = a.fields[:0]
	if _, whole := a.whole(); err == nil && whole && a.reusable() {
		c.end()
		w.asker.pool.put(c, time.Now())
		return got, nil
	}
	_ = c.Close() // the rest of the answer is of no interest
	c.end()
	return got, err
}

func exchangeOnce(a *answer, question []byte, w *serviceAuth, deadline time.Time) (said, error) {
	if err := a.conn.SetDeadline(deadline); err != nil {
		return said{}, err
	}
	if _, err := a.conn.Write(question); err != nil {
		return said{}, err
	}
	for range maxInterim {
		if err := a.readHead(false); err != nil {
			return said{}, err
		}
		if a.status >= 200 {
			return said{status: a.status, fields: copies(a.fields, w.wants(a.status))}, nil
		}
		if a.status == 101 {
			break
		}
	}
	return said{}, errAnswerSyntax
}

// copies returns copies of the fields with these names, which outlive their
// message.
func copies(fields []Field, names []string) []Field {
	var all []Field
	for i := range fields {
		for _, name := range names {
			if fields[i].id == otherField && equalFold(fields[i].Name, name) {
				all = own(all, name, bytes.Clone(fields[i].Value))
			}
		}
	}
	return all
}

// appendQuestion appends what the service is asked: about whom, by the header,
// and about what, by fields that proxies have for it.
func (s *Server) appendQuestion(b []byte, x *Exchange, a *asker) []byte {
	b = append(append(b, "GET "...), a.target...)
	b = append(append(b, " HTTP/1.1\r\nhost: "...), a.host...)
	b = append(append(b, "\r\nx-forwarded-method: "...), x.Method...)
	b = append(append(b, "\r\nx-forwarded-uri: "...), x.Path...)
	if x.HasQuery {
		b = append(append(b, '?'), x.Query...)
	}
	b = append(b, "\r\n"...)
	b = s.appendForwarded(s.appendHops(b, x), x)
	x.scratch.tokens = connectionOptions(x.scratch.tokens[:0], x.Fields)
	for i := range x.Fields {
		if f := &x.Fields[i]; f.tellsWho() && !isListed(x.scratch.tokens, f.Name) {
			b = appendField(b, f.Name, f.Value)
		}
	}
	return append(b, "\r\n"...)
}

// tellsWho reports whether a field may say something of who asks. The others are
// of the way, of the body or for the answer, or a forgery of what is said here.
func (f *Field) tellsWho() bool {
	if f.id != otherField {
		return false
	}
	for _, prefix := range []string{"x-forwarded-", "x-original-", "content-", "if-", "range", "accept-encoding"} {
		if hasPrefixFold(f.Name, prefix) {
			return false
		}
	}
	return true
}

// retireAskers closes the connections of those that to, which may be nil, has
// not.
func (p *plan) retireAskers(to *plan) {
	for address, a := range p.askers {
		if to == nil || to.askers[address] == nil {
			a.pool.retire()
		}
	}
}

// decided reports whether an auth service's answer decides about the field of
// that name, and nothing that the client says.
func (x *Exchange) decided(name []byte) bool {
	if x.rule.auth == nil {
		return false // another gateway has seen to it
	}
	for _, copied := range x.rule.auth.copied {
		if equalFold(name, copied) {
			return true
		}
	}
	return false
}

// appendGranted appends what auth services say of the client.
func (x *Exchange) appendGranted(b []byte) []byte {
	for i := range x.granted {
		b = appendField(b, x.granted[i].Name, x.granted[i].Value)
	}
	return b
}

// shownTo returns what a client's verified certificate says, nil without one.
func shownTo(state tls.ConnectionState) *auth.Certificate {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return auth.NewCertificate(state.VerifiedChains[0][0])
}
