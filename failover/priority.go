package failover

import (
	"fmt"
	"slices"
)

// Priority is the priority of a request under overload; the lowest are refused
// first.
type Priority uint8

// The priorities, the first to be refused last.
const (
	Critical Priority = iota
	High
	Normal
	Low
	Priorities = 4 // how many there are
)

// ParsePriority returns the priority with the name that a route file uses; the
// empty name is the default, Normal.
func ParsePriority(name string) (Priority, error) {
	switch name {
	case "critical":
		return Critical, nil
	case "high":
		return High, nil
	case "", "normal":
		return Normal, nil
	case "low":
		return Low, nil
	}
	return 0, fmt.Errorf("%q is no priority", name)
}

// String returns p as in route files and metrics.
func (p Priority) String() string {
	switch p {
	case Critical:
		return "critical"
	case High:
		return "high"
	case Normal:
		return "normal"
	case Low:
		return "low"
	}
	return "unknown"
}

// A Mix has a value for each Priority: arriving requests/s, or the share of
// them, in [0,1], that is to be refused.
type Mix [Priorities]float64

// Refuse returns the share of each priority to refuse so that share of all
// requests is refused, the lowest priority first. mix is the arrival rate by
// priority in any unit; if it is all zero, priorities count as equally
// frequent.
func Refuse(share float64, mix Mix) Mix { return refuse(share, mix, Critical) }

// refuse is Refuse of the requests from the priority last down, and spares
// those above.
func refuse(share float64, mix Mix, last Priority) Mix {
	total := 0.0
	for p := last; p <= Low; p++ {
		total += max(0, mix[p])
	}
	if total <= 0 {
		mix, total = Mix{1, 1, 1, 1}, float64(Priorities-last)
	}
	left := min(1, max(0, share)) * total
	var refused Mix
	for p := Low + 1; p > last && left > 0; p-- {
		if n := mix[p-1]; n > 0 {
			refused[p-1] = min(1, left/n)
			left -= min(left, n)
		}
	}
	for p := last + 1; p <= Low; p++ { // one without requests now is refused before a higher one is
		if mix[p] <= 0 && slices.Max(refused[last:p]) > 0 {
			refused[p] = 1
		}
	}
	return refused
}
