package failover

// Health returns the share, by weight, of the candidates that are healthy, and
// the same with failed health checks ignored, each in [0,1]. A candidate that
// still has to be probed is not healthy. Candidates of a higher priority value
// count if theirs is the larger share.
func (b *Balancer) Health() (health, unchecked float64) {
	if b.reserve != nil {
		health, unchecked = b.reserve.Health()
	}
	h, u := b.foremost()
	return max(health, h), max(unchecked, u)
}

// foremost is Health without those of a higher priority.
func (b *Balancer) foremost() (health, unchecked float64) {
	for i := range b.candidates {
		c := &b.candidates[i]
		gate := c.endpoint.gate.Load() & gateOut
		if gate == 0 {
			health += c.weight / b.weights
		}
		if gate&^gateChecks == 0 {
			unchecked += c.weight / b.weights
		}
	}
	return min(1, health), min(1, unchecked)
}

// HealthOf is Balancer.Health for another region, by the decisions of its nodes
// on its endpoints, whose weights are given.
func HealthOf(weights []int, decisions []Decision) (health, unchecked float64) {
	total := 0.0
	for i, w := range weights {
		total += float64(w)
		if !decisions[i].Out() {
			health += float64(w)
		}
		if !decisions[i].Peers {
			unchecked += float64(w)
		}
	}
	if total == 0 {
		return 0, 0
	}
	return health / total, unchecked / total
}
