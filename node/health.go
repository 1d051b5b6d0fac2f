package node

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/failover"
)

// Each node writes three keys: verdicts change seldom and are told at once, loads
// are told when they have changed by some amount, and a beat every second, which
// says that the node still looks after endpoints.
const (
	verdictsOf = "verdicts/"
	loadsOf    = "loads/"
	beatsOf    = "beats/"
)

// health is what every node has told of the endpoints and of its room for them:
// a gossip.State. What dead incarnations told is left out by failover.View.
type health struct {
	self        string
	incarnation uint32
	region      string
	words       *crdt.Map

	mu      sync.Mutex // guards the rest
	told    []failover.Load
	said    map[string]saying
	changes uint64 // of verdicts
}

// saying is what one node has told, by its id.
type saying struct {
	verdicts failover.Verdicts
	loads    failover.Loads
	heard    time.Time // when a beat last came
}

// newHealth returns the state of the node with the given id, which holds nothing
// yet.
func newHealth(self string, incarnation uint32, region string) *health {
	bounds := crdt.Bounds{Entries: 3 * 4096, Graves: 10_000, Key: 80, Value: 1 << 20, Bytes: 32 << 20} // all of it fits a message
	return &health{
		self: self, incarnation: incarnation, region: region,
		words: crdt.NewMap(bounds, checkSaying),
		said:  map[string]saying{},
	}
}

// checkSaying refuses what cannot be read. Keys of a newer version pass unread.
func checkSaying(key string, value []byte) (err error) {
	switch {
	case strings.HasPrefix(key, verdictsOf):
		_, err = failover.DecodeVerdicts(value)
	case strings.HasPrefix(key, loadsOf):
		_, err = failover.DecodeLoads(value)
	}
	return err
}

// tellVerdicts replaces what this node says of endpoints, and reports whether
// that is news.
func (h *health) tellVerdicts(verdicts []failover.Verdict) (news bool) {
	key := verdictsOf + h.self
	value := failover.AppendVerdicts(nil, failover.Verdicts{Incarnation: h.incarnation, Region: h.region, Verdicts: verdicts})
	// The incarnation is the upper half of the version, so that a restart
	// outbids everything said before it.
	news = h.words.Put(key, uint64(h.incarnation)<<32, value)
	if news {
		h.take(time.Time{}, key)
	}
	return news
}

// tellLoads replaces what this node says of its room, where that is worth telling.
func (h *health) tellLoads(loads []failover.Load) {
	key := loadsOf + h.self
	h.mu.Lock()
	if failover.Moved(h.told, loads) {
		h.told = loads
	}
	value := failover.AppendLoads(nil, failover.Loads{Incarnation: h.incarnation, Region: h.region, Loads: h.told})
	h.mu.Unlock()
	if h.words.Put(key, uint64(h.incarnation)<<32, value) {
		h.take(time.Time{}, key)
	}
}

// beat says that this node looks after endpoints. It is news each time: a node
// that checks them and does not say so is taken for silent.
func (h *health) beat(now time.Time) {
	key := beatsOf + h.self
	h.words.Put(key, max(uint64(h.incarnation)<<32, h.words.Version(key)), []byte{})
	h.take(now, key)
}

// forget drops what the node with the given id said, everywhere, until it speaks
// again.
func (h *health) forget(id string) {
	for _, key := range []string{verdictsOf + id, loadsOf + id, beatsOf + id} {
		h.words.Forget(key)
		h.take(time.Time{}, key)
	}
}

// of returns what the node with the given id has said.
func (h *health) of(id string) saying {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said[id]
}

// verdictChanges counts how often what is said of endpoints has changed.
func (h *health) verdictChanges() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes
}

// take reads what now stands under key. now is when it came; zero for nothing.
func (h *health) take(now time.Time, key string) {
	kind, id, _ := strings.Cut(key, "/")
	h.mu.Lock()
	defer h.mu.Unlock()
	value, _ := h.words.Get(key) // what is gone reads as nothing said
	said := h.said[id]
	switch kind + "/" { // what came was checked
	case verdictsOf:
		h.changes++
		said.verdicts, _ = failover.DecodeVerdicts(value)
	case loadsOf:
		said.loads, _ = failover.DecodeLoads(value)
	case beatsOf:
		said.heard = now
	default:
		return
	}
	h.keep(id, said)
}

// keep stores what a node said, unless that is nothing, h.mu held.
func (h *health) keep(id string, said saying) {
	if said.verdicts.Incarnation == 0 && said.loads.Incarnation == 0 && said.heard.IsZero() {
		delete(h.said, id)
		return
	}
	h.said[id] = said
}

// Digest implements gossip.State.
func (h *health) Digest() []byte { return h.words.Digest() }

// Delta implements gossip.State.
func (h *health) Delta(digest []byte) ([]byte, error) { return h.words.Delta(digest) }

// Changes implements gossip.State.
func (h *health) Changes(limit int) (data []byte, oversized bool) { return h.words.Changes(limit) }

// Merge implements gossip.State.
func (h *health) Merge(data []byte) error {
	changed, err := h.words.Merge(data)
	if err != nil {
		return fmt.Errorf("merge health: %w", err)
	}
	now := time.Now()
	for _, key := range changed {
		h.take(now, key)
	}
	return nil
}
