package replica

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/routetable"
)

func appendEntry(b []byte, num protowire.Number, e *entry) []byte {
	body := appendText(make([]byte, 0, 512), 1, e.Kind)
	body = appendText(body, 2, e.Name)
	body = appendStamp(body, 3, e.stamp)
	body = appendStamp(body, 4, e.replaced)
	body = appendText(body, 5, e.source)
	if !e.deleted() {
		body = appendMessage(body, 6, e.data)
	}
	return appendMessage(b, num, append(body, e.unknown...))
}

// reader reads what other nodes send. What is here already is recognised and not
// read again: peers send the same at the same time.
type reader struct {
	known   *state
	objects *objectReader
}

func (s *state) reader() reader { return reader{s, new(objectReader)} }

func (r reader) entry(data []byte) (*entry, error) {
	e := new(entry)
	var object []byte
	err := walk(data, func(num protowire.Number, value []byte, _ uint64, raw []byte) error {
		switch num {
		case 1:
			return readText(&e.Kind, value, routetable.MaxName)
		case 2:
			return readText(&e.Name, value, routetable.MaxName)
		case 3:
			return readStamp(&e.stamp, value)
		case 4:
			return readStamp(&e.replaced, value)
		case 5:
			return readText(&e.source, value, maxNote)
		case 6:
			object = value
			return nil
		}
		e.unknown = append(e.unknown, raw...)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case e.Kind == "" || !routetable.IsName(e.Name) || e.stamp.IsZero() || len(e.unknown) > maxObject:
		return nil, refuse("invalid", "object %q", e.ID)
	}
	if old := r.known.entries[e.ID]; old != nil && old.says(e, object) {
		return old, nil
	}
	if object != nil {
		if e.data, err = readObject(object); err != nil {
			return nil, err
		}
	}
	if e.ready(r.objects); e.fault != "" && !json.Valid(e.data) {
		return nil, refuse("invalid", "object is not JSON")
	}
	return e, nil
}

// readObject returns a copy of an object's text.
func readObject(value []byte) ([]byte, error) {
	switch {
	case len(value) > maxObject:
		return nil, refuse("too_big", "object of %d bytes", len(value))
	case !utf8.Valid(value):
		return nil, refuse("utf8", "in an object")
	}
	return bytes.Clone(value), nil
}

// encode sets raw and sum.
func (c *changeset) encode() {
	size := 1024
	for _, w := range c.writes {
		size += len(w.Kind) + len(w.Name) + len(w.source) + len(w.data) + len(w.before) + 2*len(c.stamp.Node) + 64 // at most, as a rule
	}
	b := appendStamp(make([]byte, 0, size), 1, c.stamp)
	b = appendSeen(b, 2, c.after)
	b = appendText(b, 3, c.author)
	b = appendText(b, 4, c.message)
	if !c.at.IsZero() {
		b = appendNumber(b, 5, uint64(c.at.UnixNano()))
	}
	b = appendText(b, 6, c.rollback)
	for _, w := range c.writes {
		body := appendEntry(make([]byte, 0, 512), 1, w.entry)
		if w.before != nil {
			body = appendMessage(body, 2, w.before)
		}
		b = appendMessage(b, 7, body)
	}
	c.raw, c.sum = b, sha256.Sum256(b)
}

func (r reader) changeset(data []byte) (*changeset, error) {
	sum := sha256.Sum256(data)
	if i := slices.IndexFunc(r.known.history, func(c *changeset) bool { return c.sum == sum }); i >= 0 {
		return r.known.history[i], nil
	}
	c := &changeset{
		after: map[string]uint64{}, raw: bytes.Clone(data), sum: sum,
		writes: make([]write, 0, min(count(data, 7), maxObjects)),
	}
	err := walk(data, func(num protowire.Number, value []byte, n uint64, _ []byte) error {
		switch num {
		case 1:
			return readStamp(&c.stamp, value)
		case 2:
			return readSeen(c.after, value)
		case 3:
			return readText(&c.author, value, maxNote)
		case 4:
			return readText(&c.message, value, maxNote)
		case 5:
			c.at = time.Unix(0, int64(n)).UTC()
		case 6:
			return readText(&c.rollback, value, maxNote)
		case 7:
			w, err := r.write(value)
			c.writes = append(c.writes, w)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, c.check()
}

// check refuses a changeset that no author could have made.
func (c *changeset) check() error {
	if c.stamp.IsZero() || len(c.writes) == 0 || len(c.writes) > maxObjects {
		return refuse("invalid", "changeset %s of %d writes", c.stamp, len(c.writes))
	}
	for _, version := range c.after {
		if version >= c.stamp.Version {
			return refuse("invalid", "changeset %s after version %d", c.stamp, version)
		}
	}
	for i, w := range c.writes {
		if w.stamp != c.stamp || !w.replaced.Less(w.stamp) {
			return refuse("invalid", "changeset %s writes %s as %s", c.stamp, w.ID, w.stamp)
		}
		if i > 0 && c.writes[i-1].Compare(w.ID) >= 0 {
			return refuse("invalid", "changeset %s writes %s out of order", c.stamp, w.ID)
		}
	}
	return nil
}

func (r reader) write(data []byte) (w write, err error) {
	err = walk(data, func(num protowire.Number, value []byte, _ uint64, _ []byte) (err error) {
		switch num {
		case 1:
			w.entry, err = r.entry(value)
		case 2:
			w.before, err = r.before(w.entry, value)
		}
		return err
	})
	if err == nil && w.entry == nil {
		err = refuse("invalid", "write of nothing")
	}
	return w, err
}

// before reads what a write replaced: what is here, most likely.
func (r reader) before(e *entry, data []byte) ([]byte, error) {
	if e != nil {
		if old := r.known.entries[e.ID]; old != nil && !old.deleted() && bytes.Equal(old.data, data) {
			return old.data, nil
		}
	}
	if !json.Valid(data) {
		return nil, refuse("invalid", "object is not JSON")
	}
	return readObject(data)
}
