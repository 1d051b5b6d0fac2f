package dataplane

import "github.com/prometheus/client_golang/prometheus"

// checkAddress refuses clients by their address alone, before anything else is
// looked at: those that are banned, and those that the access lists of the
// table keep out.
func (s *Server) checkAddress(x *Exchange) bool {
	if s.cfg.Banned != nil && s.cfg.Banned(x.Client) {
		return x.denied(s.metrics.denied.ban)
	}
	if !s.plan.Load().table.Access().Admits(x.Client) {
		return x.denied(s.metrics.denied.access)
	}
	return true
}

// denied refuses a client whose address is not admitted, and counts it.
func (x *Exchange) denied(by prometheus.Counter) bool {
	by.Inc()
	return x.fail(refusal{code: Denied, detail: "The client's address is not admitted."})
}

// denials counts requests refused for their client's address, by what refused
// them.
type denials struct{ ban, access, route prometheus.Counter }

func newDenials(reg prometheus.Registerer) denials {
	all := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshgw_denied_total", Help: "Requests refused for their client's address: by a ban, by access of the table, or by allow and deny of their route.",
	}, []string{"by"})
	reg.MustRegister(all)
	return denials{ban: all.WithLabelValues("ban"), access: all.WithLabelValues("access"), route: all.WithLabelValues("route")}
}
