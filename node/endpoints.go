package node

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/meshgw/meshgw/api"
)

// endpointService tells other nodes what this one has to do with an endpoint: its URL
// in, an api.NodeUse out.
const endpointService = "endpoint"

// EndpointUse asks all nodes what they have to do with an endpoint.
func (n *Node) EndpointUse(ctx context.Context, url string) api.EndpointUse {
	all := api.EndpointUse{URL: url, Nodes: []api.NodeUse{}, Unanswered: []api.Unanswered{}}
	for _, a := range n.askAll(ctx, endpointService, []byte(url)) {
		var use api.NodeUse
		if a.err == nil {
			a.err = json.Unmarshal(a.data, &use)
		}
		if a.err != nil {
			all.Unanswered = append(all.Unanswered, api.Unanswered{Node: a.node, Reason: a.err.Error()})
			continue
		}
		all.Nodes = append(all.Nodes, use)
	}
	return all
}

func (n *Node) serveEndpoint(url []byte) ([]byte, error) {
	use := api.NodeUse{Node: n.cfg.Node.Name, RoutesVersion: n.routes.table().Version()}
	for _, e := range n.plane.Upstreams() {
		if strings.TrimRight(e.Endpoint, "/") == strings.TrimRight(string(url), "/") {
			use.Known = true
			use.Weight = max(use.Weight, e.Weight)
			use.Inflight += e.Inflight
		}
	}
	return json.Marshal(use)
}
