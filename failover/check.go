package failover

import (
	"cmp"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// CheckVerdict is the result of one node's health checks of an endpoint.
type CheckVerdict uint8

// The verdicts of checks.
const (
	CheckUnknown CheckVerdict = iota // not checked, or not often enough
	CheckUp
	CheckDown
)

// String returns v as in status.
func (v CheckVerdict) String() string {
	switch v {
	case CheckUp:
		return "up"
	case CheckDown:
		return "down"
	default:
		return "unknown"
	}
}

// CheckConfig is the timing of an endpoint's health checks. All fields must be
// set.
type CheckConfig struct {
	Interval time.Duration
	Rise     int // successes in a row that make it up
	Fall     int // failures in a row that make it down
}

// Check is the state of one node's health checks of an endpoint, as a value:
// its methods return the next state. The zero Check is due at once.
type Check struct {
	Verdict CheckVerdict
	Since   time.Time // when the verdict was reached
	Failure string    // what the latest failure was
	Run     int       // of equal results against the verdict: successes above 0, failures below
	Next    time.Time // when to check again
}

// checkJitter is the part of the interval by which checks are spread.
const checkJitter = 0.1

// Due reports whether the endpoint should be checked at now.
func (c Check) Due(now time.Time) bool { return !now.Before(c.Next) }

// Observe adds the result of a check: failure is empty for success. While
// results contradict the verdict, or there is none, the next check follows
// after a quarter of the interval. jitter, uniform in [0,1), shortens the wait
// by up to a tenth, so that checkers do not stay in step.
func (c Check) Observe(now time.Time, failure string, cfg CheckConfig, jitter float64) Check {
	finding := CheckUp
	if failure != "" {
		finding, c.Failure = CheckDown, failure
	}
	switch finding {
	case c.Verdict:
		c.Run = 0
	case CheckUp:
		c.Run = max(c.Run, 0) + 1
	default:
		c.Run = min(c.Run, 0) - 1
	}
	if c.Run >= cfg.Rise || -c.Run >= cfg.Fall {
		c.Verdict, c.Since, c.Run = finding, now, 0
	}
	wait := cfg.Interval
	if c.Run != 0 {
		wait /= 4
	}
	c.Next = now.Add(wait - time.Duration(checkJitter*jitter*float64(wait)))
	return c
}

// MaxCheckers is how many nodes check an endpoint at most, at the same time.
const MaxCheckers = 3

// Checkers returns which of the live nodes of a region, given by id, check an
// endpoint: the first three by rendezvous hashing (Thaler, Ravishankar 1998),
// or all if there are fewer. So every node gets the same result, and a node
// that joins or leaves only moves its own checks. The first two always check,
// the third if ThirdNeeded says so.
func Checkers(nodes []string, upstream, url string) []string {
	key := xxhash.Sum64String(upstream)*31 + xxhash.Sum64String(url)
	top := make([]scored, 0, MaxCheckers+1)
	for _, id := range nodes {
		top = append(top, scored{id, mix(key ^ xxhash.Sum64String(id))})
		slices.SortFunc(top, func(a, b scored) int {
			return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
		})
		top = top[:min(len(top), MaxCheckers)]
	}
	ids := make([]string, len(top))
	for i, s := range top {
		ids[i] = s.id
	}
	return ids
}

type scored struct {
	id    string
	score uint64
}

// ThirdNeeded reports whether the third checker has to check too: the first two
// disagree, or one of them is silent.
func ThirdNeeded(first, second Witness) bool {
	return first.Silent || second.Silent || first.Check != second.Check
}
