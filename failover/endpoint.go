package failover

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Settings are the settings of an upstream for its endpoints. The zero value
// means the defaults.
type Settings struct {
	Breaker   BreakerConfig
	SlowStart time.Duration // how long a new or recovered endpoint takes to its full share: default 30 s, negative = none
}

// Endpoint is the live state of one address of an upstream, kept from one table
// to the next. It is safe for concurrent use. Each try of a request calls
// Begin, then Answer when the head of the answer has arrived (optional), then
// End exactly once.
type Endpoint struct {
	url, region string
	hash        uint64
	born        time.Time // times below are nanoseconds since then
	settings    atomic.Pointer[Settings]

	_    [64]byte // what follows changes with every request, on a cache line of its own
	gate atomic.Uint32
	load

	_ [64]byte
	tally

	mu      sync.Mutex // guards the rest, and all writes to gate but those of gateSlow
	breaker Breaker
	causes  [causes]cause
	ejected ejection

	probeAt atomic.Int64 // from when a request may probe, while gateBreaker or gateStalled
	slowAt  atomic.Int64 // when slow start began, while gateSlow
	tryAt   atomic.Int64 // from when the next try in the background is due
}

// The bits of Endpoint.gate say what has to be looked at before a request is
// sent. None, by far the commonest, costs one load.
const (
	gateBreaker uint32 = 1 << iota // the breaker is not closed
	gatePeers                      // breakers of the region's nodes
	gateChecks                     // failed checks
	gateEjected                    // statistics
	gateStalled                    // silent with requests in flight
	gateSlow                       // slow start: a share of what it would get
	gateFailing                    // the breaker has counted failures; in use all the same

	gateShut = gatePeers | gateChecks | gateEjected
	gateOut  = gateShut | gateBreaker | gateStalled
)

// load is what Balancers compare.
type load struct {
	Queued     atomic.Int64 // requests in line for the endpoint, its caller's to count
	inflight   atomic.Int64
	waiting    atomic.Int64 // for the response header
	busyAt     atomic.Int64 // when the first of those waiting began, if nothing was answered since
	answeredAt atomic.Int64 // when the endpoint last gave a sign of life
	peak       peakEWMA
}

// NewEndpoint returns an endpoint as new at now: it will be started slowly
// beside older ones.
func NewEndpoint(now time.Time, url, region string) *Endpoint {
	e := &Endpoint{url: url, region: region, hash: xxhash.Sum64String(url), born: now}
	e.settings.Store(&Settings{})
	e.gate.Store(gateSlow)
	return e
}

// URL returns the endpoint's URL as in the table.
func (e *Endpoint) URL() string { return e.url }

// Region returns the region that the endpoint is in.
func (e *Endpoint) Region() string { return e.region }

// Configure replaces the settings of the endpoint; its counters stay.
func (e *Endpoint) Configure(s Settings) { e.settings.Store(&s) }

// Inflight returns how many tries have begun and not ended.
func (e *Endpoint) Inflight() int { return int(e.inflight.Load()) }

// Latency returns the moving average of the endpoint's latency, which rises to
// peaks at once and decays over 10 s; 0 before the first answer.
func (e *Endpoint) Latency(now time.Time) time.Duration {
	return time.Duration(e.peak.at(e.offset(now)))
}

// Novice reports whether this node has had no answer of e yet, so that it
// adopts the view of other nodes: see Decide.
func (e *Endpoint) Novice() bool { return e.answeredAt.Load() == 0 }

// Stalled reports whether e is suspected to be stalled, or is out for another reason
// and silent: tries that wait for its answer should be given up with the outcome
// Stalled, if they can be retried elsewhere.
func (e *Endpoint) Stalled(now time.Time) bool {
	gate := e.gate.Load()
	return gate&gateStalled != 0 || gate&gateOut != 0 && e.silence(now) >= e.Patience(now)
}

// Usable reports whether e may get any number of requests, for callers that do
// not use a Balancer. It costs one atomic load.
func (e *Endpoint) Usable() bool { return e.gate.Load()&gateOut == 0 }

// Begin is called when a try is sent to e.
func (e *Endpoint) Begin(now time.Time) {
	e.inflight.Add(1)
	if e.waiting.Load() == 0 {
		e.busyAt.Store(e.offset(now)) // before it waits: who sees it wait must not see an old time
	}
	e.waiting.Add(1)
}

// Forgo is called instead of Begin when a request that was picked for e at the given
// time will not be sent. If it was to be the probe of a breaker, another may be.
func (e *Endpoint) Forgo(now, picked time.Time) {
	if e.gate.Load()&gateBreaker != 0 {
		e.report(now, Outcome{Kind: Canceled, Latency: now.Sub(picked)})
	}
}

// Answer is called when the head of the answer to a try has arrived, before
// End. o.Kind is OK or Unavailable.
func (e *Endpoint) Answer(now time.Time, o Outcome) {
	e.count(now, o)
	e.waiting.Add(-1)
}

// End is called when a try is over, with its outcome.
func (e *Endpoint) End(now time.Time, o Outcome) {
	e.inflight.Add(-1)
	if o.Answered {
		if o.Kind.Failed() || o.Later {
			e.report(now, o)
		}
		return
	}
	e.count(now, o)
	e.waiting.Add(-1)
}

// count takes in an outcome, once for each try.
func (e *Endpoint) count(now time.Time, o Outcome) {
	at := e.offset(now)
	if o.Kind == OK || o.Kind == Unavailable {
		e.answeredAt.Store(at)
	}
	if o.Latency > 0 && (o.Kind == OK || o.Kind == TimedOut || o.Kind == Stalled) {
		e.peak.observe(at, o.Latency) // a refusal is quick and says nothing of the speed
	}
	e.tally.count(o)
	if !o.Later || e.gate.Load()&(gateBreaker|gateStalled) != 0 {
		e.report(now, o)
	}
}

// report drives breaker and suspicion. A success while all is well, by far the
// commonest, takes no lock.
func (e *Endpoint) report(now time.Time, o Outcome) {
	gate := e.gate.Load()
	if !o.Kind.Failed() && gate&(gateBreaker|gateFailing|gateStalled) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gate.Load()&gateStalled != 0 && (o.Kind == OK || o.Kind == Unavailable) {
		e.clear(causeStalled)
	}
	next := e.breaker.Report(now, now.Add(-o.Latency), o.Kind, e.settings.Load().Breaker, e.jitter(now))
	e.setBreaker(now, next, o.Kind.String())
}

// setBreaker makes next the breaker's record, e.mu held.
func (e *Endpoint) setBreaker(now time.Time, next Breaker, reason string) {
	opened, closed := next.OpenedAt.After(e.breaker.OpenedAt), next.ClosedAt.After(e.breaker.ClosedAt)
	e.breaker = next
	e.setGate(gateFailing, next.Failures > 0)
	switch {
	case opened:
		e.set(causeBreaker, now, reason)
	case closed:
		e.clear(causeBreaker)
		e.startSlowly(now)
	}
	if !next.OpenedAt.IsZero() {
		e.probeAt.Store(e.offset(next.NextProbe()))
	}
}

// ready reports whether e may get a request at now, and whether only as a probe
// that has to be claimed.
func (e *Endpoint) ready(now time.Time, gate uint32) (ok, probe bool) {
	switch {
	case gate&gateOut == 0:
		return true, false
	case gate&gateShut != 0:
		return false, false
	case gate&(gateBreaker|gateStalled) == gateStalled && e.waiting.Load() > 0:
		return false, false
	}
	return e.offset(now) >= e.probeAt.Load(), true
}

// claim makes the request that the caller is about to send the probe of e.
func (e *Endpoint) claim(now time.Time) bool {
	if e.gate.Load()&gateOut == 0 {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ok, probe := e.ready(now, e.gate.Load()); !ok || !probe {
		return ok
	}
	if e.gate.Load()&gateBreaker == 0 {
		e.probeAt.Store(e.offset(now.Add(stallFloor)))
		return true
	}
	next, ok := e.breaker.Claim(now)
	e.setBreaker(now, next, "")
	return ok
}

// offset returns now in nanoseconds since the endpoint was made.
func (e *Endpoint) offset(now time.Time) int64 { return int64(now.Sub(e.born)) }

// jitter returns a number in [0,1) that differs between nodes and openings.
func (e *Endpoint) jitter(now time.Time) float64 {
	return unit(mix(e.hash ^ uint64(now.UnixNano())))
}

// setGate sets or clears a bit, e.mu held.
func (e *Endpoint) setGate(bit uint32, on bool) {
	if on {
		e.gate.Or(bit)
	} else {
		e.gate.And(^bit)
	}
}

// mix is the finalizer of splitmix64: every bit of x changes half of the others.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit maps x to [0,1).
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }

// peakEWMA is a moving average of latency that follows a peak at once and
// forgets it with ewmaDecay, as in Finagle's PeakEwma.
type peakEWMA struct {
	bits atomic.Uint64 // the average in ns, as float64
	seen atomic.Int64  // when it was last brought up to date
}

const ewmaDecay = 10 * time.Second

// at returns the average in ns, decayed to now; 0 before the first latency.
func (p *peakEWMA) at(now int64) float64 {
	v := math.Float64frombits(p.bits.Load())
	if age := now - p.seen.Load(); v > 0 && age > int64(time.Second) {
		v *= math.Exp(-float64(age) / float64(ewmaDecay)) // so that one slow answer does not keep requests away for ever
	}
	return v
}

// observe takes in a latency. Of two at the same moment one may get lost.
func (p *peakEWMA) observe(now int64, latency time.Duration) {
	old, sample := math.Float64frombits(p.bits.Load()), float64(latency)
	age := max(0, now-p.seen.Swap(now))
	if sample < old {
		sample += (old - sample) * math.Exp(-float64(age)/float64(ewmaDecay))
	}
	p.bits.Store(math.Float64bits(sample))
}
