package dataplane

import (
	"strconv"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/routetable"
)

// preflighted returns the method that a CORS preflight (Fetch, section 4.8)
// asks about, nil if the request is none.
func (x *Exchange) preflighted() []byte {
	if string(x.Method) != "OPTIONS" {
		return nil
	}
	if _, ok := x.header("origin"); !ok {
		return nil
	}
	method, _ := x.header("access-control-request-method")
	return method
}

// matchPreflight finds the rule that a preflight is about, that of the
// announced method, if the rule has CORS settings.
func (s *Server) matchPreflight(x *Exchange, p *plan) (routetable.Hit, bool) {
	method := x.preflighted()
	if method == nil {
		return routetable.Hit{}, false
	}
	m := x.scratch.match
	m.Method = method
	hit, ok := p.table.Match(&m)
	x.preflight = ok && hit.Rule.CORS != nil
	return hit, x.preflight
}

// appendCORS appends the CORS fields of the rule for the request's origin; only
// Vary if the origin is not allowed.
func (x *Exchange) appendCORS(fields []message.Field) []message.Field {
	c := x.rule.CORS
	anyone := c.AnyOrigin && !c.Credentials
	if !anyone {
		fields = message.Append(fields, "vary", []byte("origin"))
	}
	origin, ok := x.header("origin")
	if !ok || !admitsOrigin(c, origin) {
		return fields
	}
	if anyone {
		origin = []byte("*")
	}
	fields = message.Append(fields, "access-control-allow-origin", origin)
	if c.Credentials {
		fields = message.Append(fields, "access-control-allow-credentials", []byte("true"))
	}
	if x.preflight {
		return x.appendPreflight(fields)
	}
	if c.ExposeHeaders != "" {
		fields = message.Append(fields, "access-control-expose-headers", []byte(c.ExposeHeaders))
	}
	return fields
}

// appendPreflight appends the fields that only a preflight gets. With
// credentials "*" is not a wildcard for browsers, so what was asked for is
// named.
func (x *Exchange) appendPreflight(fields []message.Field) []message.Field {
	c := x.rule.CORS
	methods, headers := []byte(c.Methods), []byte(c.Headers)
	if c.Methods == "*" && c.Credentials {
		methods = x.preflighted()
	}
	if c.Headers == "*" && c.Credentials {
		headers, _ = x.header("access-control-request-headers")
	}
	if len(methods) > 0 {
		fields = message.Append(fields, "access-control-allow-methods", methods)
	}
	if len(headers) > 0 {
		fields = message.Append(fields, "access-control-allow-headers", headers)
	}
	if c.MaxAge >= 0 {
		fields = message.Append(fields, "access-control-max-age", strconv.AppendInt(nil, int64(c.MaxAge/time.Second), 10))
	}
	return fields
}

// admitsOrigin reports whether c allows origin; schemes and hosts are
// case-insensitive.
func admitsOrigin(c *routetable.CORSRule, origin []byte) bool {
	for _, admitted := range c.Origins {
		if message.EqualFold(origin, admitted) {
			return true
		}
	}
	for _, s := range c.Suffixes {
		host := len(origin) - len(s.Suffix)
		if host > len(s.Scheme) && message.HasPrefixFold(origin, s.Scheme) && message.EqualFold(origin[host:], s.Suffix) {
			return true
		}
	}
	return c.AnyOrigin
}
