package dataplane

import (
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/routetable"
)

// Limiter decides whether requests are within their limits. It must be safe for
// concurrent use.
type Limiter interface {
	// Configure replaces the limits. Publish calls it before a request is counted
	// against the new ones. An unchanged limit is the same pointer as before.
	Configure(limits []*quota.Limit)
	// Key returns the key of a subject of l.
	Key(l *quota.Limit, subject []byte) quota.Key
	// Name tells the subject of a key in readable form. It is called for a sample
	// of requests only, so most likely for those of heavy users.
	Name(k quota.Key, subject string)
	// Take asks for one request that is subject to all of asks. It does not keep
	// the slice.
	Take(asks []quota.Ask) quota.Decision
	// Wait returns the decision on a request that Take lets wait, after about half
	// a second at most, or when gone reports that its client has left.
	Wait(t quota.Ticket, gone func() bool) quota.Decision
	// Release returns the concurrency slots of a request that was allowed.
	Release(asks []quota.Ask)
}

// maxAsks is how many rates and concurrencies the limits of a route may have
// together: its tenant may add two.
const maxAsks = quota.MaxAsks - 2

// asksOf counts the rates and concurrencies of r's limits.
func asksOf(r *routetable.Rule) (n int) {
	for _, l := range r.Limits {
		if l.N > 0 {
			n++
		}
		if l.Concurrency > 0 {
			n++
		}
	}
	return n
}

// limit refuses the request if a limit of its route or of its tenant is exceeded.
func (s *Server) limit(x *Exchange) bool {
	if x.preflight || len(x.rule.limits) == 0 && (x.tenant == nil || x.tenant.limit == nil) {
		return true
	}
	asks := s.asks(x)
	d := s.cfg.Limiter.Take(asks)
	if d.Verdict == quota.Wait {
		d = s.cfg.Limiter.Wait(d.Ticket, x.Front.Gone)
		if d.Verdict == quota.Deny && x.Front.Gone() {
			return x.fail(clientLeft())
		}
	}
	x.decision = d
	x.count()
	if d.First || d.Verdict == quota.Deny || rand.Uint32()%nameOne == 0 {
		s.nameAsks(x, asks)
	}
	switch {
	case d.Verdict == quota.Allow:
		x.held = asks
		return true
	case d.Limit != nil && d.Limit.Slots > 0:
		return x.fail(refusal{code: ConcurrencyExceeded, detail: "The limit of requests at once is reached."})
	}
	return x.fail(refusal{code: QuotaExceeded, detail: "The limit of requests is reached."})
}

// nameOne: besides the first request of a key, one of so many allowed ones has its
// keys named.
const nameOne = 256

// releaseLimits returns the concurrency slots that the request holds.
func (s *Server) releaseLimits(x *Exchange) {
	if x.held != nil {
		s.cfg.Limiter.Release(x.held)
		x.held = nil
	}
}

// asks collects the limits that the request is subject to, with its keys.
func (s *Server) asks(x *Exchange) []quota.Ask {
	asks := x.asks[:0]
	for l := range x.limits {
		subject := x.subject(x.scratch.subject[:0], l.key)
		x.scratch.subject = subject
		for _, q := range l.quotas {
			asks = append(asks, quota.Ask{Limit: q, Key: s.cfg.Limiter.Key(q, subject)})
		}
	}
	return asks
}

// limits yields the limits of the request: the route's, then the tenant's.
func (x *Exchange) limits(yield func(*liveLimit) bool) {
	for _, l := range x.rule.limits {
		if !yield(l) {
			return
		}
	}
	if x.tenant != nil && x.tenant.limit != nil {
		yield(x.tenant.limit)
	}
}

// count counts the decision: an allowed request at all its limits, a refused one
// at the limit that refused it.
func (x *Exchange) count() {
	for l := range x.limits {
		switch {
		case x.decision.Verdict == quota.Allow:
			l.counts.allowed.Add(1)
		case x.decision.Limit != nil && x.decision.Limit.Name == l.name:
			l.counts.refused.Add(1)
		}
	}
}

// subject appends the value of key for the request. Two subjects never have the same
// bytes: addresses have a fixed 16 bytes, and no other part contains a 0.
func (x *Exchange) subject(dst []byte, key []routetable.KeyPart) []byte {
	for i, part := range key {
		if i > 0 {
			dst = append(dst, 0)
		}
		switch part.Kind {
		case routetable.KeyTenant:
			if x.tenant != nil {
				dst = append(dst, x.tenant.Name...)
			}
		case routetable.KeyClientIP:
			ip := countedAddr(x.Client).As16()
			dst = append(dst, ip[:]...)
		case routetable.KeyHeader:
			value, _ := x.header(part.Header)
			dst = append(dst, value...)
		case routetable.KeyRoute:
			dst = append(dst, x.rule.Name...)
		}
	}
	return dst
}

// countedAddr returns the address that a client is counted by: for IPv6 its /64, the
// smallest network that a client is usually given.
func countedAddr(client netip.Addr) netip.Addr {
	if client.Is6() && !client.Is4In6() {
		return netip.PrefixFrom(client, 64).Masked().Addr()
	}
	return client
}

// nameAsks tells the limiter the subjects of the request's keys.
func (s *Server) nameAsks(x *Exchange, asks []quota.Ask) {
	i := 0
	for l := range x.limits {
		name := x.subjectName(l.key)
		for range l.quotas {
			if name != "" {
				s.cfg.Limiter.Name(asks[i].Key, name)
			}
			i++
		}
	}
}

// subjectName returns the subject in readable form.
func (x *Exchange) subjectName(key []routetable.KeyPart) string {
	var b []byte
	for i, part := range key {
		if i > 0 {
			b = append(b, ' ')
		}
		switch part.Kind {
		case routetable.KeyTenant:
			name := "none"
			if x.tenant != nil {
				name = x.tenant.Name
			}
			b = append(append(b, "tenant="...), name...)
		case routetable.KeyClientIP:
			b = countedAddr(x.Client).AppendTo(append(b, "client_ip="...))
		case routetable.KeyHeader:
			value, _ := x.header(part.Header)
			b = append(append(b, part.Header...), '=')
			b = strconv.AppendQuoteToASCII(b, string(value[:min(len(value), maxShown)]))
		case routetable.KeyRoute:
			b = append(append(b, "route="...), x.rule.Name...)
		}
	}
	return string(b)
}

// maxShown is how many bytes of a header's value are in it.
const maxShown = 64

// appendLimits appends RateLimit-Policy and RateLimit, if a limit applied
// (draft-ietf-httpapi-ratelimit-headers).
func (s *Server) appendLimits(x *Exchange, fields []message.Field, older bool) []message.Field {
	if x.decision.Limit == nil {
		return fields
	}
	policy := x.scratch.policy[:0]
	for l := range x.limits {
		if len(policy) > 0 {
			policy = append(policy, ", "...)
		}
		policy = append(policy, l.policy...)
	}
	x.scratch.policy = policy
	x.scratch.remaining = x.decision.AppendRateLimit(x.scratch.remaining[:0])
	fields = append(fields,
		message.Field{Name: s.ownFields.policy, Value: policy},
		message.Field{Name: s.ownFields.remaining, Value: x.scratch.remaining},
	)
	if older {
		fields = s.appendLegacyLimits(x, fields)
	}
	return fields
}

// sendsLegacyLimits reports whether the limit in RateLimit is to be sent in the
// X-RateLimit fields too.
func (x *Exchange) sendsLegacyLimits() bool {
	if x.decision.Limit != nil {
		for l := range x.limits {
			if l.name == x.decision.Limit.Name {
				return l.legacy
			}
		}
	}
	return false
}

// appendLegacyLimits appends the same limit as X-RateLimit fields, which no document
// defines: the reset is in seconds from now, as in most implementations.
func (s *Server) appendLegacyLimits(x *Exchange, fields []message.Field) []message.Field {
	most, _ := x.decision.Limit.Quota()
	values := [3]int64{most, max(0, x.decision.Remaining), x.decision.ResetSeconds()}
	told := len(values)
	if x.decision.Limit.Slots > 0 {
		told-- // it is not known when requests end
	}
	for i, value := range values[:told] {
		x.scratch.legacy[i] = strconv.AppendInt(x.scratch.legacy[i][:0], value, 10)
		fields = append(fields, message.Field{Name: s.ownFields.legacy[i], Value: x.scratch.legacy[i]})
	}
	return fields
}

// retryAfter returns the value of Retry-After, in seconds, for a refused request.
func (x *Exchange) retryAfter() []byte {
	if x.decision.Verdict != quota.Deny {
		return strconv.AppendInt(nil, 1+rand.Int64N(3), 10) // spread out, so that not all retry at once
	}
	return strconv.AppendInt(nil, x.decision.RetryAfterSeconds(rand.Float64()), 10)
}
