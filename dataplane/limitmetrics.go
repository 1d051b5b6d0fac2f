package dataplane

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshgw/meshgw/quota"
)

// limitCollector collects what limits allow, and what they decided.
type limitCollector struct{ server *Server }

func (c *limitCollector) descriptions() (decisions, rate *prometheus.Desc) {
	return prometheus.NewDesc("meshgw_limit_decisions_total", "Requests that a limit allowed or refused here.", []string{"limit", "decision"}, nil),
		prometheus.NewDesc("meshgw_limit_rate", "Requests per second that a limit allows to each of its keys.", []string{"limit"}, nil)
}

// Describe implements prometheus.Collector.
func (c *limitCollector) Describe(ch chan<- *prometheus.Desc) {
	decisions, rate := c.descriptions()
	ch <- decisions
	ch <- rate
}

// Collect implements prometheus.Collector.
func (c *limitCollector) Collect(ch chan<- prometheus.Metric) {
	decisions, rate := c.descriptions()
	for _, l := range c.server.Limits() {
		ch <- prometheus.MustNewConstMetric(decisions, prometheus.CounterValue, float64(l.Allowed), l.Name, quota.Allow.String())
		ch <- prometheus.MustNewConstMetric(decisions, prometheus.CounterValue, float64(l.Refused), l.Name, quota.Deny.String())
		if l.Rate > 0 {
			ch <- prometheus.MustNewConstMetric(rate, prometheus.GaugeValue, l.Rate, l.Name)
		}
	}
}
