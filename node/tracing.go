package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshgw/meshgw/tracing"
)

// newExporter returns what sends traces; nil where there is no collector.
func (n *Node) newExporter() (*tracing.Exporter, error) {
	if n.cfg.Tracing.OTLP == "" {
		return nil, nil
	}
	return tracing.New(tracing.Config{
		URL: n.cfg.Tracing.OTLP, Version: n.build,
		Node: n.cfg.Node.Name, Region: n.cfg.Node.Region, Zone: n.cfg.Node.Zone,
	}, n.log)
}

func (n *Node) collectSpans(set setter) {
	var s tracing.Stats
	if n.spans != nil {
		s = n.spans.Stats()
	}
	set(prometheus.CounterValue, "trace_exported_total", float64(s.Exported))
	set(prometheus.CounterValue, "trace_dropped_total", float64(s.Dropped), "queue_full")
	set(prometheus.CounterValue, "trace_dropped_total", float64(s.Failed), "not_taken")
}
