package quota

import (
	"math"
	"time"
)

// demand estimates the tokens per second asked of a key, admitted or not.
type demand struct {
	arrived float32 // since the last estimate
	rate    float32 // tokens/s
	since   time.Duration
}

// wake starts an estimate of a key that nobody used: what arrives first came
// within one period, as far as anyone can tell.
func (d *demand) wake(now, period time.Duration) {
	if d.rate == 0 && d.arrived == 0 {
		d.since = now - period
	}
}

// estimate averages over demandTau. A change of four standard deviations of a
// Poisson stream is a change and not noise, and is believed at once.
func (d *demand) estimate(now time.Duration) {
	elapsed := now - d.since
	if elapsed < 10*time.Millisecond {
		return
	}
	el := elapsed.Seconds()
	arrived, rate := float64(d.arrived), float64(d.rate)
	gain := 1 - math.Exp(-el/demandTau.Seconds())
	if want := rate * el; rate == 0 || math.Abs(arrived-want) > 4*math.Sqrt(max(arrived, want))+1 {
		gain = 1
	}
	d.rate = float32(rate + gain*(arrived/el-rate))
	if d.rate < 0.01 {
		d.rate = 0
	}
	d.arrived, d.since = 0, now
}

// jumped reports whether more than twice the estimate is arriving.
func (d *demand) jumped(now time.Duration) bool {
	el := float32((now - d.since).Seconds())
	return el > 0.02 && d.arrived > 2*d.rate*el+2
}
