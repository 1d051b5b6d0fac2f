package failover

import (
	"math"
	"time"
)

// The lines of shedding as parts of its threshold, 80 % by default: it begins at
// the threshold, refuses all but critical requests at 95 % and ends below 70 %.
const (
	shedFull = 0.75  // of what is left above the threshold
	shedEnd  = 0.875 // of the threshold
	shedOver = time.Second
)

// Shedding is the state of overload of a node, as a value: its methods return
// the next state. The zero value refuses nothing.
type Shedding struct {
	CPU      float64 // smoothed over a second, share of the allowance
	Severity float64 // share of the requests below critical to refuse, in [0,1]
	At       time.Time
}

// Observe adds the CPU used since the last call, as a share of the node's allowance,
// in [0,1]. threshold is where shedding begins; 0 turns it off.
//
// Severity rises along the line from 0 at the threshold to 1 at full, and falls
// along the one from the end to full; between the two it stays (the «play» of
// hysteresis), so it neither jumps nor oscillates.
func (s Shedding) Observe(now time.Time, cpu, threshold float64) Shedding {
	next := Shedding{CPU: cpu, At: now}
	if !s.At.IsZero() {
		next.CPU += (s.CPU - cpu) * math.Exp(-max(0, now.Sub(s.At).Seconds())/shedOver.Seconds())
	}
	if threshold <= 0 {
		return next
	}
	full, end := threshold+shedFull*(1-threshold), shedEnd*threshold
	rise, fall := ramp(next.CPU, threshold, full), ramp(next.CPU, end, full)
	next.Severity = max(rise, min(fall, s.Severity))
	return next
}

// Active reports whether requests are being refused.
func (s Shedding) Active() bool { return s.Severity > 0 }

// Refuse returns the share of each priority to refuse, given the arrival rate
// of each. Critical requests are never refused.
func (s Shedding) Refuse(mix Mix) Mix { return refuse(s.Severity, mix, High) }

// ramp is where x is between from, 0, and to, 1.
func ramp(x, from, to float64) float64 {
	if x >= to {
		return 1
	}
	return max(0, (x-from)/(to-from))
}
