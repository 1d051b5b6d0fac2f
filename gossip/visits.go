package gossip

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// What streams from outside may take, all together. Whether one is of the mesh is
// known only when a whole message of it is there, since its seal ends it: so these
// hold for strangers, and are more than a mesh needs.
const (
	maxStreams  = 256            // at once
	maxOfOne    = maxStreams / 2 // from one address, so that it keeps out no other
	maxUnproven = 4 << 20        // bytes of Serf's state under way, in all; one of 1,000 members has 1 MB at most
)

// maxHolding bounds what nodes of the mesh, or who holds its key, may have this one
// hold of messages that are not answered yet: two of the longest.
const maxHolding = 2 * maxMessage

// holding counts it.
type holding struct{ bytes atomic.Int64 }

func (h *holding) hold(n int) (tooMuch bool) { return h.bytes.Add(int64(n)) > maxHolding }

func (h *holding) release(n int) { h.bytes.Add(int64(-n)) }

var errBusy = errors.New("too much is under way")

// visits is the streams from outside that are open.
type visits struct {
	stats *stats

	mu   sync.Mutex // guards the rest, and held and left of visitors
	open int
	from map[string]int // by IP
	held int            // bytes that memberlist has read of them
}

// enter takes a stream in, or returns nil where there are enough.
func (v *visits) enter(c net.Conn) *visitor {
	from, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		from = ""
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open >= maxStreams || v.from[from] >= maxOfOne {
		v.stats.refused("stream", "too_many")
		return nil
	}
	if v.from == nil {
		v.from = map[string]int{}
	}
	v.open++
	v.from[from]++
	return &visitor{Conn: c, visits: v, from: from}
}

// hold notes that c holds more bytes, and reports whether that is too much.
func (v *visits) hold(c *visitor, n int) (tooMuch bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.left {
		return true
	}
	c.held += n
	v.held += n
	return v.held > maxUnproven
}

func (v *visits) leave(c *visitor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open--
	v.held -= c.held
	c.left = true
	if v.from[c.from]--; v.from[c.from] == 0 {
		delete(v.from, c.from)
	}
}

// visitor is a stream from outside. It counts as open until it is closed, and what
// memberlist reads of it as held.
type visitor struct {
	net.Conn
	visits *visits
	from   string
	held   int
	left   bool
	once   sync.Once
}

// Close implements net.Conn.
func (c *visitor) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.visits.leave(c) })
	return err
}

// forSerf is a visitor that memberlist reads: with the byte that was read to tell
// whose it is, and only so much.
type forSerf struct {
	*visitor
	prefix []byte
}

// Read implements net.Conn.
func (c *forSerf) Read(b []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(b, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	n, err := c.visitor.Read(b)
	if c.visits.hold(c.visitor, n) {
		c.visits.stats.refused("stream", "too_big")
		return 0, errBusy
	}
	return n, err
}
