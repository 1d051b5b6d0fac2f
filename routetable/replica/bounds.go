package replica

import (
	"maps"
	"slices"

	"github.com/meshgw/meshgw/crdt"
)

// Bounds of what is kept. Each keeps the newest, so that keeping less is a join
// like all the rest: what two states would both drop, their join drops too.
const (
	maxTombstones   = 10_000
	maxHistory      = 50
	maxHistoryBytes = 16 << 20
	maxAuthors      = 1024
)

// Bounds of the whole table. Two sides of a partition may both fill theirs, so what
// is merged may be twice as much; with its history that still fits one message of
// gossip, which is how a newcomer gets it.
const (
	maxObjects    = 100_000  // deleted ones too
	maxTableBytes = 20 << 20 // of objects as JSON
)

// bounded refuses a state of more than times what one table may have.
func (s *state) bounded(times int) error {
	size := s.size()
	if len(s.entries) > times*maxObjects || size > times*maxTableBytes {
		return refuse("too_big", "a table of %d objects, %d bytes", len(s.entries), size)
	}
	return nil
}

// size is the bytes of all objects.
func (s *state) size() (bytes int) {
	for _, e := range s.entries {
		bytes += len(e.data) + len(e.unknown)
	}
	return bytes
}

// forgotten reports whether an author as old as version may have been trimmed.
func (s *state) forgotten(version uint64) bool {
	if len(s.seen) < maxAuthors {
		return false
	}
	for _, v := range s.seen {
		if v < version {
			return false
		}
	}
	return true
}

// remember keeps a changeset in the history, if it is new enough.
func (s *state) remember(c *changeset) bool {
	i, found := slices.BinarySearchFunc(s.history, c, (*changeset).compare)
	if found {
		return false
	}
	before := len(s.history)
	s.history = slices.Insert(s.history, i, c)
	drop := s.excess()
	s.history = slices.Delete(s.history, 0, drop)
	return i >= drop || len(s.history) != before
}

// excess counts the oldest changesets that are too many or too big.
func (s *state) excess() int {
	size, kept := 0, 0
	for _, c := range slices.Backward(s.history) {
		size += len(c.raw)
		if kept == maxHistory || size > maxHistoryBytes && kept > 0 {
			break
		}
		kept++
	}
	return len(s.history) - kept
}

// trim keeps the newest tombstones and authors.
func (s *state) trim() {
	var tombs []*entry
	for _, e := range s.entries {
		if e.deleted() {
			tombs = append(tombs, e)
		}
	}
	if n := len(tombs) - maxTombstones; n > 0 {
		slices.SortFunc(tombs, func(a, b *entry) int { return a.stamp.Compare(b.stamp) })
		if dropped := tombs[n-1].stamp; s.floor.Less(dropped) {
			s.floor = dropped
		}
	}
	for _, e := range tombs {
		if e.stamp.Compare(s.floor) <= 0 {
			delete(s.entries, e.ID)
		}
	}
	if n := len(s.seen) - maxAuthors; n > 0 {
		oldest := slices.SortedFunc(maps.Keys(s.seen), func(a, b string) int {
			return crdt.Stamp{Version: s.seen[a], Node: a}.Compare(crdt.Stamp{Version: s.seen[b], Node: b})
		})
		for _, node := range oldest[:n] {
			delete(s.seen, node)
		}
	}
}
