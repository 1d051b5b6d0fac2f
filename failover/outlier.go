package failover

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Ejection by statistics, after Envoy's outlier detection: an endpoint that
// fails or lags much more than its siblings is left out for a while. Unlike
// breakers and checks it is a guess, so it is bounded.
const (
	// OutlierInterval is how often EjectOutliers is to be called.
	OutlierInterval = 10 * time.Second

	outlierSiblings = 5   // no statistics on fewer endpoints with enough answers
	outlierAnswers  = 100 // enough answers in an interval
	outlierStdev    = 1.9 // how far from the mean is too far
	outlierGap      = 0.05
	outlierSlowness = 2.0 // beside stdev, so that no trifle among nearly equal ones ejects
	baseEjection    = 30 * time.Second
)

// ejection is an endpoint's record of ejections. Like openings of a breaker, one
// that comes soon after the last is in a row with it.
type ejection struct {
	times int // in a row: each lasts one baseEjection longer
	until time.Time
}

// rest is how long the latest ejection lasts.
func (e ejection) rest() time.Duration {
	return min(maxOpenFor, time.Duration(e.times)*baseEjection)
}

// EjectOutliers evaluates the answers since the last call. It ends ejections
// that have expired, and ejects endpoints whose success rate is more than 1.9
// standard deviations below the mean, or whose latency is as far above it, the
// worst first, as long as no more than maxPercent of all endpoints are out of
// use for whatever reason. It returns those it has ejected.
func (b *Balancer) EjectOutliers(now time.Time, maxPercent int) []*Endpoint {
	samples := b.samples(now)
	worst := append(failing(samples), lagging(samples)...)
	slices.SortStableFunc(worst, func(a, b outlier) int { return cmp.Compare(b.deviation, a.deviation) })
	room := len(b.candidates)*maxPercent/100 - b.out()
	var ejected []*Endpoint
	for _, o := range worst {
		if len(ejected) >= room {
			break
		}
		if !slices.Contains(ejected, o.endpoint) {
			o.endpoint.eject(now, o.reason)
			ejected = append(ejected, o.endpoint)
		}
	}
	if b.reserve != nil {
		ejected = append(ejected, b.reserve.EjectOutliers(now, maxPercent)...)
	}
	return ejected
}

// out counts the candidates that get no requests.
func (b *Balancer) out() int {
	n := 0
	for i := range b.candidates {
		if b.candidates[i].endpoint.gate.Load()&gateOut != 0 {
			n++
		}
	}
	return n
}

type sample struct {
	endpoint *Endpoint
	success  float64 // share of the answers
	latency  float64 // mean, ns; 0 without enough successes
}

type outlier struct {
	endpoint  *Endpoint
	deviation float64 // from the mean, in standard deviations
	reason    string
}

// samples reads and resets the tallies. What is out already, or answered too
// little, is no sample.
func (b *Balancer) samples(now time.Time) []sample {
	var all []sample
	for i := range b.candidates {
		e := b.candidates[i].endpoint
		answers, failures := e.answers.Swap(0), e.failures.Swap(0)
		measured, latency := e.measured.Swap(0), e.latency.Swap(0)
		if e.reinstate(now) || answers < outlierAnswers {
			continue
		}
		s := sample{endpoint: e, success: 1 - float64(min(failures, answers))/float64(answers)}
		if measured >= outlierAnswers {
			s.latency = float64(latency) / float64(measured)
		}
		all = append(all, s)
	}
	return all
}

func failing(samples []sample) []outlier {
	if len(samples) < outlierSiblings {
		return nil
	}
	mean, stdev := moments(samples, func(s sample) float64 { return s.success })
	var found []outlier
	for _, s := range samples {
		if gap := mean - s.success; gap > outlierStdev*stdev && gap > outlierGap {
			found = append(found, outlier{s.endpoint, gap / stdev, "fails more than its siblings"})
		}
	}
	return found
}

func lagging(samples []sample) []outlier {
	samples = slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.latency == 0 })
	if len(samples) < outlierSiblings {
		return nil
	}
	mean, stdev := moments(samples, func(s sample) float64 { return s.latency })
	var found []outlier
	for _, s := range samples {
		if gap := s.latency - mean; gap > outlierStdev*stdev && s.latency > outlierSlowness*mean {
			found = append(found, outlier{s.endpoint, gap / stdev, "slower than its siblings"})
		}
	}
	return found
}

// moments returns the mean and the standard deviation of a value of the samples.
func moments(samples []sample, value func(sample) float64) (mean, stdev float64) {
	n := float64(len(samples))
	for _, s := range samples {
		mean += value(s) / n
	}
	for _, s := range samples {
		stdev += (value(s) - mean) * (value(s) - mean) / n
	}
	return mean, math.Sqrt(stdev)
}

func (e *Endpoint) eject(now time.Time, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.ejected.until) > e.ejected.rest() {
		e.ejected.times = 0
	}
	e.ejected.times++
	e.ejected.until = now.Add(e.ejected.rest())
	e.set(causeEjected, now, reason)
}

// reinstate ends e's ejection when its time is over, and reports whether e is
// ejected still.
func (e *Endpoint) reinstate(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gate.Load()&gateEjected == 0 {
		return false
	}
	if now.Before(e.ejected.until) {
		return true
	}
	e.clear(causeEjected)
	e.startSlowly(now)
	return false
}
