package replica

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// changeset is what one apply wrote. It never changes.
type changeset struct {
	stamp    crdt.Stamp
	after    map[string]uint64 // what its author had seen, by node
	author   string
	message  string
	at       time.Time // the author's wall clock; decides nothing
	rollback string    // the version it goes back to; empty for none
	writes   []write
	raw      []byte // as encoded by its author, passed on as it came
	sum      [sha256.Size]byte
}

// write is one entry of a changeset and the content that it replaced.
type write struct {
	*entry
	before []byte // nil where there was none
}

// compare orders changesets by stamp.
func (c *changeset) compare(o *changeset) int {
	return cmp.Or(c.stamp.Compare(o.stamp), bytes.Compare(c.sum[:], o.sum[:]))
}

// Change is what became of one object.
type Change struct {
	Kind     string          `json:"kind"`
	Name     string          `json:"name"`
	Action   string          `json:"action"`           // added, changed, deleted
	Before   json.RawMessage `json:"before,omitempty"` // absent for added
	After    json.RawMessage `json:"after,omitempty"`  // absent for deleted
	Replaced crdt.Stamp      `json:"-"`                // the write that it replaced; zero for none
}

// Revision is one changeset of the history.
type Revision struct {
	Stamp    crdt.Stamp
	Author   string
	Message  string
	At       time.Time // by the clock of the node that wrote it
	Rollback string    // the version it went back to; empty for none
	Changes  []Change  // sorted by kind and name
}

func (c *changeset) revision() Revision {
	r := Revision{
		Stamp: c.stamp, Author: c.author, Message: c.message, At: c.at, Rollback: c.rollback,
		Changes: make([]Change, 0, len(c.writes)),
	}
	for _, w := range c.writes {
		r.Changes = append(r.Changes, w.change())
	}
	return r
}

func (w *write) change() Change {
	return change(w.ID, w.before, w.data, w.replaced)
}

func change(k routetable.ID, before, after []byte, replaced crdt.Stamp) Change {
	c := Change{Kind: k.Kind, Name: k.Name, Action: "changed", Before: before, After: after, Replaced: replaced}
	switch {
	case after == nil:
		c.Action = "deleted"
	case before == nil:
		c.Action = "added"
	}
	return c
}
