package quota

import "time"

// audit is how exact limits are, as the homes here find by what nodes report. It
// belongs to the control loop.
type audit struct {
	beyond map[limitID]float64 // tokens that were admitted beyond rate and burst
	ages   Ages
}

// Ages counts reports by how old the count was that they replaced: how long the
// home had not heard of a node that held a lease.
type Ages struct {
	UpTo  [ageBounds]uint64 // those of at most AgeBounds; each counts the younger ones too
	Count uint64
	Sum   time.Duration
}

const ageBounds = 5

// AgeBounds returns the bounds of Ages.UpTo. The last one is the life of a lease:
// what is older is of a node that could not be heard.
func AgeBounds() [ageBounds]time.Duration {
	return [...]time.Duration{100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, leaseTTL}
}

func newAudit() *audit { return &audit{beyond: map[limitID]float64{}} }

// heard notes a report of p, that it admitted used.
func (a *audit) heard(now time.Duration, h *home, p *party, used int64) {
	age := now - p.at
	if over := h.beyond(now, age, float64(used)); over > 0 {
		a.beyond[h.limit.id()] += over
	}
	if !p.live && !p.silent {
		return
	}
	a.ages.Count++
	a.ages.Sum += age
	for i, most := range AgeBounds() {
		if age <= most {
			a.ages.UpTo[i]++
		}
	}
}

// forget drops what is not of limits.
func (a *audit) forget(limits map[limitID]*Limit) {
	for id := range a.beyond {
		if limits[id] == nil {
			delete(a.beyond, id)
		}
	}
}

// beyond charges a bucket that nobody draws on otherwise, and returns what it
// lacked. What was admitted was so in the time since the last report: the bucket
// may hold what has flowed in meanwhile besides its burst.
func (h *home) beyond(now, since time.Duration, used float64) (over float64) {
	l := h.limit
	h.ideal.fill(now, l.Rate, l.Burst+l.Rate*min(since, leaseTTL).Seconds())
	h.ideal.tokens -= used
	over = max(0, -h.ideal.tokens-epsilon)
	h.ideal.tokens = max(0, h.ideal.tokens)
	return over
}
