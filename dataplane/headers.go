package dataplane

import (
	"slices"
	"strconv"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/routetable"
)

// buildHead makes the head of the request as e is to get it, followed by a small
// body. Everything in it has been validated.
func (s *Server) buildHead(x *Exchange, e *endpoint) {
	b := append(x.scratch.head[:0], x.Method...)
	b = append(b, ' ')
	b = append(b, e.address.BasePath...) // empty for a gateway, which adds that of its endpoint
	b = x.rule.RewritePath(b, x.Path, x.prefix)
	if x.HasQuery {
		b = append(b, '?')
		b = append(b, x.Query...)
	}
	b = append(b, " HTTP/1.1\r\nhost: "...)
	switch {
	case x.rule.RewriteHost != "":
		b = append(b, x.rule.RewriteHost...)
	case len(x.Authority) > 0:
		b = append(b, x.Authority...)
	default:
		b = append(b, e.address.HostPort...)
	}
	b = append(b, "\r\n"...)
	b = s.appendClientFields(b, x)
	b = x.appendAuthFields(b)
	b = s.appendHops(b, x)
	if n := x.tries(); n > 1 {
		b = append(strconv.AppendInt(append(b, "x-meshgw-attempt: "...), int64(n), 10), "\r\n"...)
	}
	if x.from == nil {
		b = s.appendForwarded(b, x)
	}
	if e.gateway != "" {
		b = s.appendLink(b, x)
	}
	b = s.appendEdits(b, x, x.rule.RequestHeaders)
	b = appendFraming(b, x)
	b = append(b, "\r\n"...)
	x.scratch.head = append(b, x.Buffered...)
}

// tries is how often the request has been sent, with this try and with those of the
// gateway that sent it on.
func (x *Exchange) tries() int {
	if x.from != nil {
		return max(1, x.from.attempt) + max(1, x.attempts) - 1
	}
	return max(1, x.attempts)
}

// appendClientFields appends those of the client's fields that are passed on.
func (s *Server) appendClientFields(b []byte, x *Exchange) []byte {
	x.scratch.tokens = message.ConnectionOptions(x.scratch.tokens[:0], x.Fields)
	for i := range x.Fields {
		f := &x.Fields[i]
		switch f.ID {
		case message.Other, message.ContentType, message.Date, message.Via:
		case message.GRPCTimeout:
			if !x.until.IsZero() {
				b = x.appendTimeout(b)
				continue
			}
		case message.XForwardedFor, message.XForwardedHost, message.XForwardedProto, message.XForwardedOther:
			if x.from == nil {
				continue
			}
		case message.Tracestate:
			if !x.trace.Continued {
				continue
			}
		case message.Trailer:
			if x.Length != message.Chunked {
				continue
			}
		case message.MaxForwards:
			if string(x.Method) == "OPTIONS" {
				b = appendMaxForwards(b, f.Value)
				continue
			}
		case message.TE:
			if acceptsTrailers(f.Value) {
				b = append(b, "te: trailers\r\n"...)
			}
			continue
		default:
			continue
		}
		if !message.IsListed(x.scratch.tokens, f.Name) && !edited(x.rule.RequestHeaders, f.Name) && !x.setByAuth(f.Name) {
			b = message.AppendField(b, f.Name, f.Value)
		}
	}
	return b
}

// appendMaxForwards decrements Max-Forwards (RFC 9110, section 7.6.2).
func appendMaxForwards(b, value []byte) []byte {
	n, err := message.ParseLength(value)
	if err != nil || n == 0 {
		return b
	}
	b = append(b, "max-forwards: "...)
	return append(strconv.AppendInt(b, n-1, 10), "\r\n"...)
}

func acceptsTrailers(te []byte) bool {
	for coding := range message.Listed(te) {
		if message.EqualFold(coding, "trailers") {
			return true
		}
	}
	return false
}

// appendHops appends the fields that every hop adds or replaces.
func (s *Server) appendHops(b []byte, x *Exchange) []byte {
	b = append(append(b, "via: "...), x.Protocol[len("HTTP/"):]...)
	b = append(append(b, ' '), s.via...)
	b = append(append(b, "\r\nx-request-id: "...), x.RequestID...)
	b = append(b, "\r\ntraceparent: "...)
	b = x.trace.AppendTraceparent(b)
	return append(b, "\r\n"...)
}

// appendForwarded appends the X-Forwarded fields. Those of an untrusted client are
// replaced, those of a trusted proxy extended.
func (s *Server) appendForwarded(b []byte, x *Exchange) []byte {
	b = append(b, "x-forwarded-for: "...)
	proto, host := []byte(nil), []byte(nil)
	if x.trusted {
		for i := range x.Fields {
			if x.Fields[i].ID == message.XForwardedFor && len(x.Fields[i].Value) > 0 {
				b = append(append(b, x.Fields[i].Value...), ", "...)
			}
		}
		proto, _ = message.Find(x.Fields, message.XForwardedProto)
		host, _ = message.Find(x.Fields, message.XForwardedHost)
	}
	b = x.Peer.AppendTo(b)
	b = append(b, "\r\nx-forwarded-proto: "...)
	switch {
	case len(proto) > 0:
		b = append(b, proto...)
	case x.Secure:
		b = append(b, "https"...)
	default:
		b = append(b, "http"...)
	}
	if len(host) == 0 {
		host = x.Authority
	}
	if len(host) > 0 {
		b = append(append(b, "\r\nx-forwarded-host: "...), host...)
	}
	return append(b, "\r\n"...)
}

// appendFraming appends the framing of the body, and Connection.
func appendFraming(b []byte, x *Exchange) []byte {
	switch {
	case x.Length == message.Chunked:
		b = append(b, "transfer-encoding: chunked\r\n"...)
	case x.Length > 0 || !bodyless(x.Method):
		b = append(b, "content-length: "...)
		b = strconv.AppendInt(b, x.Length, 10)
		b = append(b, "\r\n"...)
	}
	te, _ := message.Find(x.Fields, message.TE)
	switch {
	case x.Upgrade != nil:
		b = append(b, "connection: upgrade\r\nupgrade: "...)
		b = append(append(b, x.Upgrade...), "\r\n"...)
	case acceptsTrailers(te):
		b = append(b, "connection: te\r\n"...)
	}
	return b
}

// bodyless reports whether a request with this method needs no Content-Length if it
// has no body (RFC 9110, section 8.6).
func bodyless(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "DELETE", "OPTIONS":
		return true
	}
	return false
}

// edited reports whether edit removes or replaces the field called name.
func edited(edit *routetable.HeaderEdit, name []byte) bool {
	if edit == nil {
		return false
	}
	for _, removed := range edit.Remove {
		if message.EqualFold(name, removed) {
			return true
		}
	}
	for i := range edit.Set {
		if message.EqualFold(name, edit.Set[i].Name) {
			return true
		}
	}
	return false
}

func (s *Server) appendEdits(b []byte, x *Exchange, edit *routetable.HeaderEdit) []byte {
	if edit == nil {
		return b
	}
	for _, fields := range [2][]routetable.Field{edit.Set, edit.Add} {
		for i := range fields {
			b = append(append(b, fields[i].Name...), ": "...)
			b = append(s.appendValue(b, x, &fields[i]), "\r\n"...)
		}
	}
	return b
}

// replyFields returns the fields of an answer as the client is to get them.
func (s *Server) replyFields(x *Exchange, from []message.Field) []message.Field {
	fields := x.scratch.reply[:0]
	x.scratch.tokens = message.ConnectionOptions(x.scratch.tokens[:0], from)
	edit := &routetable.HeaderEdit{}
	if x.rule != nil && x.rule.ResponseHeaders != nil {
		edit = x.rule.ResponseHeaders
	}
	cors, older := x.rule != nil && x.rule.CORS != nil, x.sendsLegacyLimits()
	dated := false
	for i := range from {
		f := &from[i]
		switch f.ID {
		case message.HopByHop, message.Internal, message.Connection, message.ContentLength, message.TransferEncoding, message.Upgrade,
			message.Trailer, message.TE, message.RequestID:
			continue
		case message.Date:
			dated = true
		}
		if cors && message.HasPrefixFold(f.Name, "access-control-") {
			continue // the route decides
		}
		if older && message.HasPrefixFold(f.Name, "x-ratelimit-") {
			continue // two sets of limits would be mixed up
		}
		if !message.IsListed(x.scratch.tokens, f.Name) && !edited(edit, f.Name) {
			fields = append(fields, *f)
		}
	}
	if !dated {
		fields = append(fields, message.Field{Name: s.ownFields.date, Value: s.date(s.coarseNow()), ID: message.Date})
	}
	fields = append(fields, message.Field{Name: s.ownFields.requestID, Value: x.RequestID})
	fields = s.appendServedBy(fields, x, from)
	fields = s.appendLimits(x, fields, older)
	if cors {
		fields = x.appendCORS(fields)
	}
	for _, added := range [2][]routetable.Field{edit.Set, edit.Add} {
		for i := range added {
			fields = append(fields, s.ruleField(x, &added[i]))
		}
	}
	x.scratch.reply = fields
	return slices.Clip(fields)
}
