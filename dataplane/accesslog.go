package dataplane

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane/grpc"
)

// AccessLog selects the requests that get a line in the access log. The zero value
// selects all.
type AccessLog struct {
	Off        bool          // none
	ErrorsOnly bool          // those with a status of 500 and above, an error of the gateway's, or cut short
	Ratio      float64       // of the others, besides errors and slow ones; 0 = all of them
	Slow       time.Duration // from when a request is slow, and remembered for longer; 0 = 1 s

	Log *zerolog.Logger // nil = the Server's
}

func (a *AccessLog) wants(failed, slow bool) bool {
	switch {
	case a.Off:
		return false
	case failed:
		return true
	case a.ErrorsOnly:
		return false
	}
	return a.Ratio == 0 || slow || rand.Float64() < a.Ratio
}

// writeLine writes the access line of a request. Neither the query nor a header
// field is in it: they may hold secrets. zerolog gets all fields as the value of
// the first: adding them one by one takes three times as long.
func (s *Server) writeLine(x *Exchange, err error, took time.Duration) {
	x.scratch.line = x.appendLine(x.scratch.line[:0], err, took)
	s.lines.Info().RawJSON("request_id", x.scratch.line).Msg("request")
}

// appendLine appends the value of request_id and all fields that follow it. A name
// that does not apply is empty, so that every line has the same fields.
func (x *Exchange) appendLine(b []byte, err error, took time.Duration) []byte {
	b = appendText(b, x.RequestID)
	b = appendText(append(b, `,"trace_id":`...), x.trace.ID[:])
	b = x.appendNames(b)
	b = appendText(append(b, `,"method":`...), x.Method)
	b = appendText(append(b, `,"host":`...), x.Host)
	b = appendText(append(b, `,"path":`...), x.Path)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(x.status), 10)
	b = appendText(append(b, `,"error":`...), view(errorOf(x, err)))
	if x.grpcStatus != grpc.Unset {
		b = appendText(append(b, `,"grpc_status":`...), view(x.grpcStatus.String()))
	}
	b = appendText(append(b, `,"protocol":`...), view(x.Protocol))
	b = strconv.AppendInt(append(b, `,"attempts":`...), int64(x.attempts), 10)
	b = appendMilliseconds(append(b, `,"duration_ms":`...), took)
	b = appendMilliseconds(append(b, `,"upstream_ms":`...), x.upstream)
	b = strconv.AppendInt(append(b, `,"bytes_in":`...), x.in, 10)
	b = strconv.AppendInt(append(b, `,"bytes_out":`...), x.out, 10)
	b = x.Client.AppendTo(append(b, `,"client_ip":"`...))
	return append(b, '"')
}

// appendNames appends the names of the route, upstream and so on of the request.
func (x *Exchange) appendNames(b []byte) []byte {
	var route, upstream, tenant, endpoint, region []byte
	switch {
	case x.from != nil:
		route = x.from.route
		b = appendText(append(b, `,"via":`...), x.from.node)
	case x.rule != nil:
		route = view(x.rule.Name)
	}
	if x.target != nil {
		upstream = view(x.target.upstream.Name)
	}
	if x.tenant != nil {
		tenant = view(x.tenant.Name)
	}
	if x.endpoint != nil {
		endpoint, region = view(x.endpoint.address.URL), view(x.endpoint.state.Region())
	}
	b = appendText(append(b, `,"route":`...), route)
	b = appendText(append(b, `,"upstream":`...), upstream)
	b = appendText(append(b, `,"tenant":`...), tenant)
	b = appendText(append(b, `,"endpoint":`...), endpoint)
	return appendText(append(b, `,"served_region":`...), region)
}

// appendMilliseconds appends d in milliseconds, with up to three decimals.
func appendMilliseconds(b []byte, d time.Duration) []byte {
	us := max(0, d.Microseconds())
	b = strconv.AppendInt(b, us/1000, 10)
	if us %= 1000; us == 0 {
		return b
	}
	b = append(b, '.', '0'+byte(us/100), '0'+byte(us/10%10), '0'+byte(us%10))
	return bytes.TrimRight(b, "0")
}

// appendText appends text as a JSON string.
func appendText(b, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendQuoted(b, text)
		}
	}
	b = append(append(b, '"'), text...)
	return append(b, '"')
}

// appendQuoted does so for text that needs escapes.
func appendQuoted(b, text []byte) []byte {
	quoted := bytes.NewBuffer(b)
	e := json.NewEncoder(quoted)
	e.SetEscapeHTML(false)
	_ = e.Encode(string(text)) // neither a string nor the buffer can fail
	return bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))
}
