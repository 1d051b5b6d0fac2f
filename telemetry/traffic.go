package telemetry

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// The window that rates and percentiles are of, in slots: at each Advance the
// oldest is dropped.
const (
	SlotLength = 2 * time.Second
	slots      = 5
	Window     = slots * SlotLength
)

// Traffic counts the requests of the last Window by route. Series are safe for
// concurrent use; Advance has to be called every SlotLength, by one goroutine.
type Traffic struct {
	slot atomic.Uint32 // that is being filled

	mu     sync.Mutex // guards the rest
	series map[string]*Series
	filled int // slots, at most all
	quiet  int // slots since the last Keep: the past of a series that begins now
}

// NewTraffic returns a Traffic without requests.
func NewTraffic() *Traffic { return &Traffic{series: map[string]*Series{}} }

// Series is the traffic of one route. It takes little memory before its first
// request.
type Series struct {
	traffic *Traffic
	slots   atomic.Pointer[[slots + 1]slot] // one more than is read: the one being filled

	past past // guarded by Traffic.mu
}

type slot struct {
	requests, errors atomic.Uint32
	latency          Sketch
}

// Series returns that of a route: the same for the same name. What begins now had no
// requests since the last Keep, which is when the route may have come.
func (t *Traffic) Series(route string) *Series {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.series[route]
	if s == nil {
		s = &Series{traffic: t, past: silence(t.quiet)}
		t.series[route] = s
	}
	return s
}

// Keep drops the series of routes for which has returns false, unless they had
// requests recently.
func (t *Traffic) Keep(has func(route string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quiet = 0
	for route, s := range t.series {
		if !has(route) && s.count(t.filled).Requests == 0 {
			delete(t.series, route)
		}
	}
}

// Add counts a request and its duration. It does not block and, after the first
// call, does not allocate.
func (s *Series) Add(took time.Duration, failed bool) {
	all := s.slots.Load()
	if all == nil {
		s.slots.CompareAndSwap(nil, new([slots + 1]slot))
		all = s.slots.Load()
	}
	now := &all[s.traffic.slot.Load()]
	now.requests.Add(1)
	if failed {
		now.errors.Add(1)
	}
	now.latency.Add(took)
}

// Advance begins a new slot, and adds the one that ended to the history.
func (t *Traffic) Advance() {
	t.mu.Lock()
	defer t.mu.Unlock()
	ended := t.slot.Load()
	next := (ended + 1) % (slots + 1)
	for _, s := range t.series {
		all := s.slots.Load()
		if all == nil {
			s.past.add(0, 0)
			continue
		}
		s.past.add(all[ended].requests.Load(), all[ended].errors.Load())
		all[next].requests.Store(0)
		all[next].errors.Store(0)
		all[next].latency.clear()
	}
	t.slot.Store(next)
	t.filled = min(t.filled+1, slots)
	t.quiet++
}

// Count is the requests of a window.
type Count struct {
	Seconds  float64 `json:"seconds"` // that it is long; 0 before the first slot has ended
	Requests uint64  `json:"requests"`
	Errors   uint64  `json:"errors"`
	Latency  Buckets `json:"latency"`
}

// Merge adds the requests of another node in the same window.
func (c *Count) Merge(o Count) {
	c.Seconds = max(c.Seconds, o.Seconds)
	c.Requests += o.Requests
	c.Errors += o.Errors
	if c.Latency == nil {
		c.Latency = Buckets{}
	}
	c.Latency.Add(o.Latency)
}

// count sums up the slots that have ended. Traffic.mu is held.
func (s *Series) count(filled int) Count {
	c := Count{Seconds: float64(filled) * SlotLength.Seconds(), Latency: Buckets{}}
	all := s.slots.Load()
	if all == nil {
		return c
	}
	filling := s.traffic.slot.Load()
	for i := range all {
		if uint32(i) != filling {
			c.Requests += uint64(all[i].requests.Load())
			c.Errors += uint64(all[i].errors.Load())
			all[i].latency.addTo(c.Latency)
		}
	}
	return c
}

// Routes returns the requests of the last Window by route, without routes that
// had none.
func (t *Traffic) Routes() map[string]Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]Count{}
	for route, s := range t.series {
		if c := s.count(t.filled); c.Requests > 0 {
			all[route] = c
		}
	}
	return all
}

// History compares the traffic of a route with its past.
type History struct {
	Age                 time.Duration // of the past that is known
	Rate, UsualRate     float64       // requests/s, in the last slots and before them
	Errors, UsualErrors float64       // share of them, 0..1
}

// History returns the history of every route that has or had requests.
func (t *Traffic) History() map[string]History {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]History{}
	for route, s := range t.series {
		if h := s.past.history(); h.Rate > 0 || h.UsualRate > 0.01 {
			all[route] = h
		}
	}
	return all
}

// past is a series' rates, averaged over some minutes, and its last slots, which
// are set against them.
type past struct {
	last             [recent][2]float64 // requests and errors, the newest first
	requests, errors float64            // averages of a slot, before those
	weight           float64            // of the averages: from 0 to 1, as they fill
	slots            int
}

const (
	recent     = 2               // slots that are now; the rest is past
	remembered = 5 * time.Minute // time constant of the past
)

// left is how much of an average is left after so many more slots.
func left(slots int) float64 {
	return math.Exp(-float64(slots) * SlotLength.Seconds() / remembered.Seconds())
}

// silence is the past of so many slots without requests.
func silence(slots int) past { return past{slots: slots, weight: 1 - left(max(0, slots-recent))} }

func (p *past) add(requests, errors uint32) {
	oldest := p.last[recent-1]
	copy(p.last[1:], p.last[:recent-1])
	p.last[0] = [2]float64{float64(requests), float64(errors)}
	if p.slots++; p.slots <= recent {
		return
	}
	keep := left(1)
	p.requests = keep*p.requests + (1-keep)*oldest[0]
	p.errors = keep*p.errors + (1-keep)*oldest[1]
	p.weight = keep*p.weight + 1 - keep
}

func (p *past) history() History {
	var h History
	var requests, errors float64
	for _, slot := range p.last {
		requests, errors = requests+slot[0], errors+slot[1]
	}
	h.Rate = requests / (recent * SlotLength.Seconds())
	if requests > 0 {
		h.Errors = errors / requests
	}
	if p.weight > 0 {
		h.UsualRate = p.requests / p.weight / SlotLength.Seconds()
		h.Age = time.Duration(p.slots-recent) * SlotLength
	}
	if p.requests > 0 {
		h.UsualErrors = p.errors / p.requests
	}
	return h
}
