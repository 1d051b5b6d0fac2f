package replica

import (
	"fmt"
	"time"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// Edit is a change of the table to be made.
type Edit struct {
	Spec *routetable.Spec // objects to write; those that are there with the same content stay as they are

	Prune  bool     // delete every object that Spec lacks
	Delete []string // delete these, by kind/name
	// Source names the file that Spec came from, by a name that is the same on
	// all nodes that have it. It owns what it wrote, and what it holds that is
	// nobody's: an object that it owns and Spec lacks is deleted.
	Source string

	Author  string    // who
	Message string    // why
	At      time.Time // when, by the clock of this node; decides nothing

	// If what is not zero here does not hold, Prepare returns ErrStale.
	IfVersion crdt.Stamp // newest changeset; without a node, its version alone
	IfDigest  string     // beginning of Table.Digest
}

// Pending is an Edit that was checked and waits to be kept. It changes nothing
// by itself.
type Pending struct {
	base  *state
	next  *state
	set   *changeset // nil when there is nothing to change
	table *routetable.Table
	warn  routetable.Problems
}

// Prepare checks an edit in full against the table of now. A faulty one is
// refused with Problems, whose paths are those of the edit's Spec. The way to
// make it last is: keep Pending.Snapshot on disk, then Commit; when that says
// ErrStale, begin again.
func (s *Store) Prepare(e Edit) (*Pending, error) {
	st := s.snapshotState()
	if err := st.condition(e); err != nil {
		return nil, err
	}
	for _, text := range []string{e.Author, e.Message, e.Source} {
		if len(text) > maxNote {
			return nil, fmt.Errorf("author, message and source have at most %d bytes each", maxNote)
		}
	}
	if e.Spec == nil {
		e.Spec = new(routetable.Spec)
	}
	given := idsOf(e.Spec)
	warnings, err := st.check(e, given)
	if err != nil {
		return nil, err
	}
	writes, err := st.writes(e, given)
	if err != nil {
		return nil, err
	}
	p, err := s.pend(st, note{author: e.Author, message: e.Message, at: e.At}, writes)
	if err != nil {
		return nil, err
	}
	p.warn = warnings
	return p, nil
}

// Rollback prepares a change to the content that the table had at version, of
// whichever node; see Show for stamps without a node. It is a new version with
// the old content.
func (s *Store) Rollback(version crdt.Stamp, by Edit) (*Pending, error) {
	st := s.snapshotState()
	if err := st.condition(by); err != nil {
		return nil, err
	}
	target, err := st.resolve(version)
	if err != nil {
		return nil, err
	}
	var writes []write
	for k, data := range st.at(target.stamp) {
		writes = st.appendWrite(writes, k, data, st.sourceOf(k))
	}
	return s.pend(st, note{by.Author, by.Message, target.stamp.String(), by.At}, writes)
}

func (s *Store) pend(st *state, n note, writes []write) (*Pending, error) {
	p := &Pending{base: st, next: st}
	if len(writes) == 0 {
		return p, nil
	}
	p.next, p.set = st.commit(s.node, n, writes)
	if p.next.bounded(1) != nil && (len(p.next.entries) > len(st.entries) || p.next.size() > st.size()) { // one that merged to more may shrink
		return nil, fmt.Errorf("the table would have more than %d objects, or %d MiB", maxObjects, maxTableBytes>>20)
	}
	p.table = p.next.table(s.Table())
	return p, nil
}

// Commit makes p the table, and news for the mesh. ErrStale means that a merge
// or another Commit came between; nothing has changed then.
func (s *Store) Commit(p *Pending) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != p.base {
		return ErrStale
	}
	if p.set == nil {
		return nil
	}
	s.tell([]*changeset{p.set})
	s.publish(p.next, p.table)
	return nil
}

// NoChange reports whether the table has that content already. Commit then does
// nothing.
func (p *Pending) NoChange() bool { return p.set == nil }

// Stamp names the changeset that Commit makes; without a change, the newest.
func (p *Pending) Stamp() crdt.Stamp { return p.next.newest() }

// Digest is the Table.Digest that Commit leads to.
func (p *Pending) Digest() string { return p.next.content }

// Snapshot is Store.Snapshot as it will be after Commit.
func (p *Pending) Snapshot() []byte { return p.next.snapshot() }

// Diff returns what Commit changes, sorted by kind and name.
func (p *Pending) Diff() []Change {
	if p.set == nil {
		return nil
	}
	return p.set.revision().Changes
}

// Warnings returns what is worth a look and refuses nothing.
func (p *Pending) Warnings() routetable.Problems { return p.warn }
