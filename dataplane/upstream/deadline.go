package upstream

import (
	"sync"
	"time"
)

// A deadline that is noticed so late passed while this process was frozen: what
// arrived meanwhile is looked for once more.
const (
	noticedLate = 500 * time.Millisecond
	lastLook    = 250 * time.Millisecond
)

// deadline is the read or write deadline of a connection. Moving it further off
// only records it; the earlier one that is set then passes too soon, which is
// rare, and is set again.
type deadline struct {
	mu  sync.Mutex // guards the rest
	by  time.Time  // the deadline; zero = none
	set time.Time  // as set on the connection; never later than by
}

// move moves the deadline to by. set sets it on the connection.
func (d *deadline) move(by time.Time, set func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.by = by
	if by.IsZero() || !d.set.IsZero() && !by.Before(d.set) {
		return nil
	}
	d.set = by
	return set(by)
}

// passed is called when the connection's deadline has passed. It reports
// whether that was too soon, after setting the right one.
func (d *deadline) passed(now time.Time, set func(time.Time) error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.by.IsZero() || now.Before(d.by):
	case now.Sub(d.by) >= noticedLate:
		d.by = now.Add(lastLook)
	default:
		return false
	}
	d.set = d.by
	return set(d.by) == nil
}
