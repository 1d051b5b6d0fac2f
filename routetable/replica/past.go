package replica

import (
	"maps"
	"slices"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

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
