package api

import (
	"context"
	"net/url"
)

// Traffic is the requests of clients in the last seconds: GET /v1/traffic.
type Traffic struct {
	Seconds    float64        `json:"seconds"` // that the rates and percentiles are of, at most
	Total      TrafficRates   `json:"total"`
	Routes     []RouteTraffic `json:"routes"` // of all nodes together; the busiest first
	Nodes      []NodeTraffic  `json:"nodes"`  // by name, each with its routes
	Unanswered []Unanswered   `json:"unanswered"`
}

// TrafficRates are rates and percentiles. Those of several nodes are of all their
// requests, not averages of the nodes'.
type TrafficRates struct {
	RPS    float64 `json:"rps"`
	Errors float64 `json:"errors"` // answers of 500 and above and those cut short, a second
	P50    float64 `json:"p50_ms"`
	P90    float64 `json:"p90_ms"`
	P99    float64 `json:"p99_ms"`
}

// RouteTraffic is that of a route; of requests without one where it has no name.
type RouteTraffic struct {
	Route string `json:"route"`
	TrafficRates
}

// NodeTraffic is that of the clients of one node.
type NodeTraffic struct {
	Node   string `json:"node"`
	Region string `json:"region"`
	TrafficRates
	Routes []RouteTraffic `json:"routes"` // the busiest first
}

// Traffic returns the traffic of the node or, for the whole mesh, of all.
func (c *Client) Traffic(ctx context.Context, mesh bool) (Traffic, error) {
	query := url.Values{}
	if mesh {
		query.Set("mesh", "1")
	}
	return get[Traffic](ctx, c, "/v1/traffic", query)
}
