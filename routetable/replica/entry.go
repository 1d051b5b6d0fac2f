package replica

import (
	"bytes"
	"cmp"
	"crypto/sha256"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// entry is the newest write of one object. It never changes.
type entry struct {
	routetable.ID
	stamp    crdt.Stamp // of the changeset that wrote it
	replaced crdt.Stamp // of the entry that its writer saw; zero for none
	source   string     // the file that owns the object; empty for none
	data     []byte     // the object as canonical JSON; nil for a tombstone
	unknown  []byte     // fields of a newer version, passed on as they came

	object routetable.Object // nil where this version cannot read data
	fault  string            // why the object is held back; empty where it is sound
	sum    [sha256.Size]byte
}

func (e *entry) deleted() bool { return e.data == nil }

// newer reports whether e wins over o, on every node alike. Equal stamps with
// different content come only from a node that lost its disk; there the sum
// decides.
func (e *entry) newer(o *entry) bool {
	return cmp.Or(e.stamp.Compare(o.stamp), bytes.Compare(e.sum[:], o.sum[:])) > 0
}

// says reports whether e is what o, with data, says.
func (e *entry) says(o *entry, data []byte) bool {
	return e.stamp == o.stamp && e.replaced == o.replaced && e.source == o.source &&
		e.deleted() == (data == nil) && bytes.Equal(e.data, data) && bytes.Equal(e.unknown, o.unknown)
}

// ready decodes and checks the object, once.
func (e *entry) ready(objects *objectReader) {
	content := routetable.AppendContent(make([]byte, 0, 512), e.Kind, e.Name, e.data)
	content = routetable.AppendContent(content, e.source, e.replaced.String(), e.unknown)
	if e.deleted() {
		content = append(content, 1)
	}
	e.sum = sha256.Sum256(content)
	if e.deleted() {
		return
	}
	object, err := objects.read(e.Kind, e.data)
	switch {
	case err != nil:
		e.fault = "this version cannot read it: " + err.Error()
	case object.ID().Name != e.Name:
		e.fault = "it names itself " + object.ID().Name
	default:
		e.object = object
		if errs := routetable.ValidateObject(object).Errors(); len(errs) > 0 {
			e.fault = errs[0].Error()
		}
	}
}
