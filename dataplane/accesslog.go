package dataplane

import (
	"math/rand/v2"
	"time"

	"github.com/rs/zerolog"
)

// AccessLog says which requests get a line in the log. The zero value logs all.
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

// writeLine tells of a request. Node and region are in every line of the log.
// Neither the query nor a field of the header is told: they may hold secrets.
func (s *Server) writeLine(x *Exchange, err error, took time.Duration) {
	line := s.lines.Info().Bytes("request_id", x.RequestID).Bytes("trace_id", x.trace.id[:])
	switch {
	case x.from != nil:
		line.Bytes("route", x.from.route).Bytes("via", x.from.node)
	case x.rule != nil:
		line.Str("route", x.rule.Name)
	}
	if x.target != nil {
		line.Str("upstream", x.target.upstream.Name)
	}
	if x.tenant != nil {
		line.Str("tenant", x.tenant.Name)
	}
	if x.endpoint != nil {
		line.Str("endpoint", x.endpoint.address.URL).Str("served_region", x.endpoint.state.Region())
	}
	line.Bytes("method", x.Method).Bytes("host", x.Host).Bytes("path", x.Path).Int("status", x.status)
	if text := errorOf(x, err); text != "" {
		line.Str("error", text)
	}
	if x.called != grpcUnknown {
		line.Str("grpc_status", x.called.String())
	}
	line.Str("protocol", x.Protocol).Int("attempts", x.attempts).
		Float64("duration_ms", milliseconds(took)).Float64("upstream_ms", milliseconds(x.upstream)).
		Int64("bytes_in", x.in).Int64("bytes_out", x.out).Bytes("client_ip", x.Client.AppendTo(x.scratch.small[:0])).
		Msg("request")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
