package failover

import (
	"math"
	"slices"
	"time"
)

// Verdict is a node's report on an endpoint: the result of its health checks,
// and whether its breaker is open.
type Verdict struct {
	Upstream, URL string
	Check         CheckVerdict
	Open          bool   // the breaker is open or half-open
	Since         int64  // ms since 1970 on the node's own clock; for display only
	Reason        string // why its breaker opened or its checks fail
}

// Verdicts are all reports of a node on endpoints. They change rarely. They
// count as long as the incarnation of the node that sent them is alive: see
// NewView.
type Verdicts struct {
	Incarnation uint32
	Region      string
	Verdicts    []Verdict
}

// Verdict returns this node's report on e, where check is the state of its own
// checks; false if there is nothing to report.
func (e *Endpoint) Verdict(upstream string, check Check) (Verdict, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := Verdict{Upstream: upstream, URL: e.url, Check: check.Verdict}
	if v.Check != CheckUnknown {
		v.Since = check.Since.UnixMilli()
	}
	if v.Check == CheckDown {
		v.Reason = check.Failure
	}
	if e.gate.Load()&gateBreaker != 0 {
		v.Open, v.Reason = true, e.causes[causeBreaker].reason
		v.Since = e.causes[causeBreaker].since.UnixMilli()
	}
	return v, v.Open || v.Check != CheckUnknown
}

// Load is a node's report on its capacity for an upstream, in requests/s.
type Load struct {
	Upstream string
	Headroom float64 // what it could take more than now: see Headroom
	Foreign  float64 // what it takes now for nodes of other regions
	Demand   float64 // what its own clients want
	Wanted   float64 // what it wants other regions to take: see Split
}

// Loads are all reports of a node on its capacity. They change all the time,
// and are sent again when they have Moved.
type Loads struct {
	Incarnation uint32
	Region      string
	Loads       []Load
}

// Moved reports whether loads differ enough from those that were last sent to
// be sent again. To keep an idle mesh quiet, demand and headroom have to be off
// by 20 requests/s and a fifth. What regions send each other is always sent,
// since the sender regulates by it.
func Moved(told, now []Load) bool {
	return !slices.EqualFunc(told, now, func(a, b Load) bool {
		return a.Upstream == b.Upstream && near(a.Demand, b.Demand) && near(a.Headroom, b.Headroom) &&
			alike(a.Foreign, b.Foreign) && alike(a.Wanted, b.Wanted)
	})
}

func near(a, b float64) bool { return math.Abs(a-b) <= telling+0.2*max(a, b) }

// alike passes over the last of an average that fades out.
func alike(a, b float64) bool { return a == b || max(a, b) < 1 }

// The bounds of headroom.
const (
	targetCPU    = 0.8
	targetSlots  = 0.97                   // used: with all in use, requests queue
	measurable   = 0.05                   // of the CPU: below, what a request costs cannot be told
	telling      = 20                     // requests/s: nor with fewer, when most of the CPU may go into other things
	assumedSpent = 100 * time.Millisecond // by a request, before one was measured
)

// Headroom returns how much more of an upstream a node could take, in
// requests/s: as much as brings its CPU from cpu, in [0,1], to 80 %, where rate
// is all it serves now, and as much as fits the upstream's slots
// (max_connections times healthy endpoints) beside those in use, an average
// over a second, if each request holds one for mean. The CPU is shared by a
// node's upstreams; if several want all of it at once, shedding decides.
func Headroom(rate, cpu float64, slots int, used float64, mean time.Duration) float64 {
	if mean <= 0 {
		mean = assumedSpent
	}
	room := max(0, targetSlots*float64(slots)-used) / mean.Seconds()
	switch {
	case cpu >= targetCPU:
		return 0
	case cpu >= measurable && rate >= telling:
		return min(room, rate*(targetCPU/cpu-1))
	}
	return room
}
