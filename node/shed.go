package node

import (
	"math"
	"time"

	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/roster"
)

// overload follows this process's CPU and what arrives, and says what to refuse.
type overload struct {
	shedding failover.Shedding
	at       time.Time
	arrived  [failover.Priorities]uint64
	mix      failover.Mix // requests/s
}

// observe processes the CPU used since the last look, as a share of what this
// process may use, and how many requests of each priority have come so far. It
// returns the share of each to refuse from now on.
func (o *overload) observe(now time.Time, cpu, threshold float64, arrived [failover.Priorities]uint64) failover.Mix {
	if passed := now.Sub(o.at).Seconds(); !o.at.IsZero() && passed > 0 {
		weight := 1 - math.Exp(-passed/smoothing.Seconds())
		for p := range o.mix {
			o.mix[p] += weight * (float64(arrived[p]-o.arrived[p])/passed - o.mix[p])
		}
		o.shedding = o.shedding.Observe(now, cpu, threshold)
	}
	o.at, o.arrived = now, arrived
	return o.shedding.Refuse(o.mix)
}

// shed makes the data plane refuse as o says, and the mesh know that it does.
func (n *Node) shed(o *overload, refuse failover.Mix) {
	n.plane.SetShedding(refuse)
	from, to := roster.Serving, roster.Shedding
	if !o.shedding.Active() {
		from, to = to, from
	}
	was := n.phase.Load()
	if *was != from || !n.phase.CompareAndSwap(was, &to) {
		return // so already, or draining
	}
	n.tell()
	if to == roster.Shedding {
		n.log.Warn().Float64("cpu", o.shedding.CPU).Msg("shedding began")
		return
	}
	n.log.Info().Float64("cpu", o.shedding.CPU).Msg("shedding ended")
}
