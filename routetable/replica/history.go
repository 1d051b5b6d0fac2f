package replica

import (
	"maps"
	"slices"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// History returns the last changesets, the newest first.
func (s *Store) History() []Revision {
	history := s.snapshotState().history
	out := make([]Revision, 0, len(history))
	for _, c := range slices.Backward(history) {
		out = append(out, c.revision())
	}
	return out
}

// Show returns one changeset of the history. A stamp without a node names the
// version where that is unambiguous.
func (s *Store) Show(version crdt.Stamp) (Revision, error) {
	c, err := s.snapshotState().resolve(version)
	if err != nil {
		return Revision{}, err
	}
	return c.revision(), nil
}

// Diff returns what changed from one version to another, which may be the older
// one; the zero stamp means the table of now.
func (s *Store) Diff(from, to crdt.Stamp) ([]Change, error) {
	st := s.snapshotState()
	before, err := st.contentAt(from)
	if err != nil {
		return nil, err
	}
	after, err := st.contentAt(to)
	if err != nil {
		return nil, err
	}
	var out []Change
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for _, k := range slices.SortedFunc(maps.Keys(keys), routetable.ID.Compare) {
		if string(before[k]) != string(after[k]) {
			out = append(out, change(k, before[k], after[k], crdt.Stamp{}))
		}
	}
	return out, nil
}

// SpecAt returns all objects as they were at version, that of a changeset in the
// history, sorted by name; see Show for stamps without a node. Objects that this
// version of the program cannot read are not among them.
func (s *Store) SpecAt(version crdt.Stamp) (*routetable.Spec, error) {
	content, err := s.snapshotState().contentAt(version)
	if err != nil {
		return nil, err
	}
	spec := new(routetable.Spec)
	var objects objectReader
	for _, k := range slices.SortedFunc(maps.Keys(content), routetable.ID.Compare) {
		if o, err := objects.read(k.Kind, content[k]); err == nil {
			spec.Add(o)
		}
	}
	return spec, nil
}

// contentAt returns all objects as they were at a version; zero is now.
func (s *state) contentAt(version crdt.Stamp) (map[routetable.ID][]byte, error) {
	content := map[routetable.ID][]byte{}
	for k, e := range s.entries {
		if !e.deleted() {
			content[k] = e.data
		}
	}
	if version.IsZero() {
		return content, nil
	}
	c, err := s.resolve(version)
	if err != nil {
		return nil, err
	}
	for k, data := range s.at(c.stamp) {
		if data == nil {
			delete(content, k)
		} else {
			content[k] = data
		}
	}
	return content, nil
}

// at returns the content of every object touched since stamp as it was then;
// nil for those that were not there.
func (s *state) at(stamp crdt.Stamp) map[routetable.ID][]byte {
	then := map[routetable.ID][]byte{}
	decided := map[routetable.ID]bool{}
	for _, c := range s.history {
		for _, w := range c.writes {
			if c.stamp.Compare(stamp) <= 0 {
				then[w.ID] = w.data
			} else if _, known := then[w.ID]; !known && !decided[w.ID] {
				then[w.ID] = w.before
			}
			decided[w.ID] = true
		}
	}
	return then
}

// resolve finds the changeset that version names: VERSION@NODE, or VERSION
// where all that wrote it wrote the same.
func (s *state) resolve(version crdt.Stamp) (*changeset, error) {
	var found *changeset
	for _, c := range s.history {
		if c.stamp.Version != version.Version || version.Node != "" && c.stamp.Node != version.Node {
			continue
		}
		if found != nil && !found.sameWrites(c) {
			return nil, ErrAmbiguousVersion
		}
		found = c
	}
	if found == nil {
		return nil, ErrUnknownVersion
	}
	return found, nil
}

// sameWrites reports whether c and o wrote the same, as nodes do that apply the
// same file at the same time.
func (c *changeset) sameWrites(o *changeset) bool {
	return slices.EqualFunc(c.writes, o.writes, func(a, b write) bool {
		return a.ID == b.ID && a.deleted() == b.deleted() && string(a.data) == string(b.data)
	})
}
