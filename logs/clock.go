package logs

import (
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// The form of times, apart at the milliseconds.
const (
	untilSecond = `2006-01-02T15:04:05.`
	zone        = `Z07:00`
)

// clock adds the time to lines, as zerolog's own does it for a tenth of the cost:
// what stays the same for a second is formatted once in it.
type clock struct{ last atomic.Pointer[second] }

// second is one in which lines are written.
type second struct {
	unix       int64
	head, tail string // around the milliseconds
}

// Run implements zerolog.Hook.
func (c *clock) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	now := time.Now()
	s := c.last.Load()
	if s == nil || s.unix != now.Unix() {
		s = &second{unix: now.Unix(), head: `"` + now.Format(untilSecond), tail: now.Format(zone) + `"`}
		c.last.Store(s)
	}
	ms := now.Nanosecond() / int(time.Millisecond)
	var room [48]byte
	text := append(append(room[:0], s.head...), '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10))
	e.RawJSON(zerolog.TimestampFieldName, append(text, s.tail...))
}
