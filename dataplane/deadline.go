package dataplane

import (
	"sync"
	"time"
)

// deadline is the deadline of reading from a connection, or of writing. To move
// it further off costs no more than to note it: the one that is set then strikes
// too early, which is seldom, and is set anew.
type deadline struct {
	mu  sync.Mutex // guards the rest
	by  time.Time  // what is meant; zero = none
	set time.Time  // what the connection has; never later than by
}

// move makes by the deadline; set tells the connection.
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

// again says that the connection's deadline has struck. It reports whether that
// was too early, and the connection goes on; or so late that this node must have
// stood still, and what has come meanwhile is to be looked at.
func (d *deadline) again(now time.Time, set func(time.Time) error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.by.IsZero() || now.Before(d.by):
	case now.Sub(d.by) >= standstill:
		d.by = now.Add(stallLook)
	default:
		return false
	}
	d.set = d.by
	return set(d.by) == nil
}
