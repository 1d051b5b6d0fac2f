package routetable

import "github.com/meshgw/meshgw/crdt"

// SpecAt returns all objects as they were at version, that of a changeset in the
// history; see Show for stamps without a node.
func (s *Store) SpecAt(version crdt.Stamp) (*Spec, error) {
	st := s.snapshotState()
	c, err := st.resolve(version)
	if err != nil {
		return nil, err
	}
	then := st.at(c.stamp)
	spec := new(Spec)
	for _, e := range st.sorted() {
		data := e.data
		if old, touched := then[e.key]; touched {
			data = old
		}
		if data == nil {
			continue
		}
		if o, err := decodeObject(e.kind, data); err == nil { // what this version cannot read is in Held
			spec.add(o)
		}
	}
	return spec, nil
}
