package dataplane

import (
	"sync"
	"time"
)

// watchdog bites when something takes too long. The zero value with bite set is
// ready, and is used again and again.
type watchdog struct {
	bite func(now time.Time) (again time.Time) // again: watch on until then; zero = done

	mu    sync.Mutex // guards the rest
	by    time.Time  // zero = nothing is watched
	timer *time.Timer
}

// watch begins to watch: what is done now has until by. Zero is no bound.
func (w *watchdog) watch(by time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.by = by
	switch {
	case by.IsZero():
	case w.timer == nil:
		w.timer = time.AfterFunc(time.Until(by), w.wake)
	default:
		w.timer.Reset(time.Until(by))
	}
}

// rest ends watching. When it returns, bite is not running and will not.
func (w *watchdog) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.by = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watchdog) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case w.by.IsZero() || now.Before(w.by):
		return // it was about something that has ended
	case now.Sub(w.by) >= standstill: // this node stood still: what it waits for may be there
		w.by = now.Add(stallLook)
	default:
		w.by = w.bite(now)
	}
	if !w.by.IsZero() {
		w.timer.Reset(w.by.Sub(now))
	}
}
