package replica

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// state is all that a Store replicates. A published state never changes.
type state struct {
	entries map[routetable.ID]*entry
	floor   crdt.Stamp        // the newest tombstone ever dropped
	seen    map[string]uint64 // by node, its newest changeset that is in here
	history []*changeset      // oldest first

	waiting map[crdt.Stamp]*changeset // their predecessors are missing; not replicated

	sealed // what follows from the rest
}

// sealed is what seal computes once of a state that will not change any more.
type sealed struct {
	order   []*entry // by ID
	stale   []*entry // the order of the state that this one was cloned from
	fresh   []*entry // what may be missing in stale
	digest  []byte
	content string // Table.Digest

	conflicts func() []Conflict // found when first asked for
	retold    *retold
}

// seal finishes s before it is published. The order is made from the last one,
// which is nearly sorted already.
func (s *state) seal() *state {
	order := make([]*entry, 0, len(s.entries))
	for _, old := range append(s.stale, s.fresh...) {
		if e := s.entries[old.ID]; e != nil {
			order = append(order, e)
		}
	}
	slices.SortFunc(order, func(a, b *entry) int { return a.Compare(b.ID) })
	s.order, s.stale, s.fresh = slices.Compact(order), nil, nil
	s.digest, s.content = s.encodeDigest(), routetable.Digest(s.contents)
	s.conflicts, s.retold = sync.OnceValue(s.findConflicts), new(retold)
	return s
}

func newState() *state {
	return &state{entries: map[routetable.ID]*entry{}, seen: map[string]uint64{}, waiting: map[crdt.Stamp]*changeset{}}
}

func (s *state) clone() *state {
	return &state{
		entries: maps.Clone(s.entries), floor: s.floor, seen: maps.Clone(s.seen),
		history: slices.Clone(s.history), waiting: maps.Clone(s.waiting),
		sealed: sealed{stale: slices.Clip(s.order)},
	}
}

// find returns the place of an entry, deleted or not, in the order.
func (s *sealed) find(k routetable.ID) (at int, found bool) {
	return slices.BinarySearchFunc(s.order, k, func(e *entry, k routetable.ID) int { return e.Compare(k) })
}

// expect makes room for n more entries at once.
func (s *state) expect(n int) {
	if n > len(s.entries) {
		entries := make(map[routetable.ID]*entry, len(s.entries)+n)
		maps.Copy(entries, s.entries)
		s.entries = entries
	}
}

// put joins one entry and reports whether it is news.
func (s *state) put(e *entry) bool {
	old := s.entries[e.ID]
	if old == nil && e.stamp.Compare(s.floor) <= 0 {
		return false // deleted here, so long ago that the tombstone is gone
	}
	if old != nil && !e.newer(old) {
		return false
	}
	s.entries[e.ID] = e
	s.fresh = append(s.fresh, e)
	return true
}

// join merges another state and reports whether anything changed, and which
// live objects were dropped because they are gone there.
func (s *state) join(o *state, whole bool) (changed bool, lost []*entry) {
	if whole {
		for k, e := range s.entries {
			if _, there := o.find(k); !there && e.stamp.Compare(o.floor) <= 0 {
				delete(s.entries, k)
				changed = true
				if !e.deleted() {
					lost = append(lost, e)
				}
			}
		}
	}
	s.expect(len(o.order))
	for _, e := range o.order {
		changed = s.put(e) || changed
	}
	if whole && s.floor.Less(o.floor) {
		s.floor, changed = o.floor, true
	}
	for node, version := range o.seen {
		changed = s.see(crdt.Stamp{Version: version, Node: node}) || changed
	}
	for _, c := range o.history {
		changed = s.remember(c) || changed
	}
	s.trim()
	return changed, lost
}

// apply joins a changeset whose predecessors are all in here.
func (s *state) apply(c *changeset) (changed bool) {
	s.expect(len(c.writes))
	for _, w := range c.writes {
		changed = s.put(w.entry) || changed
	}
	changed = s.see(c.stamp) || changed
	changed = s.remember(c) || changed
	s.trim()
	return changed
}

// mayWait reports whether there is room for a changeset to wait in.
func (s *state) mayWait(c *changeset) bool {
	held := len(c.raw)
	for _, w := range s.waiting {
		held += len(w.raw)
	}
	return len(s.waiting) < maxWaiting && held <= maxHolding
}

// release applies what waits and need not any more.
func (s *state) release() (changed bool) {
	for again := true; again; {
		again = false
		for stamp, c := range s.waiting {
			if s.coversAll(c.after) {
				delete(s.waiting, stamp)
				s.apply(c)
				again, changed = true, true
			}
		}
	}
	return changed
}

func (s *state) see(stamp crdt.Stamp) bool {
	if stamp.Version <= s.seen[stamp.Node] {
		return false
	}
	s.seen[stamp.Node] = stamp.Version
	return true
}

// covers reports whether the changeset of stamp is in here.
func (s *state) covers(stamp crdt.Stamp) bool { return stamp.Version <= s.seen[stamp.Node] }

func (s *state) coversAll(seen map[string]uint64) bool {
	for node, version := range seen {
		if !s.covers(crdt.Stamp{Version: version, Node: node}) && !s.forgotten(version) {
			return false
		}
	}
	return true
}

// newest is the stamp of the newest changeset in here.
func (s *state) newest() crdt.Stamp {
	var newest crdt.Stamp
	for node, version := range s.seen {
		if stamp := (crdt.Stamp{Version: version, Node: node}); newest.Less(stamp) {
			newest = stamp
		}
	}
	return newest
}

// sum is equal for equal states.
func (s *state) sum() [sha256.Size]byte {
	h := sha256.New()
	var content []byte
	for _, e := range s.order {
		content = binary.BigEndian.AppendUint64(append(content[:0], e.sum[:]...), e.stamp.Version)
		content = routetable.AppendContent(content, e.stamp.Node, "", nil)
		h.Write(content)
	}
	h.Write(routetable.AppendContent(nil, "floor", s.floor.String(), nil))
	for _, c := range s.history {
		h.Write(c.sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// contents yields what is not deleted, in the order of Table.Digest; kinds of a newer
// version come last.
func (s *state) contents(yield func(routetable.ID, []byte) bool) {
	kinds := routetable.Kinds()
	for rank := range len(kinds) + 1 {
		for _, e := range s.order {
			at := slices.Index(kinds, e.Kind)
			if at < 0 {
				at = len(kinds)
			}
			if at == rank && !e.deleted() && !yield(e.ID, e.data) {
				return
			}
		}
	}
}

// sound returns the objects that this version can serve.
func (s *state) sound() (all routetable.Objects) {
	all.Routes, all.Stamps = make([]*routetable.Route, 0, len(s.order)), make([]crdt.Stamp, 0, len(s.order))
	for _, e := range s.order {
		if e.fault != "" {
			continue
		}
		all.Add(e.object)
		if e.Kind == routetable.KindRoute && !e.deleted() {
			all.Stamps = append(all.Stamps, e.stamp)
		}
	}
	return all
}

// table compiles what can be served, with what old has of it. The digest is over
// everything, so that it is equal on nodes of different versions too.
func (s *state) table(old *routetable.Table) *routetable.Table {
	return old.Next(s.sound(), s.newest(), s.content)
}
