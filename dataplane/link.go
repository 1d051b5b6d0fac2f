package dataplane

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/failover"
)

// The mesh link carries a request to a gateway of another region as it is to reach
// the endpoint, plus one field with what was decided about it:
//
//	x-meshgw-link: hop=1;node=eu-1;region=eu;upstream=orders;route=r;version=12;tenant=acme;priority=normal;attempt=2;deadline=2950;client=192.0.2.1
//
// deadline is in milliseconds from receipt, since clocks differ. Unknown keys, as of
// newer nodes, are ignored. The field is honoured on link listeners only; from
// others it is dropped like every field that begins with x-meshgw-.
const linkName = "x-meshgw-link"

// link is what the forwarding gateway says about a request. Its bytes are valid until
// the exchange ends.
type link struct {
	hop          int // how many gateways forwarded it
	node, region []byte
	upstream     []byte
	route        []byte
	tenant       []byte // empty = none is known
	version      uint64 // of the sender's table
	priority     failover.Priority
	attempt      int
	deadline     time.Duration // 0 = none
	client       netip.Addr
}

var errLink = errors.New("malformed link field")

// maxDeadline is the longest deadline that is accepted, so that none overflows.
const maxDeadline = 24 * time.Hour

// append appends the field's value.
func (l *link) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, "hop="...), int64(l.hop), 10)
	b = append(append(b, ";node="...), l.node...)
	b = append(append(b, ";region="...), l.region...)
	b = append(append(b, ";upstream="...), l.upstream...)
	b = append(append(b, ";route="...), l.route...)
	if len(l.tenant) > 0 {
		b = append(append(b, ";tenant="...), l.tenant...)
	}
	b = strconv.AppendUint(append(b, ";version="...), l.version, 10)
	b = append(append(b, ";priority="...), l.priority.String()...)
	b = strconv.AppendInt(append(b, ";attempt="...), int64(l.attempt), 10)
	if l.deadline > 0 {
		b = strconv.AppendInt(append(b, ";deadline="...), max(1, l.deadline.Milliseconds()), 10)
	}
	if l.client.IsValid() {
		b = l.client.AppendTo(append(b, ";client="...))
	}
	return b
}

// parseLink parses the field's value. Hop, node, region and upstream are required.
func parseLink(value []byte) (link, error) {
	l := link{priority: failover.Normal}
	for part := range bytes.SplitSeq(value, []byte{';'}) {
		key, text := message.CutByte(part, '=')
		if err := l.set(string(key), text); err != nil {
			return link{}, err
		}
	}
	if l.hop < 1 || len(l.node) == 0 || len(l.region) == 0 || len(l.upstream) == 0 {
		return link{}, errLink
	}
	return l, nil
}

func (l *link) set(key string, text []byte) (err error) {
	number := func(most int64) int64 {
		n, bad := message.ParseLength(text)
		if bad != nil || n > most {
			err = errLink
		}
		return n
	}
	switch key {
	case "hop":
		l.hop = int(number(1 << 10))
	case "node":
		l.node = text
	case "region":
		l.region = text
	case "upstream":
		l.upstream = text
	case "route":
		l.route = text
	case "tenant":
		l.tenant = text
	case "version":
		l.version = uint64(number(1 << 62))
	case "attempt":
		l.attempt = int(number(1 << 10))
	case "deadline":
		l.deadline = time.Duration(number(maxDeadline.Milliseconds())) * time.Millisecond
	case "priority":
		l.priority, err = failover.ParsePriority(string(text))
	case "client":
		l.client, err = netip.ParseAddr(string(text))
	}
	if err != nil {
		return errLink
	}
	return nil
}

// appendLink appends the field for the next gateway.
func (s *Server) appendLink(b []byte, x *Exchange) []byte {
	l := link{
		hop: 1, node: s.ownFields.node[0].Value, region: s.ownFields.node[1].Value,
		upstream: []byte(x.target.upstream.Name), route: []byte(x.rule.Name), version: s.plan.Load().table.Version(),
		priority: x.priority, attempt: x.attempts, client: x.Client,
	}
	if x.tenant != nil {
		l.tenant = []byte(x.tenant.Name)
	}
	if !x.deadline.IsZero() {
		l.deadline = time.Until(x.deadline)
	}
	b = append(append(b, linkName...), ": "...)
	return append(l.append(b), "\r\n"...)
}

// identifyLinked reads the link field of a request. On a link with certificates, it
// has to name the node that the certificate is for.
func (s *Server) identifyLinked(x *Exchange) bool {
	s.trace(x)
	x.Client = x.Peer
	value, count := x.fieldsNamed(linkName)
	l, err := parseLink(value)
	switch {
	case count != 1 || err != nil:
		return x.fail(refusal{code: BadRequest, detail: "The mesh link carries only what gateways send on.", close: true})
	case !x.speaksFor(l.node):
		return x.fail(refusal{code: Denied, detail: "The link's certificate is for another node.", close: true})
	case l.hop > 1 || s.isLoop(x):
		return x.fail(refusal{code: ForwardLoop, detail: "The request was sent on before."})
	}
	x.scratch.from = l
	x.from, x.priority = &x.scratch.from, l.priority
	if l.client.IsValid() {
		x.Client = l.client
	}
	return true
}

// speaksFor reports whether the other end of the link is node, by its certificate. A
// plain link is trusted.
func (x *Exchange) speaksFor(node []byte) bool {
	return x.Certificate == nil || x.Certificate.VerifyHostname(string(node)) == nil
}

// fieldsNamed returns the first field named name, and how many there are.
func (x *Exchange) fieldsNamed(name string) (value []byte, count int) {
	for i := range x.Fields {
		if message.EqualFold(x.Fields[i].Name, name) {
			if count++; count == 1 {
				value = x.Fields[i].Value
			}
		}
	}
	return value, count
}

// matchLinked finds the upstream, and the timeouts of the route if that is known
// here. Everything else was decided by the forwarding gateway.
func (s *Server) matchLinked(x *Exchange) bool {
	p := s.plan.Load()
	u := p.upstream[string(x.from.upstream)]
	if u == nil {
		return x.fail(refusal{code: NoHealthyUpstream, detail: "This gateway does not know the upstream."})
	}
	x.rule, x.target = u.linked, u.linked.targets[0]
	if rule := p.table.Rule(string(x.from.route)); rule != nil {
		for _, target := range s.live(rule, p).targets {
			if target.upstream == u {
				x.target = target
			}
		}
	}
	s.metrics.forwarded.WithLabelValues(u.Name, string(x.from.region)).Inc()
	return true
}

// gatewayRefusal returns the code of an answer that is a refusal of the next gateway
// itself, so that nothing was done for the request; else NoError.
func (x *Exchange) gatewayRefusal() Code {
	if x.endpoint.gateway == "" || x.answer.Status != 502 && x.answer.Status != 503 && !x.grpc {
		return NoError
	}
	for i := range x.answer.Fields {
		if f := &x.answer.Fields[i]; message.EqualFold(f.Name, "x-meshgw-error") {
			for _, code := range []Code{Overloaded, NoHealthyUpstream, CircuitOpen, PendingFull, ConnectFailure} {
				if string(f.Value) == code.String() {
					return code
				}
			}
		}
	}
	return NoError
}

// linkCertificate returns the verified certificate of the other end of a link, nil on
// a plain one.
func linkCertificate(c *tls.Conn) *x509.Certificate {
	if chain := c.ConnectionState().PeerCertificates; len(chain) > 0 {
		return chain[0]
	}
	return nil
}

// appendServedBy appends the fields that name the node that answered: this one, or
// the next gateway, in which case this one is named in x-meshgw-via.
func (s *Server) appendServedBy(fields []message.Field, x *Exchange, from []message.Field) []message.Field {
	if x.endpoint == nil || x.endpoint.gateway == "" || x.refused != nil {
		return append(fields, s.ownFields.node...)
	}
	for i := range from {
		for _, name := range []string{"x-meshgw-node", "x-meshgw-region", "x-meshgw-error"} {
			if message.EqualFold(from[i].Name, name) {
				fields = append(fields, from[i])
			}
		}
	}
	return append(fields, s.ownFields.via)
}
