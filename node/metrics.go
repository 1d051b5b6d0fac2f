package node

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/quota"
)

// collector reads what a node knows of the mesh when it is scraped: the parts
// keep plain counts and know nothing of Prometheus.
type collector Node

// gauge is one metric: its name, help and labels.
func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("meshgw_"+name, help, labels, nil)
}

func (c *collector) descriptions() map[string]*prometheus.Desc {
	return map[string]*prometheus.Desc{
		"build_info":             gauge("build_info", "What is running here; always 1.", "version", "go"),
		"members":                gauge("members", "Members of the mesh as this node sees them.", "region", "status"),
		"peer_rtt_seconds":       gauge("peer_rtt_seconds", "Round trip to a peer, estimated from network coordinates.", "peer"),
		"isolated":               gauge("isolated", "1 while this node sees less than half of the mesh it saw lately."),
		"routes_version":         gauge("routes_version", "Version of the table served."),
		"routes_info":            gauge("routes_info", "Digest of the table served; always 1.", "digest"),
		"routes_versions_behind": gauge("routes_versions_behind", "How far the table served lags the newest heard of."),
		"routes_drift_seconds":   gauge("routes_drift_seconds", "For how long a node in sight of this one has not served the newest table; 0 if all do."),
		"routes_conflicts_total": gauge("routes_conflicts_total", "Edits that lost against a concurrent one."),
		"routes_pending":         gauge("routes_pending", "Objects of the table that are held and cannot be served."),
		"bans":                   gauge("bans", "Networks that are banned now."),
		"gossip_sealed_total":    gauge("gossip_sealed_total", "Packets and streams of gossip sealed with a key, by its fingerprint.", "key"),
		"cpu_usage_ratio":        gauge("cpu_usage_ratio", "CPU used of what this process may use, smoothed over a second."),
		"gossip_bytes_total":     gauge("gossip_bytes_total", "Bytes of gossip.", "direction", "kind"),
		"gossip_packets_total":   gauge("gossip_packets_total", "Packets of gossip.", "direction"),
		"gossip_dropped_total":   gauge("gossip_dropped_total", "Gossip dropped for want of room; found again by repair."),
		"gossip_syncs_total":     gauge("gossip_syncs_total", "Exchanges with a peer whose copy of a state differed.", "result"),
		"gossip_refused_total":   gauge("gossip_refused_total", "Input of others that was not believed.", "what", "reason"),
		"limit_overshoot_total":  gauge("limit_overshoot_total", "Requests that the mesh admitted beyond the rate and burst of a limit, of keys whose home is this node.", "limit"),
		"trace_exported_total":   gauge("trace_exported_total", "Spans that the collector took."),
		"trace_dropped_total":    gauge("trace_dropped_total", "Requests that were not traced since too many waited, and spans that the collector did not take.", "reason"),
		"log_dropped_total":      gauge("log_dropped_total", "Lines that were not written since too much waited for the disk.", "kind"),

		"limit_report_age_seconds": gauge("limit_report_age_seconds", "How old the count of another node was when it told the next one, of keys whose home is this node."),

		"certificate_expiry_timestamp_seconds": gauge("certificate_expiry_timestamp_seconds", "When the first of the certificates for these names expires, in seconds since 1970.", "use", "names"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descriptions() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	n, d := (*Node)(c), c.descriptions()
	set := func(kind prometheus.ValueType, name string, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d[name], kind, value, labels...)
	}
	set(prometheus.GaugeValue, "build_info", 1, n.build, runtime.Version())
	n.collectMembers(set)
	table := n.routes.table()
	set(prometheus.GaugeValue, "routes_version", float64(table.Version()))
	set(prometheus.GaugeValue, "routes_info", 1, table.Digest())
	set(prometheus.GaugeValue, "routes_versions_behind", float64(newest(n.holders()).version-min(table.Version(), newest(n.holders()).version)))
	set(prometheus.GaugeValue, "routes_drift_seconds", n.drift.lasts(time.Now()).Seconds())
	set(prometheus.CounterValue, "routes_conflicts_total", float64(n.routes.conflictsSeen.Load()))
	set(prometheus.GaugeValue, "routes_pending", float64(len(n.routes.pending())))
	set(prometheus.GaugeValue, "bans", float64(n.bans.active.Load()))
	set(prometheus.GaugeValue, "cpu_usage_ratio", n.load.Load().CPU)
	n.collectGossip(set)
	n.collectLimits(ch, d["limit_report_age_seconds"], set)
	n.collectSpans(set)
	n.collectCertificates(set)
	events, requests := n.logs.Dropped()
	set(prometheus.CounterValue, "log_dropped_total", float64(events), "event")
	set(prometheus.CounterValue, "log_dropped_total", float64(requests), "request")
}

type setter func(kind prometheus.ValueType, name string, value float64, labels ...string)

func (n *Node) collectMembers(set setter) {
	count := map[[2]string]int{}
	for _, m := range n.mesh.Members() {
		count[[2]string{m.Region, m.Status}]++
		if m.RTT > 0 && m.Status == api.MemberAlive {
			set(prometheus.GaugeValue, "peer_rtt_seconds", m.RTT.Seconds(), m.Name)
		}
	}
	for labels, members := range count {
		set(prometheus.GaugeValue, "members", float64(members), labels[:]...)
	}
	isolated := 0.0
	if n.mesh.Isolated() {
		isolated = 1
	}
	set(prometheus.GaugeValue, "isolated", isolated)
}

// collectCertificates reports each use and name the first to expire: a file may
// hold an old and a new one.
func (n *Node) collectCertificates(set setter) {
	first := map[[2]string]time.Time{}
	for _, c := range n.certificatesShown() {
		id := [2]string{c.Use, c.Names}
		if until, known := first[id]; !known || c.Until.Before(until) {
			first[id] = c.Until
		}
	}
	for id, until := range first {
		set(prometheus.GaugeValue, "certificate_expiry_timestamp_seconds", float64(until.Unix()), id[:]...)
	}
}

func (n *Node) collectGossip(set setter) {
	s := n.mesh.Stats()
	for _, k := range n.mesh.Keys() {
		set(prometheus.CounterValue, "gossip_sealed_total", float64(k.Sealed), k.Fingerprint)
	}
	set(prometheus.CounterValue, "gossip_bytes_total", float64(s.PacketBytesIn), "in", "packet")
	set(prometheus.CounterValue, "gossip_bytes_total", float64(s.PacketBytesOut), "out", "packet")
	set(prometheus.CounterValue, "gossip_bytes_total", float64(s.StreamBytesIn), "in", "stream")
	set(prometheus.CounterValue, "gossip_bytes_total", float64(s.StreamBytesOut), "out", "stream")
	set(prometheus.CounterValue, "gossip_packets_total", float64(s.PacketsIn), "in")
	set(prometheus.CounterValue, "gossip_packets_total", float64(s.PacketsOut), "out")
	set(prometheus.CounterValue, "gossip_dropped_total", float64(s.Dropped))
	set(prometheus.CounterValue, "gossip_syncs_total", float64(s.Syncs), "done")
	set(prometheus.CounterValue, "gossip_syncs_total", float64(s.SyncsFailed), "failed")
	set(prometheus.CounterValue, "gossip_refused_total", float64(s.Undecryptable), "packet", "undecryptable")
	for r, count := range s.Refused {
		set(prometheus.CounterValue, "gossip_refused_total", float64(count), r.What, r.Reason)
	}
}

func (n *Node) collectLimits(ch chan<- prometheus.Metric, ages *prometheus.Desc, set setter) {
	s := n.limits.engine.Stats()
	for reason, count := range map[string]uint64{"malformed": s.Malformed, "stranger": s.Strangers, "stale": s.Stale, "ahead": s.Ahead} {
		set(prometheus.CounterValue, "gossip_refused_total", float64(count), "limit_report", reason)
	}
	for limit, beyond := range s.Beyond {
		set(prometheus.CounterValue, "limit_overshoot_total", beyond, limit)
	}
	buckets := map[float64]uint64{}
	for i, most := range quota.AgeBounds() {
		buckets[most.Seconds()] = s.Ages.UpTo[i]
	}
	ch <- prometheus.MustNewConstHistogram(ages, s.Ages.Count, s.Ages.Sum.Seconds(), buckets)
}
