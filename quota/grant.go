package quota

import (
	"math"
	"time"
)

// lease decides how much of the pool, and of the rate, goes to a party. short
// says that others hold so much that it starves.
func (h *home) lease(now time.Duration, p *party, r *report, s *side, budget, keep float64) (g grant, short bool) {
	period := s.period.Seconds()
	weight := 1.0
	if h.demands > 0 {
		weight = float64(p.demand) / h.demands
	}
	fair := weight * max(budget, 0) * (1 - unleased)
	wantRate := min(fair, r.Demand*(1+h.ease(budget)))
	if now < h.disturbance().coldUntil { // someone else's leases may still run
		wantRate = min(wantRate, max(r.Claim, budget/float64(s.known)))
	}
	rate := max(0, min(wantRate, budget-h.rates))
	single := fair*period < 0.5
	if single {
		rate = 0
	}
	saturated := h.demands > budget
	short = r.Starving && rate < wantRate/2

	tokens := h.slice(r, s, weight, rate, keep, single, saturated, short)
	h.pool.tokens -= tokens
	p.tokens, p.rate = tokens, rate
	h.rates += rate

	g = grant{
		Key: r.Key, Seq: r.Seq, Count: r.Count, Tokens: tokens, Rate: rate,
		Level:     min(max(0, (h.pool.tokens+tokens)/h.limit.Burst), 1),
		Saturated: saturated && rate > 0.8*wantRate && rate > 0,
	}
	switch {
	case tokens < 1-epsilon && rate == 0 && r.Starving:
		g.Deny = 5 * s.period
		if budget > 0 {
			g.Deny = min(fromSeconds(max(0, 1-h.pool.tokens)/budget), g.Deny+fromSeconds(0.5/budget))
		}
	case single && saturated && tokens >= 1-epsilon && h.pool.tokens < 1-epsilon && fair >= 1 && p.stable >= 2:
		// Pacing: where there is nothing to spare, nobody may queue for much more
		// than its share.
		g.Deny = min(fromSeconds(0.7*tokens/fair), 5*s.period)
	}
	return g, short
}

// ease is what a lease adds to demand, in parts of it.
func (h *home) ease(budget float64) float64 {
	if h.demands < plenty*budget {
		return wideHeadroom
	}
	return headroom
}

// slice is the part of the pool that a report gets; less than 0 is a part of the
// debt.
func (h *home) slice(r *report, s *side, weight, rate, keep float64, single, saturated, short bool) float64 {
	pool := h.pool.tokens
	period := s.period.Seconds()
	want := float64(r.Want)
	coming := r.Demand * period
	need := 1.5*coming + 2*math.Sqrt(coming) + want // to live until the next report
	switch {
	case pool <= 0:
		return weight * pool // everyone pays a part
	case single:
		park := 1.0 // where requests can wait, a token is parked only where it will surely be used
		if h.limit.Hold == 0 {
			park = 0.3
		}
		if r.Starving || coming > park {
			return min(want, math.Floor(pool+epsilon))
		}
		return 0
	case saturated:
		part := min(min(poolShares*weight, poolMost)*pool, 2*need)
		part = max(part, min(keep, want+rate*period)) // what was saved up is not confiscated
		if short {
			part = max(part, min(need, pool/4))
		}
		return min(part, pool)
	default:
		part := 0.1
		if r.Starving {
			part = 0.5
		}
		return min(need, pool, max(poolShares*weight, part)*pool)
	}
}
