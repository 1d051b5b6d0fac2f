package replica

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
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

// History returns the last changesets, the newest first.
func (s *Store) History() []Revision {
	history := s.snapshotState().history
	out := make([]Revision, 0, len(history))
	for _, c := range slices.Backward(history) {
		out = append(out, c.revision())
	}
	return out
}

// Conflicts returns the conflicts among the changesets of the history.
func (s *Store) Conflicts() []Conflict { return s.snapshotState().conflicts() }

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

// Digest says what has been seen of each node's changesets, and a sum of all.
func (s *Store) Digest() []byte {
	return s.snapshotState().digest
}

// Delta returns what is held here and missing at the owner of digest; see
// gossip.State.
func (s *Store) Delta(theirs []byte) ([]byte, error) {
	st := s.snapshotState()
	if theirs == nil {
		if len(st.seen) == 0 && len(st.entries) == 0 {
			return nil, nil
		}
		return st.appendWhole(messageHeader()), nil
	}
	d, err := readDigest(theirs)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(theirs, st.digest) {
		return nil, nil
	}
	lacking := false
	for node, version := range st.seen {
		lacking = lacking || d.seen[node] < version
	}
	switch {
	case d.floor.Less(st.floor):
		return st.appendWhole(messageHeader()), nil // objects may have to go there
	case lacking:
		return st.retold.to(theirs, func() []byte {
			wanted := func(stamp crdt.Stamp) bool { return d.seen[stamp.Node] < stamp.Version }
			return st.appendPart(messageHeader(), wanted, d.seen, false)
		}), nil
	case maps.Equal(d.seen, st.seen):
		// Same changesets, other content: a node lost its disk and wrote again.
		return st.appendWhole(messageHeader()), nil
	}
	return nil, nil // they are ahead
}

// Changes returns the changesets that became news here; see gossip.State.
func (s *Store) Changes(limit int) (data []byte, oversized bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oversized, s.unsent = s.unsent, false
	header := messageHeader()
	b := slices.Clip(header)
	for len(s.news) > 0 {
		size := protowire.SizeTag(2) + protowire.SizeBytes(len(s.news[0].raw))
		if len(header)+size > limit {
			oversized = true // it can only be fetched
		} else if len(b)+size > limit {
			break
		} else {
			b = appendMessage(b, 2, s.news[0].raw)
		}
		s.news = s.news[1:]
	}
	if len(b) == len(header) {
		return nil, oversized
	}
	return b, oversized
}

// Merge joins a Delta or Changes of another node; see gossip.State. What is
// refused is refused whole, with a *WireError.
func (s *Store) Merge(data []byte) error {
	s.merging.Lock()
	defer s.merging.Unlock()
	m, err := s.snapshotState().reader().message(data)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := uint64(maxFirst) - 1
	if newest := s.state.newest().Version; newest > 0 {
		limit = newest + maxJump
	}
	if newest := m.newest(); newest > limit {
		return refuse("too_far_ahead", "version %d, at most %d is believed", newest, limit)
	}
	return s.merge(m, 2)
}

// merge joins m, unless that leads to more than times what a table may have. The
// caller holds mu.
func (s *Store) merge(m message, times int) error {
	next, changed := s.state.clone(), false
	var news []*changeset
	var lost []*entry
	partly := false
	if p := m.part; p != nil && next.coversAll(p.base) {
		known := s.state.history
		changed, lost = next.join(p.state, p.whole)
		for _, c := range next.history {
			if _, old := slices.BinarySearchFunc(known, c, (*changeset).compare); !old {
				news = append(news, c)
			}
		}
		partly = changed && len(news) == 0
	}
	for _, c := range m.changesets {
		switch {
		case next.waiting[c.stamp] != nil:
		case next.coversAll(c.after):
			if next.apply(c) {
				news, changed = append(news, c), true
			}
		case next.mayWait(c):
			next.waiting[c.stamp] = c
			news, changed = append(news, c), true
		}
	}
	if !next.release() && !changed {
		return nil
	}
	if err := next.bounded(times); err != nil {
		return err
	}
	s.lost = append(s.lost, lost...)
	s.unsent = s.unsent || partly
	s.tell(news)
	s.publish(next.seal(), nil)
	return nil
}

// tell queues changesets for Changes. What is too much is for peers to fetch.
func (s *Store) tell(news []*changeset) {
	s.news = append(s.news, news...)
	if n := len(s.news) - maxNews; n > 0 {
		s.news, s.unsent = slices.Clone(s.news[n:]), true
	}
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
	slices.SortFunc(c.writes, func(a, b write) int { return a.ID.Compare(b.ID) })
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
