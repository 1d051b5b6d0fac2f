package replica

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

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

// idsOf returns the names of all objects of spec.
func idsOf(spec *routetable.Spec) map[routetable.ID]bool {
	set := make(map[routetable.ID]bool, len(spec.Routes)) // mostly routes
	all := spec.Objects()
	for o := range all.All {
		set[o.ID()] = true
	}
	return set
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

// deletes reports whether e deletes an object that it does not write.
func (s *state) deletes(e Edit, given map[routetable.ID]bool, old *entry) bool {
	if given[old.ID] || old.deleted() {
		return false
	}
	// What this version cannot read no file of it can hold: not a reason to delete.
	return e.Prune && old.object != nil || e.Source != "" && old.source == e.Source || slices.Contains(e.Delete, old.String())
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

// note is who changed what, when and why.
type note struct {
	author, message, rollback string
	at                        time.Time
}

// commit builds the changeset of writes on top of s and returns the state with
// it. writes lack their stamps.
func (s *state) commit(node string, n note, writes []write) (*state, *changeset) {
	c := &changeset{
		stamp: crdt.Stamp{Version: s.highest() + 1, Node: node},
		after: maps.Clone(s.seen), author: n.author, message: n.message, at: n.at, rollback: n.rollback,
		writes: writes,
	}
	slices.SortFunc(c.writes, func(a, b write) int { return a.Compare(b.ID) })
	var objects objectReader
	for _, w := range c.writes {
		w.stamp = c.stamp
		w.ready(&objects)
	}
	c.encode()
	next := s.clone()
	next.apply(c)
	return next.seal(), c
}

// highest is the highest version seen, in changesets that wait too.
func (s *state) highest() uint64 {
	highest := max(s.newest().Version, s.floor.Version)
	for stamp := range s.waiting {
		highest = max(highest, stamp.Version)
	}
	return highest
}
