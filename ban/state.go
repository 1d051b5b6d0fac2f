package ban

import (
	"bytes"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
)

// Messages are those of crdt, with one field more: how long each living entry has
// left, in milliseconds, in the order of the entries. It is no part of what is
// compared, for it is another with each look. On disk there is also when that was.
const (
	fieldLeft  = 2 // packed
	fieldSaved = 3 // ms since 1970
)

// Versions are believed up to maxFirst, and so much after the newest known, so
// that nobody can use them up.
const (
	maxFirst = 1 << 48
	maxJump  = 1 << 32
)

// Digest implements gossip.State.
func (l *List) Digest() []byte { return l.bans.Digest() }

// Delta is that of gossip.State, at now.
func (l *List) Delta(now time.Time, digest []byte) ([]byte, error) {
	data, err := l.bans.Delta(digest)
	return l.withLeft(now, data), err
}

// Changes is that of gossip.State, at now.
func (l *List) Changes(now time.Time, limit int) (data []byte, oversized bool) {
	data, oversized = l.bans.Changes(limit * 4 / 5) // an entry takes 20 bytes or more, what it has left 5 at most
	return l.withLeft(now, data), oversized
}

// withLeft adds what the entries of data have left.
func (l *List) withLeft(now time.Time, data []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var left []byte
	for e, err := range crdt.Entries(data) {
		if err == nil && !e.Gone { // our own is well-formed
			ms := max(0, l.ends[e.Key].Sub(now).Milliseconds())
			left = protowire.AppendVarint(left, uint64(ms))
		}
	}
	if left == nil {
		return data
	}
	return protowire.AppendBytes(protowire.AppendTag(data, fieldLeft, protowire.BytesType), left)
}

// Merge is that of gossip.State, at now. Of several reports on one ban, the one
// that ends soonest counts, since a report that was delayed overstates the
// remaining time.
func (l *List) Merge(now time.Time, data []byte) error {
	m, err := parse(data)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.newest > max(maxFirst, l.clock+maxJump) {
		return fmt.Errorf("version %d after %d: %w", m.newest, l.clock, crdt.ErrTooFarAhead)
	}
	changed, err := l.bans.Merge(data)
	if err != nil {
		return err
	}
	for _, key := range changed {
		l.clock = max(l.clock, l.bans.Version(key))
		delete(l.ends, key) // the one before; the new one's follows
	}
	for i, e := range m.living {
		value, ok := l.bans.Get(e.Key)
		if !ok || l.bans.Version(e.Key) != e.Version || !bytes.Equal(value, e.Value) {
			continue // another holds
		}
		b, err := decode(e.Key, value)
		if err != nil {
			continue // Merge has seen to it
		}
		end := now.Add(min(m.left[i], b.For))
		if old, ok := l.ends[e.Key]; !ok || end.Before(old) {
			l.ends[e.Key] = end
		}
	}
	return nil
}

// Snapshot returns the List for Restore. now has to include the wall clock.
func (l *List) Snapshot(now time.Time) []byte {
	data, _ := l.Delta(now, nil) // nothing in nil to be malformed
	return protowire.AppendVarint(protowire.AppendTag(data, fieldSaved, protowire.VarintType), uint64(now.UnixMilli()))
}

// Restore loads a Snapshot, and deducts the time since then by this node's wall
// clock. A ban that has expired by it is dropped here but not removed for
// others, in case the clock was set forward meanwhile.
func (l *List) Restore(now time.Time, data []byte) error {
	m, err := parse(data)
	if err != nil {
		return err
	}
	passed := max(0, now.Sub(time.UnixMilli(m.saved)))
	var kept, left []byte
	for _, e := range m.gone {
		kept = e.Append(kept)
	}
	for i, e := range m.living {
		if rest := m.left[i] - passed; rest > 0 {
			kept = e.Append(kept)
			left = protowire.AppendVarint(left, uint64(rest.Milliseconds()))
		}
	}
	return l.Merge(now, protowire.AppendBytes(protowire.AppendTag(kept, fieldLeft, protowire.BytesType), left))
}

// message is what was sent or saved.
type message struct {
	living, gone []crdt.Entry
	left         []time.Duration // of the living
	newest       uint64          // version
	saved        int64
}

func parse(data []byte) (m message, err error) {
	for e, err := range crdt.Entries(data) {
		m.newest = max(m.newest, e.Version)
		switch {
		case err != nil:
			return message{}, err
		case e.Gone:
			m.gone = append(m.gone, e)
		case len(m.living) > 2*MaxBans:
			return message{}, crdt.ErrTooMany
		default:
			m.living = append(m.living, e)
		}
	}
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeField(data) // Entries has walked over all of them
		if n < 0 {
			return message{}, crdt.ErrMalformed
		}
		field := data[:n]
		data = data[n:]
		_, _, tag := protowire.ConsumeTag(field)
		switch {
		case num == fieldLeft && typ == protowire.BytesType:
			packed, _ := protowire.ConsumeBytes(field[tag:])
			if err := m.readLeft(packed); err != nil {
				return message{}, err
			}
		case num == fieldSaved && typ == protowire.VarintType:
			ms, _ := protowire.ConsumeVarint(field[tag:])
			m.saved = int64(min(ms, 1<<43))
		}
	}
	if len(m.left) != len(m.living) {
		return message{}, crdt.ErrMalformed
	}
	return m, nil
}

func (m *message) readLeft(packed []byte) error {
	for len(packed) > 0 {
		ms, n := protowire.ConsumeVarint(packed)
		if n < 0 || len(m.left) == len(m.living) {
			return crdt.ErrMalformed
		}
		packed = packed[n:]
		m.left = append(m.left, time.Duration(min(ms, uint64(MaxFor.Milliseconds())))*time.Millisecond)
	}
	return nil
}
