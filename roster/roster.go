package roster

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meshgw/meshgw/crdt"
)

// A Roster has the latest report of every node. It is safe for concurrent use.
type Roster struct {
	// Arrived is called when a node, or a new start of one, has been heard of for
	// the first time; nil = nobody is. It is set before the roster is used.
	Arrived func()

	self        string
	incarnation uint32
	words       *crdt.Map

	name  atomic.Pointer[string] // what this node last called itself
	nodes atomic.Pointer[[]Node]
	mu    sync.Mutex        // guards the making of nodes, and the rest
	met   map[string]uint32 // incarnations by id
}

// New returns an empty roster for the node with the given id.
func New(self string, incarnation uint32) *Roster {
	bounds := crdt.Bounds{Entries: 4096, Graves: 10_000, Key: 64, Value: 4096}
	return &Roster{
		self:        self,
		incarnation: incarnation,
		met:         map[string]uint32{},
		words: crdt.NewMap(bounds, func(id string, value []byte) error {
			_, err := decode(id, value)
			return err
		}),
	}
}

// Tell replaces the report of this node; its ID and Incarnation are those given
// to New. It reports whether anything has changed. Since a name has one live
// holder, reports of another identity under this node's name are dropped, now
// and whenever they turn up: they are of this node before it lost its disk.
func (r *Roster) Tell(n Node) (news bool) {
	n.ID, n.Incarnation = r.self, r.incarnation
	if old := r.name.Swap(&n.Name); old == nil || *old != n.Name {
		for id := range r.words.All() {
			r.disown(id)
		}
	}
	// The incarnation is the upper half of the version, so that a restart
	// outbids everything said before it.
	news = r.words.Put(r.self, uint64(r.incarnation)<<32, encode(n))
	if news {
		r.refresh()
	}
	return news
}

// Told reports whether the report of this node still stands. It does not if
// another node has removed it, believing this one gone.
func (r *Roster) Told() bool {
	_, told := r.words.Get(r.self)
	return told
}

// disown forgets id if it is another identity that used this node's name.
func (r *Roster) disown(id string) {
	name := r.name.Load()
	if name == nil || id == r.self {
		return
	}
	if value, ok := r.words.Get(id); ok {
		if n, err := decode(id, value); err == nil && n.Name == *name {
			r.words.Forget(id)
		}
	}
}

// Forget removes the node with the given id from all rosters, until it reports
// again.
func (r *Roster) Forget(id string) {
	r.words.Forget(id)
	r.mu.Lock()
	delete(r.met, id)
	r.mu.Unlock()
	r.refresh()
}

// meet reports whether what is told of id is the first of its incarnation.
func (r *Roster) meet(id string) bool {
	value, ok := r.words.Get(id)
	if !ok {
		return false
	}
	n, err := decode(id, value)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.met[id]
	r.met[id] = n.Incarnation
	return !known || last != n.Incarnation
}

// refresh has Nodes made anew. The lock keeps a Nodes under way from storing what
// it read before the change.
func (r *Roster) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes.Store(nil)
}

// Nodes returns all nodes, ordered by name, then by id. The slice is shared and
// must not be written to.
func (r *Roster) Nodes() []Node {
	if nodes := r.nodes.Load(); nodes != nil {
		return *nodes
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	nodes := []Node{}
	for id, value := range r.words.All() {
		if n, err := decode(id, value); err == nil {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	r.nodes.Store(&nodes)
	return nodes
}

// ByName returns the node called name. If there are several, which takes a
// cloned data directory or a replaced machine, it is the one that started last.
func (r *Roster) ByName(name string) (found Node, ok bool) {
	for _, n := range r.Nodes() {
		if n.Name == name && (!ok || n.StartedAt > found.StartedAt) {
			found, ok = n, true
		}
	}
	return found, ok
}

// Digest implements gossip.State.
func (r *Roster) Digest() []byte { return r.words.Digest() }

// Delta implements gossip.State.
func (r *Roster) Delta(digest []byte) ([]byte, error) { return r.words.Delta(digest) }

// Changes implements gossip.State.
func (r *Roster) Changes(limit int) (data []byte, oversized bool) { return r.words.Changes(limit) }

// Merge implements gossip.State.
func (r *Roster) Merge(data []byte) error {
	changed, err := r.words.Merge(data)
	arrived := false
	for _, id := range changed {
		r.disown(id)
		arrived = r.meet(id) || arrived
	}
	if len(changed) > 0 {
		r.refresh()
	}
	if arrived && r.Arrived != nil {
		r.Arrived()
	}
	return err
}
