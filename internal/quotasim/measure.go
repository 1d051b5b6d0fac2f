package main

import (
	"math"
	"time"
)

// result is what one run, or the worst of several, measured. Shares are in per
// cent.
type result struct {
	overShort, overLong float64 // worst window's excess over rate*window + burst
	totalLow, totalHigh float64 // admitted against the ideal, signed
	under               float64 // worst long window below the ideal
	refused             float64 // of what the ideal admits, in all
	jain                float64 // fairness between nodes of admitted/offered
	converged           float64 // seconds
	bytes, bytesMost    float64 // per second: mean of the nodes, busiest node

	overShortAway, settled float64 // worst short window away from the events; see split
}

// worst combines two runs.
func (r result) worst(o result) result {
	return result{
		max(r.overShort, o.overShort), max(r.overLong, o.overLong),
		min(r.totalLow, o.totalLow), max(r.totalHigh, o.totalHigh),
		max(r.under, o.under), max(r.refused, o.refused), min(r.jain, o.jain), max(r.converged, o.converged),
		max(r.bytes, o.bytes), max(r.bytesMost, o.bytesMost),
		max(r.overShortAway, o.overShortAway), max(r.settled, o.settled),
	}
}

func sums(x []float64) []float64 {
	p := make([]float64, len(x)+1)
	for i, v := range x {
		p[i+1] = p[i] + v
	}
	return p
}

// measure sums up a run.
func (s *sim) measure() (r result) {
	adm, ideal := sums(s.admitted), sums(s.ideal)
	n := len(s.admitted)
	r.overShort = s.over(adm, s.short, func(int) bool { return true })
	r.overLong = s.over(adm, s.long, func(int) bool { return true })
	if ideal[n] > 0 {
		r.totalLow = (adm[n]/ideal[n] - 1) * 100
		r.totalHigh = r.totalLow
		r.refused = max(0, -r.totalLow)
	}
	k := min(int(s.long/slot), n)
	for i := 0; i+k <= n; i++ {
		if o := ideal[i+k] - ideal[i]; o > 20 {
			r.under = max(r.under, (1-(adm[i+k]-adm[i])/o)*100)
		}
	}
	r.jain = s.fairness()
	for _, at := range s.events {
		r.converged = max(r.converged, s.convergence(adm, ideal, at))
	}
	for _, b := range s.bytes {
		r.bytes += b / s.lasts.Seconds() / float64(s.nodes)
		r.bytesMost = max(r.bytesMost, b/s.lasts.Seconds())
	}
	s.measureSplit(adm, &r)
	return r
}

// over is the worst excess of a window that begins at a slot that counts.
func (s *sim) over(adm []float64, window time.Duration, counts func(slot int) bool) (worst float64) {
	n := len(adm) - 1
	k := min(int(window/slot), n)
	allowed := s.limit.rate*(time.Duration(k)*slot).Seconds() + s.limit.burst
	for i := 0; i+k <= n; i++ {
		if counts(i) {
			worst = max(worst, (adm[i+k]-adm[i])/allowed-1)
		}
	}
	return worst * 100
}

// measureSplit looks at short windows that do not touch the four seconds around
// the cut, and at the settled time of the split.
func (s *sim) measureSplit(adm []float64, r *result) {
	var cut, healed time.Duration
	for _, f := range s.faults {
		switch f.kind {
		case split:
			cut = f.at
		case heal:
			healed = f.at
		default:
		}
	}
	if cut == 0 || healed == 0 {
		return
	}
	r.overShortAway = s.over(adm, s.short, func(i int) bool {
		t := time.Duration(i) * slot
		return t+s.short < cut || t > cut+4*time.Second
	})
	from, to := int((cut+8*time.Second)/slot), int(healed/slot)
	r.settled = max(0, ((adm[to]-adm[from])/(s.limit.rate*(time.Duration(to-from)*slot).Seconds())-1)*100)
}

// fairness is Jain's index over nodes with enough requests to tell.
func (s *sim) fairness() float64 {
	var sum, squares, n float64
	for i := range s.offered {
		if s.offered[i] >= 20 {
			x := s.perNode[i] / s.offered[i]
			sum, squares, n = sum+x, squares+x*x, n+1
		}
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (n * squares)
}

// convergence is how long after at some half second is still 15 % off.
func (s *sim) convergence(adm, ideal []float64, at time.Duration) float64 {
	end := min(s.lasts, at+10*time.Second)
	for _, e := range s.events {
		if e > at {
			end = min(end, e)
		}
	}
	k := int(500 * time.Millisecond / slot)
	last := at
	for t := at; t+500*time.Millisecond <= end; t += 50 * time.Millisecond {
		i := int(t / slot)
		if i+k < len(adm) && math.Abs((adm[i+k]-adm[i])-(ideal[i+k]-ideal[i])) > 0.15*s.limit.rate*0.5 {
			last = t + 50*time.Millisecond
		}
	}
	return (last - at).Seconds()
}
