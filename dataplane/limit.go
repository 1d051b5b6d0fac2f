package dataplane

import (
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/routetable"
)

// Limiter holds requests to their limits. Its methods may be called from several
// goroutines at once.
type Limiter interface {
	// Configure replaces the limits; Publish calls it before a request is held
	// to the new ones. A limit that stays as it was is the same pointer.
	Configure(limits []*quota.Limit)
	// Key hashes subject, whom l counts.
	Key(l *quota.Limit, subject []byte) quota.Key
	// Name says for people whom a key stands for. It is told of a few requests
	// only, those of heavy users the soonest.
	Name(k quota.Key, subject string)
	// Take asks for one request that is held to all of asks, which is not kept.
	Take(asks []quota.Ask) quota.Decision
	// Wait returns the answer to a request that Take lets wait, within half a
	// second or so, and sooner once gone reports that its client is.
	Wait(t quota.Ticket, gone func() bool) quota.Decision
	// Release gives back the slots of a request that was allowed.
	Release(asks []quota.Ask)
}

// mostAsks is how many rates and slots the limits of a route may have together:
// the tenant may add two.
const mostAsks = quota.MaxAsks - 2

// asksOf counts the rates and slots of r's limits.
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

// limit holds the request to the limits of its route and of its tenant.
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

// nameOne is of how many allowed requests one has its keys named, besides the first
// of a key.
const nameOne = 256

// unlimit gives back what the request held of limits of requests at once.
func (s *Server) unlimit(x *Exchange) {
	if x.held != nil {
		s.cfg.Limiter.Release(x.held)
		x.held = nil
	}
}

// asks gathers what the request is held to.
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

// subject appends whom a key of these parts counts. The parts of two subjects
// never run together: an address has its 16 bytes, and nothing else holds a 0.
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
			ip := counted(x.Client).As16()
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

// counted is the address that a client counts by: of IPv6 the network of 64
// bits, which is the least that a client is given and can move about in.
func counted(client netip.Addr) netip.Addr {
	if client.Is6() && !client.Is4In6() {
		return netip.PrefixFrom(client, 64).Masked().Addr()
	}
	return client
}

// nameAsks tells whom the keys of the request stand for.
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

// subjectName is the subject in words.
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
			b = counted(x.Client).AppendTo(append(b, "client_ip="...))
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

// maxShown is how much of a header's value is shown to people.
const maxShown = 64

// appendLimits appends what a limited request's client is told
// (draft-ietf-httpapi-ratelimit-headers).
func (s *Server) appendLimits(x *Exchange, fields []Field, older bool) []Field {
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
		Field{Name: s.names.policy, Value: policy},
		Field{Name: s.names.remaining, Value: x.scratch.remaining},
	)
	if older {
		fields = s.appendOlderLimits(x, fields)
	}
	return fields
}

// tellsOlderLimits reports whether the limit that RateLimit tells of is to be told
// in the older fields too.
func (x *Exchange) tellsOlderLimits() bool {
	if x.decision.Limit != nil {
		for l := range x.limits {
			if l.name == x.decision.Limit.Name {
				return l.older
			}
		}
	}
	return false
}

// appendOlderLimits tells of the same limit as RateLimit does, in the fields that
// came before it and that no document defines: the reset is in seconds from now,
// as most have it.
func (s *Server) appendOlderLimits(x *Exchange, fields []Field) []Field {
	most, _ := x.decision.Limit.Quota()
	values := [3]int64{most, max(0, x.decision.Remaining), x.decision.ResetSeconds()}
	told := len(values)
	if x.decision.Limit.Slots > 0 {
		told-- // nobody knows when requests end
	}
	for i, value := range values[:told] {
		x.scratch.older[i] = strconv.AppendInt(x.scratch.older[i][:0], value, 10)
		fields = append(fields, Field{Name: s.names.older[i], Value: x.scratch.older[i]})
	}
	return fields
}

// retryAfter is the value of Retry-After for a request that was refused.
func (x *Exchange) retryAfter() []byte {
	if x.decision.Verdict != quota.Deny {
		return strconv.AppendInt(nil, 1+rand.Int64N(3), 10) // so that not all come back at once
	}
	return strconv.AppendInt(nil, x.decision.RetryAfterSeconds(rand.Float64()), 10)
}
