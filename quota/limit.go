package quota

import (
	"time"

	"github.com/cespare/xxhash/v2"
)

// HoldAuto as Limit.Hold lets a request wait as long as the round trip to the
// key's home warrants.
const HoldAuto = time.Duration(-1)

// A Limit bounds requests per key: either a rate with a burst, or requests in
// flight. It is made once, when a table is compiled, and never changed; the
// limits of the next table are other values, told apart by Name.
type Limit struct {
	Name  string  // what users call it; a limit of the same Name on another node is the same limit
	Rate  float64 // tokens per second of the whole mesh
	Burst float64 // tokens, at least 1
	Slots int64   // if positive, requests in flight in the whole mesh; Rate and Burst are then unused

	Window   time.Duration // the window shown to clients; 0 = as long as the burst takes to fill, at least a second
	Hold     time.Duration // how long a request may wait for the home: HoldAuto, 0 = not at all, else up to 500 ms
	Local    bool          // each node by itself holds the whole limit; nothing is sent
	Isolated float64       // 0..1, the part of missing nodes' share that stays usable (when_isolated)
	Open     bool          // a cut-off node admits everything (when_isolated: open)
}

// limitID names a limit on the wire.
type limitID uint64

// id hashes the name. The kind is part of it, so that the rate and the slots
// that a user gave one name never meet.
func (l *Limit) id() limitID {
	h := xxhash.Sum64String(l.Name)
	if l.Slots > 0 {
		h = ^h
	}
	return limitID(h)
}

// durable reports whether what was taken must outlive restarts and moves of the
// home: where the burst is more than a minute's worth, forgetting it would hand
// out an hour's or a day's quota a second time.
func (l *Limit) durable() bool { return l.Slots == 0 && l.Burst > 60*l.Rate }

// shrink is what is left of tokens and of rates that were leased when l becomes to.
func (l *Limit) shrink(to *Limit) (tokens, rate float64) {
	tokens, rate = min(1, to.Burst/l.Burst), 1
	if l.Rate > 0 {
		rate = min(1, to.Rate/l.Rate)
	}
	return tokens, rate
}

// fromSeconds converts, and clamps to what a Duration can hold.
func fromSeconds(s float64) time.Duration {
	const most = 1 << 62
	if s*1e9 >= most {
		return most
	}
	return time.Duration(s * 1e9)
}
