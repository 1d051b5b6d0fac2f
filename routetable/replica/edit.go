package replica

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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

// condition compares what the edit was made for with what is here.
func (s *state) condition(e Edit) error {
	newest := s.newest()
	if v := e.IfVersion; !v.IsZero() && (v.Version != newest.Version || v.Node != "" && v.Node != newest.Node) {
		return fmt.Errorf("%w: it is at %s, not %d", ErrStale, newest, v.Version)
	}
	if !strings.HasPrefix(s.content, e.IfDigest) {
		return fmt.Errorf("%w: its digest is %.12s, not %.12s", ErrStale, s.content, e.IfDigest)
	}
	return nil
}

// check validates the table that e leads to. Mistakes that are there already
// and that e does not touch, as merges leave them, do not refuse it.
func (s *state) check(e Edit, given map[routetable.ID]bool) (warnings routetable.Problems, err error) {
	merged := e.Spec.Objects()
	for _, entry := range s.order {
		if !given[entry.ID] && entry.fault == "" && !entry.deleted() && !s.deletes(e, given, entry) {
			merged.Add(entry.object)
		}
	}
	var errs routetable.Problems
	var before map[string]bool
	for _, p := range routetable.ValidatePart(e.Spec, merged) { // the others have passed
		ours := p.Object == "" || given[routetable.ParseID(p.Object)]
		if !ours {
			p.Path = "" // an index that the edit does not have
			if before == nil {
				before = s.mistakes()
			}
		}
		switch {
		case p.Severity == routetable.Warning:
			warnings = append(warnings, p)
		case ours || !before[p.Object+p.Message]:
			errs = append(errs, p)
		}
	}
	return warnings, errs.Err()
}

// mistakes is what is wrong with the table as it is.
func (s *state) mistakes() map[string]bool {
	set := map[string]bool{}
	for _, p := range routetable.ValidateBetween(s.sound()) {
		set[p.Object+p.Message] = true
	}
	return set
}

// deletes reports whether e deletes an object that it does not write.
func (s *state) deletes(e Edit, given map[routetable.ID]bool, old *entry) bool {
	if given[old.ID] || old.deleted() {
		return false
	}
	// What this version cannot read no file of it can hold: not a reason to delete.
	return e.Prune && old.object != nil || e.Source != "" && old.source == e.Source || slices.Contains(e.Delete, old.String())
}

// writes returns what e changes.
func (s *state) writes(e Edit, given map[routetable.ID]bool) ([]write, error) {
	writes := make([]write, 0, len(given))
	all := e.Spec.Objects()
	for o := range all.All {
		data, err := json.Marshal(o)
		id := o.ID()
		if err != nil {
			return nil, fmt.Errorf("write %s %s: %w", id.Kind, id.Name, err)
		}
		if len(data) > maxObject {
			return nil, fmt.Errorf("%s %s has %d bytes, at most %d are possible", id.Kind, id.Name, len(data), maxObject)
		}
		source := e.Source
		if source == "" {
			source = s.sourceOf(id)
		}
		writes = s.appendWrite(writes, id, data, source)
	}
	for _, old := range s.order {
		if s.deletes(e, given, old) {
			writes = s.appendWrite(writes, old.ID, nil, "")
		}
	}
	for _, object := range e.Delete {
		if old := s.entries[routetable.ParseID(object)]; old == nil || old.deleted() {
			return nil, fmt.Errorf("delete %s: there is none", object)
		}
	}
	return writes, nil
}

func (s *state) sourceOf(k routetable.ID) string {
	if old := s.entries[k]; old != nil {
		return old.source
	}
	return ""
}

// appendWrite adds the write of data, nil for a deletion, unless it is there.
func (s *state) appendWrite(writes []write, k routetable.ID, data []byte, source string) []write {
	w := write{entry: &entry{ID: k, source: source, data: data}}
	if old := s.entries[k]; old != nil {
		same := old.deleted() == (data == nil) && bytes.Equal(old.data, data)
		if same && (data == nil || source == "" || old.source != "") {
			return writes // a file may take what is nobody's, but not what another wrote the same
		}
		w.replaced, w.before = old.stamp, old.data
	} else if data == nil {
		return writes
	}
	return append(writes, w)
}

// idsOf returns the names of all objects of spec.
func idsOf(spec *routetable.Spec) map[routetable.ID]bool {
	set := make(map[routetable.ID]bool, len(spec.Routes)) // mostly routes
	all := spec.Objects()
	for o := range all.All {
		set[o.ID()] = true
	}
	return set
}
