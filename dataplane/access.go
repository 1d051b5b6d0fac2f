package dataplane

import "github.com/prometheus/client_golang/prometheus"

// mayAsk refuses clients by their address alone, before anything is looked at:
// those banned for a while.
func (s *Server) mayAsk(x *Exchange) bool {
	if s.cfg.Banned != nil && s.cfg.Banned(x.Client) {
		return x.denied(s.metrics.denied.ban)
	}
	return true
}

// denied refuses a client whose address is not admitted, and counts it.
func (x *Exchange) denied(by prometheus.Counter) bool {
	by.Inc()
	return x.fail(refusal{code: Denied, detail: "The client's address is not admitted."})
}

// denials counts requests refused for their client's address, by what says so.
type denials struct{ ban, route prometheus.Counter }

func newDenials(reg prometheus.Registerer) denials {
	all := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshgw_denied_total", Help: "Requests refused for their client's address: by a ban, or by allow and deny of their route.",
	}, []string{"by"})
	reg.MustRegister(all)
	return denials{ban: all.WithLabelValues("ban"), route: all.WithLabelValues("route")}
}
