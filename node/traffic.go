package node

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/telemetry"
)

// trafficService answers other nodes with the counts of this node's clients:
// nodeCounts as JSON.
const trafficService = "traffic"

// nodeCounts is what one node has counted.
type nodeCounts struct {
	Node   string                     `json:"node"`
	Region string                     `json:"region"`
	Routes map[string]telemetry.Count `json:"routes"`
}

func (n *Node) counted() nodeCounts {
	return nodeCounts{Node: n.cfg.Node.Name, Region: n.cfg.Node.Region, Routes: n.traffic.Routes()}
}

func (n *Node) serveTraffic([]byte) ([]byte, error) { return json.Marshal(n.counted()) }

// Traffic returns the requests of this node's clients, or of all nodes'.
func (n *Node) Traffic(ctx context.Context, mesh bool) api.Traffic {
	if !mesh {
		return trafficOf([]nodeCounts{n.counted()}, nil)
	}
	var counts []nodeCounts
	var silent []api.Unanswered
	for _, a := range n.askAll(ctx, trafficService, nil) {
		var c nodeCounts
		if a.err == nil {
			a.err = json.Unmarshal(a.data, &c)
		}
		if a.err != nil {
			silent = append(silent, api.Unanswered{Node: a.node, Reason: a.err.Error()})
			continue
		}
		counts = append(counts, c)
	}
	return trafficOf(counts, silent)
}

// trafficOf puts together what nodes have counted. Percentiles are read from the
// sum of their sketches.
func trafficOf(counts []nodeCounts, silent []api.Unanswered) api.Traffic {
	t := api.Traffic{Nodes: []api.NodeTraffic{}, Unanswered: append([]api.Unanswered{}, silent...)}
	var total telemetry.Count
	routes := map[string]telemetry.Count{}
	for _, c := range counts {
		var sum telemetry.Count
		for route, count := range c.Routes {
			sum.Merge(count)
			all := routes[route]
			all.Merge(count)
			routes[route] = all
		}
		total.Merge(sum)
		t.Nodes = append(t.Nodes, api.NodeTraffic{Node: c.Node, Region: c.Region, TrafficRates: ratesOf(sum), Routes: byRate(c.Routes)})
	}
	t.Seconds, t.Total, t.Routes = total.Seconds, ratesOf(total), byRate(routes)
	return t
}

func byRate(counts map[string]telemetry.Count) []api.RouteTraffic {
	all := []api.RouteTraffic{}
	for route, count := range counts {
		all = append(all, api.RouteTraffic{Route: route, TrafficRates: ratesOf(count)})
	}
	slices.SortFunc(all, func(a, b api.RouteTraffic) int {
		return cmp.Or(cmp.Compare(b.RPS, a.RPS), cmp.Compare(a.Route, b.Route))
	})
	return all
}

func ratesOf(c telemetry.Count) api.TrafficRates {
	if c.Seconds < telemetry.SlotLength.Seconds() || c.Requests == 0 { // a peer may say anything
		return api.TrafficRates{}
	}
	q := c.Latency.Quantiles(.5, .9, .99)
	return api.TrafficRates{
		RPS: float64(c.Requests) / c.Seconds, Errors: float64(c.Errors) / c.Seconds,
		P50: inMilliseconds(q[0]), P90: inMilliseconds(q[1]), P99: inMilliseconds(q[2]),
	}
}

// countTraffic moves the window on until ctx ends.
func (n *Node) countTraffic(ctx context.Context) {
	tick := time.NewTicker(telemetry.SlotLength)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.traffic.Advance()
		}
	}
}
