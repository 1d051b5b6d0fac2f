package replica

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"github.com/meshgw/meshgw/routetable"
)

// Errors of a Store.
var (
	// ErrStale means that the table changed since an edit was prepared, or is
	// not the one that the edit was made for.
	ErrStale = errors.New("the table has changed meanwhile")

	// ErrUnknownVersion means that a version is not in the history.
	ErrUnknownVersion = errors.New("no such version in the history")

	// ErrAmbiguousVersion means that a bare version names several changesets.
	ErrAmbiguousVersion = errors.New("several nodes wrote that version: name it VERSION@NODE")
)

// Store is one node's copy of the replicated route table; it satisfies
// gossip.State. Each object is owned by the newest stamp that wrote it,
// deletions leave tombstones, and a changeset becomes visible whole, once all
// that its author had seen is here. All methods may be called from several
// goroutines at once. A Store does no I/O: the caller keeps snapshots.
type Store struct {
	node    string
	current atomic.Pointer[routetable.Table]

	merging sync.Mutex // held by Merge, so that what several peers send at once is read once

	mu      sync.Mutex // guards the rest
	state   *state     // replaced, never written to
	news    []*changeset
	unsent  bool // something changed that news cannot tell
	lost    []*entry
	changed chan struct{} // closed at the next change
}

// NewStore returns an empty store of the node of that name.
func NewStore(node string) *Store {
	s := &Store{node: node, changed: make(chan struct{})}
	s.current.Store(new(routetable.Table))
	s.publish(newState().seal(), nil)
	return s
}

// Table returns the table to serve; never nil.
func (s *Store) Table() *routetable.Table { return s.current.Load() }

// Changed returns a channel that is closed at the next change of anything that
// the store holds.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// publish makes next the state. The caller holds mu. A nil table is compiled.
func (s *Store) publish(next *state, table *routetable.Table) {
	if table == nil {
		table = next.table(s.Table())
	}
	s.state = next
	s.current.Store(table)
	close(s.changed)
	s.changed = make(chan struct{})
}

// snapshotState returns the present state, to read only.
func (s *Store) snapshotState() *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Spec returns a copy of all objects that this version can read, sorted by name.
func (s *Store) Spec() *routetable.Spec {
	spec := new(routetable.Spec)
	var objects objectReader
	for _, e := range s.snapshotState().order {
		if e.object == nil {
			continue
		}
		if o, err := objects.read(e.Kind, e.data); err == nil { // a copy that the caller may change
			spec.Add(o)
		}
	}
	return spec
}

// Snapshot returns all that is held, for Restore.
func (s *Store) Snapshot() []byte { return s.snapshotState().snapshot() }

// Restore joins what Snapshot gave. Damaged or foreign bytes are refused whole,
// with a *WireError.
func (s *Store) Restore(snapshot []byte) error {
	m, err := readSnapshot(snapshot)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.merge(m, math.MaxInt/maxTableBytes) // it was bounded when it was taken
	s.news, s.unsent = nil, false             // what was on disk was told before
	return nil
}
