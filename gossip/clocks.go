package gossip

import (
	"bytes"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// clocks are the newest of Serf's Lamport times that came in. Serf believes any: one
// message with the highest would have every later query of the mesh taken for
// old, those that rotate keys among them.
type clocks struct {
	mu     sync.Mutex // guards newest
	newest [3]uint64
}

// Serf's clocks.
const (
	clockMembers = iota
	clockEvents
	clockQueries
)

// Types of Serf's messages that carry its time (serf messages.go).
const (
	serfLeave     = 0
	serfJoin      = 1
	serfPushPull  = 2
	serfUserEvent = 3
	serfQuery     = 4
)

// A clock is believed so far ahead of the newest, or so far where there is none.
const (
	maxTick  = 1 << 32
	maxFirst = 1 << 48
)

// serfTimes is what Serf's messages say of time.
type serfTimes struct {
	LTime        uint64
	StatusLTimes map[string]uint64
	EventLTime   uint64
	Events       []*struct{ LTime uint64 }
	QueryLTime   uint64
}

// believe reports whether the times of one of Serf's messages are such that a
// mesh could have come to. What cannot be read is left to Serf to refuse.
func (c *clocks) believe(msg []byte) bool {
	if len(msg) == 0 || msg[0] > serfQuery {
		return true
	}
	var t serfTimes
	if err := codec.NewDecoder(bytes.NewReader(msg[1:]), &codec.MsgpackHandle{}).Decode(&t); err != nil {
		return true
	}
	var said [3]uint64
	switch msg[0] {
	case serfLeave, serfJoin:
		said[clockMembers] = t.LTime
	case serfUserEvent:
		said[clockEvents] = t.LTime
	case serfQuery:
		said[clockQueries] = t.LTime
	case serfPushPull:
		said = [3]uint64{clockMembers: t.LTime, clockEvents: t.EventLTime, clockQueries: t.QueryLTime}
		for _, at := range t.StatusLTimes {
			said[clockMembers] = max(said[clockMembers], at)
		}
		for _, e := range t.Events {
			if e != nil {
				said[clockEvents] = max(said[clockEvents], e.LTime)
			}
		}
	}
	return c.advance(said)
}

// advance takes the times in, all or none.
func (c *clocks) advance(said [3]uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, at := range said {
		limit := uint64(maxFirst)
		if c.newest[i] > 0 {
			limit = c.newest[i] + maxTick
		}
		if at > limit {
			return false
		}
	}
	for i, at := range said {
		c.newest[i] = max(c.newest[i], at)
	}
	return true
}
