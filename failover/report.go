package failover

import (
	"math"
	"slices"
	"time"
)

// Verdict is what a node says of an endpoint: what its checks found and whether
// its breaker is open.
type Verdict struct {
	Upstream, URL string
	Check         CheckVerdict
	Open          bool   // the breaker is open or half-open
	Since         int64  // ms since 1970 on the node's own clock; for display only
	Reason        string // why its breaker opened or its checks fail
}

// Verdicts are all that a node says of endpoints. They change seldom. They count
// as long as the incarnation lives that said them: see NewView.
type Verdicts struct {
	Incarnation uint32
	Region      string
	Verdicts    []Verdict
}

// Verdict returns what this node has to say of e at now, with what its own
// checks found; false when that is nothing.
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

// Load is what a node tells of its room for an upstream, in requests/s.
type Load struct {
	Upstream string
	Headroom float64 // what it could take more than now: see Headroom
	Foreign  float64 // what it takes now for nodes of other regions
	Demand   float64 // what its own clients want
	Wanted   float64 // what it wants other regions to take: see Split
}

// Loads are all that a node tells of its room. They change all the time, and are
// told anew when they have Moved.
type Loads struct {
	Incarnation uint32
	Region      string
	Loads       []Load
}

// Moved reports whether loads are to be told to those who were last told others.
// A mesh in calm is to be quiet: what a node wants and has room for is told when it
// is off by 20 requests/s and a fifth. What regions send each other is told as it
// is, since whoever sends goes by it.
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

// Headroom returns what a node could take more of an upstream, in requests/s:
// as much as brings its CPU from cpu (0..1) to 80 %, rate being all it serves
// now, and as the upstream's slots (max_connections times healthy endpoints) can
// take beside those used, an average over a second, when each request holds one
// for mean. The CPU is common to a
// node's upstreams; should several want all of it at once, shedding decides.
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
