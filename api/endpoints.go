package api

import (
	"context"
	"fmt"
	"net/url"
)

// EndpointUse is what every node has to do with an endpoint.
type EndpointUse struct {
	URL        string       `json:"url"`
	Nodes      []NodeUse    `json:"nodes"`      // ordered by name
	Unanswered []Unanswered `json:"unanswered"` // ordered by node
}

// NodeUse is what one node has to do with an endpoint.
type NodeUse struct {
	Node          string `json:"node"`
	RoutesVersion uint64 `json:"routes_version"`
	Known         bool   `json:"known"`    // its table has the endpoint
	Weight        int    `json:"weight"`   // the highest of its upstreams
	Inflight      int    `json:"inflight"` // requests and tunnels of this node to it
}

// Busy says which nodes send to the endpoint, or may, though the table of that
// version drains it, and why; none are left once it can be stopped.
func (u EndpointUse) Busy(version uint64) (all []string) {
	for _, n := range u.Nodes {
		switch {
		case n.RoutesVersion < version:
			all = append(all, fmt.Sprintf("%s holds version %d", n.Node, n.RoutesVersion))
		case !n.Known:
			all = append(all, n.Node+" has it in its table no more, and cannot tell what is in flight")
		case n.Weight > 0:
			all = append(all, fmt.Sprintf("%s sends to it: its weight is %d", n.Node, n.Weight))
		case n.Inflight > 0:
			all = append(all, fmt.Sprintf("%s has %d in flight", n.Node, n.Inflight))
		}
	}
	for _, n := range u.Unanswered {
		all = append(all, fmt.Sprintf("%s does not answer and may send to it: %s", n.Node, n.Reason))
	}
	return all
}

// EndpointUse asks every node what it has to do with an endpoint.
func (c *Client) EndpointUse(ctx context.Context, endpoint string) (EndpointUse, error) {
	return get[EndpointUse](ctx, c, "/v1/endpoints", url.Values{"url": {endpoint}})
}
