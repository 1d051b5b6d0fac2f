package dataplane

import (
	"errors"
	"io"
	"os"
	"slices"
	"time"
)

// How slowly a request's body may arrive.
const (
	bodyIdle = 30 * time.Second // between bytes
	bodyRate = 240              // bytes a second, at least, on average
)

// tooSlow reports whether a body of which n bytes have arrived since began is sent
// deliberately slowly (slowloris).
func (s *Server) tooSlow(now, began time.Time, n int64) bool {
	took := now.Sub(began)
	return took > bodyIdle && float64(n) < bodyRate*took.Seconds() && !s.wasFrozen(began)
}

// takeSmall reads a body of known length into memory.
func (x *Exchange) takeSmall(in io.Reader) *refusal {
	x.scratch.body = slices.Grow(x.scratch.body[:0], int(x.Length))[:x.Length]
	switch _, err := io.ReadFull(in, x.scratch.body); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return malformed(408, "The request's body did not come in time.")
	case err != nil:
		return cutShort()
	}
	x.Buffered, x.in = x.scratch.body, x.Length
	return nil
}

func cutShort() *refusal { return malformed(400, "The request's body is cut short.") }
