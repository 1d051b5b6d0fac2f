package replica

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// Held is something that is here and not served.
type Held struct {
	Object string     `json:"object,omitempty"` // kind/name; empty for a whole changeset
	Stamp  crdt.Stamp `json:"-"`
	Reason string     `json:"reason"`

	// Foreign says that it is here that the object is no good: another version of
	// the program, most likely a newer one, took it.
	Foreign bool `json:"-"`
}

// Held returns the objects that cannot be served and the changesets that wait
// for others, with the reasons, sorted.
func (s *Store) Held() []Held {
	st, table := func() (*state, *routetable.Table) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.state, s.current.Load()
	}()
	var out []Held
	for _, e := range st.order {
		if e.fault != "" {
			out = append(out, Held{Object: e.String(), Stamp: e.stamp, Reason: e.fault, Foreign: true})
		}
	}
	for _, r := range table.Rules() {
		if r.Broken != "" {
			out = append(out, Held{Object: r.Spec.ID().String(), Stamp: r.Stamp, Reason: r.Broken})
		}
	}
	for _, stamp := range slices.SortedFunc(maps.Keys(st.waiting), crdt.Stamp.Compare) {
		out = append(out, Held{Stamp: stamp, Reason: "changeset " + stamp.String() + " waits for earlier ones that have not arrived"})
	}
	return out
}

// Lost is an object that a merge dropped because it was deleted elsewhere so long ago
// that its tombstone is gone.
type Lost struct {
	Kind, Name string
	Stamp      crdt.Stamp
	Data       json.RawMessage
}

// TakeLost returns the objects lost since the last call, for the caller to set
// aside.
func (s *Store) TakeLost() []Lost {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Lost
	for _, e := range s.lost {
		out = append(out, Lost{e.Kind, e.Name, e.stamp, e.data})
	}
	s.lost = nil
	return out
}
