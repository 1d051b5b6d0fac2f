package replica

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
)

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
	slices.SortFunc(p.order, func(a, b *entry) int { return a.Compare(b.ID) })
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
