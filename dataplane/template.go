package dataplane

import (
	"strconv"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/routetable"
)

// appendValue appends the value of a field that a rule sets.
func (s *Server) appendValue(b []byte, x *Exchange, f *routetable.Field) []byte {
	if f.Parts == nil {
		return append(b, f.Value...)
	}
	return s.appendParts(b, x, f.Parts)
}

// ruleField returns a field that a rule sets in an answer.
func (s *Server) ruleField(x *Exchange, f *routetable.Field) message.Field {
	name, value := view(f.Name), view(f.Value)
	if f.Parts != nil {
		begin := len(x.scratch.values)
		x.scratch.values = s.appendParts(x.scratch.values, x, f.Parts)
		value = x.scratch.values[begin:]
	}
	return message.Field{Name: name, Value: value, ID: message.Identify(name)}
}

// appendParts appends a text with its placeholders replaced. The values are parts of
// a parsed head, so they contain no control bytes.
func (s *Server) appendParts(b []byte, x *Exchange, parts []routetable.Part) []byte {
	for i := range parts {
		b = s.appendPart(b, x, &parts[i])
	}
	return b
}

// appendMilliseconds appends how long the endpoint has for the head of its answer.
func (x *Exchange) appendMilliseconds(b []byte) []byte {
	if x.target == nil {
		return b
	}
	now := time.Now()
	by := x.headDeadline(now)
	if by.IsZero() {
		return b
	}
	return strconv.AppendInt(b, max(0, by.Sub(now).Milliseconds()), 10)
}

func (s *Server) appendPart(b []byte, x *Exchange, p *routetable.Part) []byte {
	switch p.Variable {
	case routetable.NoVariable:
		return append(b, p.Text...)
	case routetable.RequestID:
		return append(b, x.RequestID...)
	case routetable.RequestMethod:
		return append(b, x.Method...)
	case routetable.RequestScheme:
		if x.secure() {
			return append(b, "https"...)
		}
		return append(b, "http"...)
	case routetable.RequestHost:
		return append(b, x.Host...)
	case routetable.RequestPath:
		return append(b, x.Path...)
	case routetable.RequestQuery:
		return append(b, x.Query...)
	case routetable.RequestAttempt:
		return strconv.AppendInt(b, int64(x.tries()), 10)
	case routetable.RequestTimeout:
		return x.appendMilliseconds(b)
	case routetable.RequestHeader:
		value, _ := x.header(p.Text)
		return append(b, value...)
	case routetable.ClientIP:
		return x.Client.AppendTo(b)
	case routetable.RouteName:
		return append(b, x.rule.Name...)
	case routetable.TenantName:
		if x.tenant != nil {
			b = append(b, x.tenant.Name...)
		}
		return b
	case routetable.NodeName:
		return append(b, s.cfg.Node...)
	case routetable.NodeRegion:
		return append(b, s.cfg.Region...)
	case routetable.ErrorStatus:
		return strconv.AppendInt(b, int64(x.status), 10)
	case routetable.ErrorReason:
		return append(b, x.refused.code.String()...)
	}
	return b
}
