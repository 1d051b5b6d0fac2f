package replica

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
)

// The wire format: protobuf messages without a schema file, so that a newer
// version can add fields. The numbers below never change.
//
//	message  1 format  2 changeset*  3 state
//	state    1 entry*  2 seen*  3 floor  4 changeset*  5 base*  6 whole  7 current*
//	entry    1 kind  2 name  3 stamp  4 replaced  5 source  6 data (absent = deleted)
//	stamp    1 version  2 node        (seen and base are stamps too)
//	changeset 1 stamp  2 after*  3 author  4 message  5 at (ns since 1970)  6 rollback  7 write*
//	write    1 entry  2 before
//	current  packed numbers of those writes of the changeset before it that are entries too
//	digest   1 format  2 seen*  3 sum  4 floor
const wireFormat = 1

// Bounds of what is read from the wire.
const (
	maxWire     = 256 << 20 // bytes of a whole message
	maxObject   = 256 << 10 // bytes of one object
	maxNote     = 4 << 10   // bytes of an author, message or source
	maxJump     = 1 << 32   // versions ahead of the newest seen
	maxFirst    = 1 << 48   // versions, for a node that has seen none
	maxWaiting  = 256       // changesets whose predecessors are missing,
	maxHolding  = 32 << 20  // and their bytes
	maxNews     = 256       // changesets to pass on
	shortSum    = 16        // bytes of a digest's sum
	maxNodeName = 256
)

// WireError says why bytes of another node or of a snapshot were refused whole.
// Reason is one of a few words, fit for a metric's label.
type WireError struct {
	Reason string // truncated, utf8, too_big, too_far_ahead, format, checksum, invalid
	Detail string
}

// Kind is Reason, as gossip asks for it.
func (e *WireError) Kind() string { return e.Reason }

// Error returns reason and detail.
func (e *WireError) Error() string {
	return "route table message refused: " + e.Reason + ": " + e.Detail
}

var errUnknownKind = errors.New("unknown kind of object")

func refuse(reason, format string, args ...any) error {
	return &WireError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// walk calls field for every field of a message. Only the values of the two
// wire types in use are read; others are for newer versions and skipped.
func walk(data []byte, field func(num protowire.Number, value []byte, n uint64, raw []byte) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return refuse("truncated", "%v", protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(num, typ, data[n:])
		if size < 0 {
			return refuse("truncated", "%v", protowire.ParseError(size))
		}
		raw := data[:n+size]
		var value []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			value, _ = protowire.ConsumeBytes(data[n:])
		case protowire.VarintType:
			number, _ = protowire.ConsumeVarint(data[n:])
		}
		if err := field(num, value, number, raw); err != nil {
			return err
		}
		data = data[n+size:]
	}
	return nil
}

// count counts the fields of that number, as far as data can be read.
func count(data []byte, field protowire.Number) (n int) {
	_ = walk(data, func(num protowire.Number, _ []byte, _ uint64, _ []byte) error {
		if num == field {
			n++
		}
		return nil
	})
	return n
}

func readText(dst *string, value []byte, limit int) error {
	if len(value) > limit {
		return refuse("too_big", "text of %d bytes", len(value))
	}
	if !utf8.Valid(value) {
		return refuse("utf8", "%q", value)
	}
	*dst = string(value)
	return nil
}

func appendMessage(b []byte, num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), body)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendNumber(b []byte, num protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), n)
}

func appendStamp(b []byte, num protowire.Number, s crdt.Stamp) []byte {
	if s.IsZero() {
		return b
	}
	body := make([]byte, 0, 64) // as a rule it stays on the stack, here and below
	return appendMessage(b, num, appendText(appendNumber(body, 1, s.Version), 2, s.Node))
}

func readStamp(s *crdt.Stamp, data []byte) error {
	err := walk(data, func(num protowire.Number, value []byte, n uint64, _ []byte) error {
		switch num {
		case 1:
			s.Version = n
		case 2:
			return readText(&s.Node, value, maxNodeName)
		}
		return nil
	})
	if err == nil && (s.Version == 0 || s.Node == "") {
		err = refuse("invalid", "stamp %s", s)
	}
	return err
}

func appendSeen(b []byte, num protowire.Number, seen map[string]uint64) []byte {
	for _, node := range slices.Sorted(maps.Keys(seen)) {
		b = appendStamp(b, num, crdt.Stamp{Version: seen[node], Node: node})
	}
	return b
}

func readSeen(seen map[string]uint64, data []byte) error {
	var s crdt.Stamp
	if err := readStamp(&s, data); err != nil {
		return err
	}
	if seen[s.Node] = max(seen[s.Node], s.Version); len(seen) > maxAuthors {
		return refuse("too_big", "more than %d authors", maxAuthors)
	}
	return nil
}

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

// says reports whether e is what o, with data, says.
func (e *entry) says(o *entry, data []byte) bool {
	return e.stamp == o.stamp && e.replaced == o.replaced && e.source == o.source &&
		e.deleted() == (data == nil) && bytes.Equal(e.data, data) && bytes.Equal(e.unknown, o.unknown)
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
		if i > 0 && c.writes[i-1].ID.Compare(w.ID) >= 0 {
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

// part is a state on the wire: all of it, or what a peer that has seen base
// lacks. Its entries are in order alone.
type part struct {
	*state
	base  map[string]uint64
	whole bool
}

func (s *state) appendWhole(b []byte) []byte {
	return s.appendPart(b, func(crdt.Stamp) bool { return true }, nil, true)
}

func (s *state) appendPart(b []byte, wanted func(crdt.Stamp) bool, base map[string]uint64, whole bool) []byte {
	size := 0
	for _, c := range s.history {
		size += len(c.raw) + 3*len(c.writes)
	}
	start := len(b)
	b = slices.Grow(b, size+1024)
	told := make([]bool, len(s.order)) // by a changeset: most of a young table is
	for _, c := range s.history {
		if !wanted(c.stamp) {
			continue
		}
		b = appendMessage(b, 4, c.raw)
		var current []byte
		for i, w := range c.writes {
			if at, found := s.find(w.ID); found && s.order[at] == w.entry {
				current = protowire.AppendVarint(current, uint64(i))
				told[at] = true
			}
		}
		if current != nil {
			b = appendMessage(b, 7, current)
		}
	}
	for i, e := range s.order {
		if wanted(e.stamp) && !told[i] {
			b = appendEntry(b, 1, e)
		}
	}
	b = appendSeen(b, 2, s.seen)
	if whole {
		b = appendStamp(b, 3, s.floor)
	}
	b = appendSeen(b, 5, base)
	if whole {
		b = appendNumber(b, 6, 1)
	}
	head := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.BytesType), uint64(len(b)-start))
	return slices.Insert(b, start, head...) // in place: a whole table is not copied
}

func (r reader) part(data []byte) (*part, error) {
	p := &part{state: newState(), base: map[string]uint64{}}
	last := new(changeset)
	err := walk(data, func(num protowire.Number, value []byte, n uint64, _ []byte) error {
		switch num {
		case 1:
			e, err := r.entry(value)
			if err != nil {
				return err
			}
			return p.add(e)
		case 2:
			return readSeen(p.seen, value)
		case 3:
			return readStamp(&p.floor, value)
		case 4:
			c, err := r.changeset(value)
			if err != nil {
				return err
			}
			last = c
			p.remember(c)
		case 5:
			return readSeen(p.base, value)
		case 6:
			p.whole = n == 1
		case 7:
			return p.addCurrent(last, value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, p.sort()
}

func (p *part) add(e *entry) error {
	if len(p.order) == 2*maxObjects {
		return refuse("invalid", "more than %d objects", 2*maxObjects)
	}
	p.order = append(p.order, e)
	return nil
}

// sort brings the entries into their order, in which they are nearly, and refuses
// an object that is there twice.
func (p *part) sort() error {
	slices.SortFunc(p.order, func(a, b *entry) int { return a.ID.Compare(b.ID) })
	for i, e := range p.order {
		if i > 0 && p.order[i-1].ID == e.ID {
			return refuse("invalid", "object %s twice", e.ID)
		}
	}
	return nil
}

// addCurrent adds the writes of c that have these numbers.
func (p *part) addCurrent(c *changeset, numbers []byte) error {
	p.order = slices.Grow(p.order, min(len(c.writes), len(numbers)))
	for len(numbers) > 0 {
		i, n := protowire.ConsumeVarint(numbers)
		if n < 0 || i >= uint64(len(c.writes)) {
			return refuse("invalid", "no such write of changeset %s", c.stamp)
		}
		if err := p.add(c.writes[i].entry); err != nil {
			return err
		}
		numbers = numbers[n:]
	}
	return nil
}

// message is what Merge takes.
type message struct {
	changesets []*changeset
	part       *part
}

func messageHeader() []byte { return appendNumber(nil, 1, wireFormat) }

func (r reader) message(data []byte) (m message, err error) {
	if len(data) > maxWire {
		return m, refuse("too_big", "%d bytes", len(data))
	}
	format := uint64(0)
	err = walk(data, func(num protowire.Number, value []byte, n uint64, _ []byte) (err error) {
		switch num {
		case 1:
			format = n
		case 2:
			var c *changeset
			c, err = r.changeset(value)
			m.changesets = append(m.changesets, c)
		case 3:
			m.part, err = r.part(value)
		}
		return err
	})
	if err == nil && format != wireFormat {
		err = refuse("format", "%d, this version reads %d", format, wireFormat)
	}
	return m, err
}

// newest is the highest version anywhere in m.
func (m *message) newest() (newest uint64) {
	for _, c := range m.changesets {
		newest = max(newest, c.stamp.Version)
	}
	if m.part == nil {
		return newest
	}
	newest = max(newest, m.part.floor.Version)
	for _, e := range m.part.order {
		newest = max(newest, e.stamp.Version)
	}
	for _, c := range m.part.history {
		newest = max(newest, c.stamp.Version)
	}
	for _, version := range m.part.seen {
		newest = max(newest, version)
	}
	return newest
}

type digest struct {
	seen  map[string]uint64
	sum   []byte
	floor crdt.Stamp
}

func (s *state) encodeDigest() []byte {
	sum := s.sum()
	b := appendSeen(messageHeader(), 2, s.seen)
	b = appendMessage(b, 3, sum[:shortSum])
	return appendStamp(b, 4, s.floor)
}

func readDigest(data []byte) (digest, error) {
	d := digest{seen: map[string]uint64{}}
	format := uint64(0)
	err := walk(data, func(num protowire.Number, value []byte, n uint64, _ []byte) error {
		switch num {
		case 1:
			format = n
		case 2:
			return readSeen(d.seen, value)
		case 3:
			d.sum = value
		case 4:
			return readStamp(&d.floor, value)
		}
		return nil
	})
	if err == nil && (format != wireFormat || len(d.sum) != shortSum) {
		err = refuse("format", "digest of format %d", format)
	}
	return d, err
}

// snapshotMagic begins every snapshot; its last byte is the format.
const snapshotMagic = "meshgw routes\x00\x01"

// snapshot writes s for Restore.
func (s *state) snapshot() []byte {
	b := s.appendWhole(append([]byte(snapshotMagic), messageHeader()...))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func readSnapshot(data []byte) (message, error) {
	body, ok := bytes.CutPrefix(data, []byte(snapshotMagic))
	if !ok || len(body) < sha256.Size {
		return message{}, refuse("format", "not a snapshot of this version")
	}
	end := len(data) - sha256.Size
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return message{}, refuse("checksum", "the snapshot is damaged")
	}
	m, err := newState().reader().message(body[:len(body)-sha256.Size])
	if err == nil && m.part == nil {
		err = refuse("invalid", "the snapshot holds no state")
	}
	return m, err
}
