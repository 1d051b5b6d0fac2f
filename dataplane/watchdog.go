package dataplane

import (
	"sync"
	"time"
)

// watchdog calls expire when something takes too long. The zero value with expire set
// is ready, and may be used any number of times.
type watchdog struct {
	expire func(now time.Time) (again time.Time) // again is a new deadline; zero = none

	mu       sync.Mutex // guards the rest
	deadline time.Time  // zero = stopped
	timer    *time.Timer
}

// start sets the deadline of what is being done; zero is none.
func (w *watchdog) start(by time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = by
	switch {
	case by.IsZero():
	case w.timer == nil:
		w.timer = time.AfterFunc(time.Until(by), w.fire)
	default:
		w.timer.Reset(time.Until(by))
	}
}

// stop stops the watchdog. When it returns, expire is not running and will not.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watchdog) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case w.deadline.IsZero() || now.Before(w.deadline):
		return // stopped or restarted meanwhile
	case now.Sub(w.deadline) >= frozenAfter: // this node stood still: what it waits for may be there
		w.deadline = now.Add(stallLook)
	default:
		w.deadline = w.expire(now)
	}
	if !w.deadline.IsZero() {
		w.timer.Reset(w.deadline.Sub(now))
	}
}
