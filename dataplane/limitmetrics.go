package dataplane

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshgw/meshgw/quota"
)

// limitCollector collects the decisions of limits.
type limitCollector struct{ server *Server }

func (c *limitCollector) description() *prometheus.Desc {
	return prometheus.NewDesc("meshgw_limit_decisions_total", "Requests that a limit allowed or refused here.", []string{"limit", "decision"}, nil)
}

// Describe implements prometheus.Collector.
func (c *limitCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.description() }

// Collect implements prometheus.Collector.
func (c *limitCollector) Collect(ch chan<- prometheus.Metric) {
	d := c.description()
	for _, l := range c.server.Limits() {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(l.Allowed), l.Name, quota.Allow.String())
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(l.Refused), l.Name, quota.Deny.String())
	}
}
