package failover

import "math"

// Gateway is a live node of another region, as a way to its endpoints.
type Gateway struct {
	Weight int     // relative capacity, as the node tells
	Room   float64 // for the upstream: Headroom and Foreign of its Load
	Ready  bool    // neither draining nor overloaded nor isolated
}

// maxWeight is the weight of the best gateway: fine enough to tell them apart.
const maxWeight = 1000

// AccessOf returns the access that gateways offer together.
func AccessOf(gateways []Gateway) Access {
	access := NoAccess
	for _, g := range gateways {
		access = max(access, LastResort)
		if g.Ready {
			access = FullAccess
		}
	}
	return access
}

// GatewayWeights returns the weights for choosing among gateways, as of
// Candidates: weight times room, or the weight alone if none has room. Gateways
// that are not ready have weight 0 as long as another is ready.
func GatewayWeights(gateways []Gateway) []int {
	access := AccessOf(gateways)
	room := 0.0
	for _, g := range gateways {
		if g.Ready || access == LastResort {
			room += max(0, g.Room)
		}
	}
	raw, best := make([]float64, len(gateways)), 0.0
	for i, g := range gateways {
		if !g.Ready && access == FullAccess {
			continue
		}
		raw[i] = float64(max(0, g.Weight))
		if room > 0 {
			raw[i] *= max(0, g.Room)
		}
		best = max(best, raw[i])
	}
	weights := make([]int, len(gateways))
	for i, r := range raw {
		if r > 0 {
			weights[i] = max(1, int(math.Round(maxWeight*r/best)))
		}
	}
	return weights
}
